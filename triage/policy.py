"""From scores to what happens: probabilities, route with reasons, secondary labels, urgency."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triage.decision import Route
from triage.errors import LexiconError
from triage.model.artifact import Calibration, Routing
from triage.taxonomy import Taxonomy, Urgency

URGENCY_FILE = "urgency.toml"
URGENCY_ORDER = (Urgency.ROUTINE, Urgency.URGENT, Urgency.EMERGENCY)


def probabilities(
    logits: NDArray[np.float32], calibration: Calibration, linear: NDArray[np.float32] | None = None
) -> NDArray[np.float64]:
    """Calibrated probabilities over the last axis, as ``Calibration`` says.

    Args:
        logits: the encoder's, [..., labels].
        calibration: the release's.
        linear: log-probabilities of the linear stage, same shape; None where it was not asked.
    """
    scaled = np.asarray(logits, dtype=np.float64)
    if linear is not None:
        scaled = scaled + calibration.linear * linear
    scaled = scaled / calibration.temperature
    if calibration.bias:
        scaled = scaled + np.asarray(calibration.bias)
    scaled -= scaled.max(axis=-1, keepdims=True)
    powers = np.exp(scaled)
    result: NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
    return result


def secondary(
    scores: Mapping[str, float], primary: str, taxonomy: Taxonomy, calibration: Calibration
) -> tuple[str, ...]:
    """Report labels besides the primary that need handling, by falling score.

    Args:
        scores: sigmoid score in [0, 1] by report label id.
        primary: the winning label; one that nobody acts on has no secondary labels.
    """
    if not taxonomy[primary].dispatch:
        return ()
    found = [key for key, score in scores.items() if key != primary and score >= calibration.secondary.get(key, 0.5)]
    return tuple(sorted(found, key=lambda key: -scores[key]))


def route(scores: Mapping[str, float], taxonomy: Taxonomy, routing: Routing) -> tuple[Route, tuple[str, ...]]:
    """``auto``, or ``review`` with its reasons, from calibrated scores alone.

    Reasons: ``low_confidence`` (under the label's threshold), ``ambiguous`` (the two best are too close), and the
    floor reason of a label that did not win but is too likely to be let go (``fraud_floor``, ``fire_floor``).
    """
    ranked = sorted(scores, key=lambda key: -scores[key])
    best, second = ranked[0], ranked[1]
    reasons = []
    if scores[best] < routing.auto.get(best, 1.1):
        reasons.append("low_confidence")
    if scores[best] - scores[second] < routing.margin:
        reasons.append("ambiguous")
    for label in taxonomy.labels:
        floor = routing.floors.get(label.id)
        if floor is not None and label.id != best and scores[label.id] >= floor:
            reasons.append(label.floor_reason)
    return ("review" if reasons else "auto"), tuple(reasons)


@dataclass(frozen=True, slots=True)
class UrgencyRule:
    """A lexical rule that may raise the urgency, never lower it.

    Attributes:
        name: stands in ``urgency_reasons``.
        urgency: what it raises to.
        labels: primary labels for which it speaks.
        when: pattern that must be found in the normalized text.
        unless: pattern that silences it, None for never.
    """

    name: str
    urgency: Urgency
    labels: frozenset[str]
    when: re.Pattern[str]
    unless: re.Pattern[str] | None

    def speaks(self, label: str, text: str) -> bool:
        """Whether the rule applies to a message of this primary label and normalized text."""
        if label not in self.labels or not self.when.search(text):
            return False
        return self.unless is None or not self.unless.search(text)


def load_urgency_rules(folder: Path) -> tuple[UrgencyRule, ...]:
    """Read ``urgency.toml`` from a lexicon folder.

    Raises:
        LexiconError: the file is missing or a rule is wrong.
    """
    file = folder / URGENCY_FILE
    try:
        rows: Sequence[Mapping[str, Any]] = tomllib.loads(file.read_text(encoding="utf-8"))["rule"]
        return tuple(
            UrgencyRule(
                name=row["name"],
                urgency=Urgency(row["urgency"]),
                labels=frozenset(row["labels"]),
                when=re.compile("|".join(row["when"])),
                unless=re.compile("|".join(row["unless"])) if row.get("unless") else None,
            )
            for row in rows
        )
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError, ValueError, re.error) as error:
        raise LexiconError(f"{file.name} 无效：{error}", f"bad {file.name}: {error}") from error


def urgency(
    scores: NDArray[np.float64],
    label: str,
    text: str,
    taxonomy: Taxonomy,
    calibration: Calibration,
    rules: Sequence[UrgencyRule],
) -> tuple[Urgency, tuple[str, ...]]:
    """How soon somebody must act, and what that rests on.

    Args:
        scores: [3] probabilities of routine, urgent and emergency (``URGENCY_ORDER``).
        label: the primary label; one that nobody acts on is always routine.
        text: normalized text, for the lexical rules.
    """
    if not taxonomy[label].dispatch:
        return Urgency.ROUTINE, ()
    level = 2 if scores[2] >= calibration.emergency else 1 if scores[1] + scores[2] >= calibration.urgent else 0
    speaking = [rule for rule in rules if rule.speaks(label, text)]
    raised = max([level, *(URGENCY_ORDER.index(rule.urgency) for rule in speaking)])
    found = URGENCY_ORDER[raised]
    reasons = [rule.name for rule in speaking if rule.urgency is found]
    return found, (*(("model",) if level == raised and raised else ()), *reasons)
