"""What the engine says about one message: frozen values, JSON in and out.

All offsets count code points of the **raw** text, start inclusive, end exclusive.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from triage.taxonomy import Urgency

Route = Literal["auto", "review"]

# Six digits keep a score exact enough to rank by and short enough to read.
SCORE_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Entity:
    """A thing named in the text.

    Attributes:
        kind: mobile, landline, link, bank_card, id_number, plate, contact_id, amount, time, place, ….
        start: first code point in the raw text.
        end: one past the last.
        value: canonical form (digits without separators, an amount in yuan such as ``"120000"``, a link as written).
    """

    kind: str
    start: int
    end: int
    value: str

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "start": self.start, "end": self.end, "value": self.value}


@dataclass(frozen=True, slots=True)
class Evidence:
    """A span that carried the decision.

    Attributes:
        start: first code point in the raw text.
        end: one past the last.
        weight: share of the decision's support in [0, 1]; the heaviest span comes first.
    """

    start: int
    end: int
    weight: float

    def to_json(self) -> dict[str, Any]:
        return {"start": self.start, "end": self.end, "weight": round(self.weight, 4)}


@dataclass(frozen=True, slots=True)
class Decision:
    """What one message is, how sure, how urgent, and who acts.

    Attributes:
        label: id of the primary label.
        confidence: calibrated probability in [0, 1] that ``label`` is right.
        scores: calibrated probability by label id; sums to 1.
        secondary: ids of other report labels that need handling in the same message.
        route: ``auto`` dispatches without an officer, ``review`` queues for one.
        reasons: why it goes to review (low_confidence, ambiguous, fraud_floor, out_of_scope, …); empty for ``auto``.
        urgency: how soon somebody must act.
        urgency_reasons: what the urgency rests on (``model`` or names of lexical rules).
        unit: who acts, in Chinese.
        entities: things named in the text.
        evidence: spans that carried the decision, heaviest first.
        truncated: True when part of the text was not read.
        read: the span of the raw text that was read.
        model: version of the release that decided.
        stage: what decided: ``encoder``, ``ensemble`` (encoder and linear stage together) or ``rule``.
    """

    label: str
    confidence: float
    scores: Mapping[str, float]
    secondary: tuple[str, ...] = ()
    route: Route = "review"
    reasons: tuple[str, ...] = ()
    urgency: Urgency = Urgency.ROUTINE
    urgency_reasons: tuple[str, ...] = ()
    unit: str = ""
    entities: tuple[Entity, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    truncated: bool = False
    read: tuple[int, int] = (0, 0)
    model: str = ""
    stage: str = "encoder"

    def to_json(self) -> dict[str, Any]:
        """A dict of JSON values; ``from_json`` reads it back."""
        return {
            "label": self.label,
            "confidence": round(self.confidence, SCORE_DIGITS),
            "scores": {key: round(value, SCORE_DIGITS) for key, value in self.scores.items()},
            "secondary": list(self.secondary),
            "route": self.route,
            "reasons": list(self.reasons),
            "urgency": self.urgency.value,
            "urgency_reasons": list(self.urgency_reasons),
            "unit": self.unit,
            "entities": [entity.to_json() for entity in self.entities],
            "evidence": [span.to_json() for span in self.evidence],
            "truncated": self.truncated,
            "read": list(self.read),
            "model": self.model,
            "stage": self.stage,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Decision:
        """The inverse of ``to_json``.

        Raises:
            KeyError, TypeError, ValueError: a field is missing or of the wrong kind.
        """
        start, end = data["read"]
        return cls(
            label=data["label"],
            confidence=float(data["confidence"]),
            scores=dict(data["scores"]),
            secondary=tuple(data["secondary"]),
            route=data["route"],
            reasons=tuple(data["reasons"]),
            urgency=Urgency(data["urgency"]),
            urgency_reasons=tuple(data["urgency_reasons"]),
            unit=data["unit"],
            entities=tuple(Entity(**row) for row in data["entities"]),
            evidence=tuple(Evidence(**row) for row in data["evidence"]),
            truncated=bool(data["truncated"]),
            read=(int(start), int(end)),
            model=data["model"],
            stage=data["stage"],
        )
