"""From scores to what happens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from triage import policy
from triage.decision import Decision
from triage.errors import LexiconError
from triage.model.artifact import Calibration, Routing
from triage.taxonomy import Urgency
from triage.testing import keyword_taxonomy

TAXONOMY = keyword_taxonomy()
LEXICON = Path(__file__).parents[2] / "data" / "lexicon"
ROUTING = Routing(
    auto={"traffic": 0.8, "public_safety": 0.8, "fire_hazard": 0.6, "telecom_fraud": 0.9, "other": 1.1},
    margin=0.2,
    floors={"fire_hazard": 0.3, "telecom_fraud": 0.25},
)


def scores(**given: float) -> dict[str, float]:
    """Scores with what is left shared evenly by the labels that are not given."""
    rest = [key for key in TAXONOMY.ids if key not in given]
    left = (1 - sum(given.values())) / max(1, len(rest))
    return {key: given.get(key, left) for key in TAXONOMY.ids}


def test_probabilities_are_a_softmax() -> None:
    logits = np.array([[1.0, 2.0], [1000.0, 0.0]], dtype=np.float32)
    found = policy.probabilities(logits, Calibration())
    assert found == pytest.approx(np.array([[0.26894142, 0.73105858], [1.0, 0.0]]))
    assert found.dtype == np.float64


def test_temperature_and_bias_calibrate() -> None:
    logits = np.array([2.0, 0.0], dtype=np.float32)
    assert policy.probabilities(logits, Calibration(temperature=2.0)) == pytest.approx([0.73105858, 0.26894142])
    assert policy.probabilities(logits, Calibration(bias=(-2.0, 0.0))) == pytest.approx([0.5, 0.5])
    assert logits.tolist() == [2.0, 0.0]


def test_the_linear_stage_adds_to_the_logits_by_its_weight() -> None:
    logits, linear = np.array([2.0, 0.0], dtype=np.float32), np.array([-3.0, -1.0], dtype=np.float32)
    assert policy.probabilities(logits, Calibration(linear=1.0), linear) == pytest.approx([0.5, 0.5])
    assert policy.probabilities(logits, Calibration(linear=2.0, temperature=2.0), linear) == pytest.approx(
        [0.26894142, 0.73105858]
    )
    assert policy.probabilities(logits, Calibration(linear=1.0)) == pytest.approx([0.88079708, 0.11920292])


@pytest.mark.parametrize(
    ("given", "route", "reasons"),
    [
        ({"traffic": 0.9}, "auto", ()),
        ({"traffic": 0.8}, "auto", ()),
        ({"traffic": 0.79}, "review", ("low_confidence",)),
        ({"fire_hazard": 0.6, "traffic": 0.39}, "auto", ()),
        ({"fire_hazard": 0.6, "traffic": 0.4}, "review", ("ambiguous",)),
        ({"traffic": 0.7, "telecom_fraud": 0.25}, "review", ("low_confidence", "fraud_floor")),
        ({"traffic": 0.7, "telecom_fraud": 0.24}, "review", ("low_confidence",)),
        (
            {"traffic": 0.35, "fire_hazard": 0.33, "telecom_fraud": 0.31},
            "review",
            ("low_confidence", "ambiguous", "fire_floor", "fraud_floor"),
        ),
        ({"other": 1.0}, "review", ("low_confidence",)),
    ],
)
def test_route(given: dict[str, float], route: str, reasons: tuple[str, ...]) -> None:
    # 0.6 − 0.4 is a hair under 0.2 in floating point, 0.6 − 0.39 is above it.
    assert policy.route(scores(**given), TAXONOMY, ROUTING) == (route, reasons)


def test_a_label_without_a_threshold_never_goes_without_an_officer() -> None:
    routing = Routing(auto={"traffic": 0.5})
    assert policy.route(scores(public_safety=1.0), TAXONOMY, routing) == ("review", ("low_confidence",))


def test_a_floor_speaks_only_where_the_label_did_not_win() -> None:
    assert policy.route(scores(telecom_fraud=0.95), TAXONOMY, ROUTING) == ("auto", ())


def test_secondary_labels_by_falling_score() -> None:
    calibration = Calibration(secondary={"public_safety": 0.3, "traffic": 0.9})
    sigmoid = {"traffic": 0.89, "public_safety": 0.3, "fire_hazard": 0.5, "telecom_fraud": 0.99}
    assert policy.secondary(sigmoid, "telecom_fraud", TAXONOMY, calibration) == ("fire_hazard", "public_safety")
    assert policy.secondary(sigmoid, "other", TAXONOMY, calibration) == ()


@pytest.fixture(scope="module")
def rules() -> tuple[policy.UrgencyRule, ...]:
    return policy.load_urgency_rules(LEXICON)


def urgency(
    levels: list[float], label: str, text: str, rules: tuple[policy.UrgencyRule, ...], **given: float
) -> tuple[Urgency, tuple[str, ...]]:
    return policy.urgency(np.array(levels), label, text, TAXONOMY, Calibration(**given), rules)  # type: ignore[arg-type]


def test_the_model_gives_the_urgency() -> None:
    assert urgency([0.6, 0.3, 0.1], "traffic", "", ()) == (Urgency.ROUTINE, ())
    assert urgency([0.5, 0.2, 0.3], "traffic", "", ()) == (Urgency.URGENT, ("model",))
    assert urgency([0.2, 0.3, 0.5], "traffic", "", ()) == (Urgency.EMERGENCY, ("model",))
    assert urgency([0.6, 0.3, 0.1], "traffic", "", (), emergency=0.1) == (Urgency.EMERGENCY, ("model",))
    assert urgency([0.6, 0.3, 0.1], "traffic", "", (), urgent=0.4) == (Urgency.URGENT, ("model",))


def test_rules_raise_and_never_lower(rules: tuple[policy.UrgencyRule, ...]) -> None:
    calm, hot = [0.9, 0.08, 0.02], [0.0, 0.1, 0.9]
    assert urgency(calm, "fire_hazard", "楼下着火了快来", rules) == (Urgency.EMERGENCY, ("open_fire",))
    assert urgency(hot, "fire_hazard", "楼下着火了快来", rules) == (Urgency.EMERGENCY, ("model", "open_fire"))
    assert urgency(hot, "fire_hazard", "通道堵了", rules) == (Urgency.EMERGENCY, ("model",))
    assert urgency(calm, "fire_hazard", "万一着火了怎么办", rules) == (Urgency.ROUTINE, ())
    assert urgency(calm, "traffic", "楼下着火了快来", rules) == (Urgency.ROUTINE, ())


def test_what_nobody_acts_on_is_routine(rules: tuple[policy.UrgencyRule, ...]) -> None:
    assert urgency([0.0, 0.0, 1.0], "other", "着火了", rules) == (Urgency.ROUTINE, ())


def test_the_shipped_rules_name_known_labels_once(rules: tuple[policy.UrgencyRule, ...]) -> None:
    names = [rule.name for rule in rules]
    assert len(set(names)) == len(names)
    assert all(rule.labels <= set(TAXONOMY.dispatch_ids) for rule in rules)
    assert all(rule.urgency is not Urgency.ROUTINE for rule in rules)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "rule = 5",
        '[[rule]]\nname = "a"\nurgency = "urgent"\nlabels = []',
        '[[rule]]\nname = "a"\nurgency = "soon"\nlabels = []\nwhen = ["a"]',
        '[[rule]]\nname = "a"\nurgency = "urgent"\nlabels = []\nwhen = ["("]',
    ],
)
def test_a_wrong_rule_file_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "urgency.toml").write_text(content, encoding="utf-8")
    with pytest.raises(LexiconError, match=r"urgency.toml 无效"):
        policy.load_urgency_rules(tmp_path)


def test_reasons_fit_into_a_decision() -> None:
    route, reasons = policy.route(scores(traffic=0.9), TAXONOMY, ROUTING)
    assert Decision("traffic", 0.9, scores(traffic=0.9), route=route, reasons=reasons).to_json()["route"] == "auto"
