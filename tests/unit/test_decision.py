"""Decisions: frozen, and the same after a way through JSON."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.decision import Decision, Entity, Evidence
from triage.taxonomy import Urgency

FULL = Decision(
    label="telecom_fraud",
    confidence=0.875,
    scores={"telecom_fraud": 0.875, "other": 0.125},
    secondary=("public_safety",),
    route="review",
    reasons=("ambiguous", "fire_floor"),
    urgency=Urgency.EMERGENCY,
    urgency_reasons=("model", "money_moving"),
    unit="反诈中心",
    entities=(Entity("mobile", 3, 14, "13800138000"),),
    evidence=(Evidence(0, 3, 0.75), Evidence(5, 6, 0.25)),
    truncated=True,
    read=(0, 20),
    model="2026.1",
    stage="encoder",
)
FULL_JSON = {
    "label": "telecom_fraud",
    "confidence": 0.875,
    "scores": {"telecom_fraud": 0.875, "other": 0.125},
    "secondary": ["public_safety"],
    "route": "review",
    "reasons": ["ambiguous", "fire_floor"],
    "urgency": "emergency",
    "urgency_reasons": ["model", "money_moving"],
    "unit": "反诈中心",
    "entities": [{"kind": "mobile", "start": 3, "end": 14, "value": "13800138000"}],
    "evidence": [{"start": 0, "end": 3, "weight": 0.75}, {"start": 5, "end": 6, "weight": 0.25}],
    "truncated": True,
    "read": [0, 20],
    "model": "2026.1",
    "stage": "encoder",
}


def test_json_is_as_agreed_and_reads_back() -> None:
    assert FULL.to_json() == FULL_JSON
    assert list(FULL.to_json()) == list(FULL_JSON)
    assert Decision.from_json(json.loads(json.dumps(FULL.to_json()))) == FULL


def test_every_field_is_in_the_json() -> None:
    assert [field.name for field in dataclasses.fields(Decision)] == list(FULL_JSON)


def test_what_is_not_said_goes_to_review() -> None:
    bare = Decision("other", 0.5, {"other": 0.5, "traffic": 0.5})
    assert (bare.route, bare.urgency, bare.reasons, bare.truncated) == ("review", Urgency.ROUTINE, (), False)


def test_scores_have_six_digits_and_weights_four() -> None:
    said = Decision("a", 1 / 3, {"a": 1 / 3, "b": 2 / 3}, evidence=(Evidence(0, 1, 1 / 3),)).to_json()
    assert said["confidence"] == 0.333333
    assert said["scores"] == {"a": 0.333333, "b": 0.666667}
    assert said["evidence"] == [{"start": 0, "end": 1, "weight": 0.3333}]


@pytest.mark.parametrize("value", [FULL, FULL.entities[0], FULL.evidence[0]])
def test_values_are_frozen(value: object) -> None:
    name = dataclasses.fields(value)[0].name  # type: ignore[arg-type]
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, name, "x")


@pytest.mark.parametrize("field", list(FULL_JSON))
def test_a_missing_field_is_an_error(field: str) -> None:
    with pytest.raises(KeyError, match=field):
        Decision.from_json({key: value for key, value in FULL_JSON.items() if key != field})


def test_an_unknown_urgency_is_an_error() -> None:
    with pytest.raises(ValueError, match="sometime"):
        Decision.from_json({**FULL_JSON, "urgency": "sometime"})


@given(
    scores=st.dictionaries(st.text(), st.floats(0, 1), min_size=1),
    secondary=st.lists(st.text()),
    urgency=st.sampled_from(Urgency),
    spans=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.floats(0, 1))),
)
def test_json_is_stable(
    scores: dict[str, float], secondary: list[str], urgency: Urgency, spans: list[tuple[int, int, float]]
) -> None:
    label, confidence = next(iter(scores.items()))
    evidence = tuple(Evidence(*span) for span in spans)
    decision = Decision(label, confidence, scores, tuple(secondary), urgency=urgency, evidence=evidence)
    once = Decision.from_json(decision.to_json())
    assert once.to_json() == decision.to_json()
    assert Decision.from_json(once.to_json()) == once
