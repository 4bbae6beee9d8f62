"""The figures, on decisions whose figures are worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from training.evaluate import Gold, calibration_error, measure
from triage.decision import Decision
from triage.taxonomy import Urgency

IDS = ("traffic", "public_safety", "fire_hazard", "telecom_fraud", "other")


def gold(label: str, urgency: str = "routine", secondary: tuple[str, ...] = ()) -> Gold:
    return Gold("…", label, secondary, urgency, "letter")


def said(label: str, confidence: float, route: str = "auto", **more: object) -> Decision:
    return Decision(label, confidence, {label: confidence}, route=route, **more)  # type: ignore[arg-type]


def test_measures_by_hand() -> None:
    truth = [
        gold("traffic"),
        gold("traffic", "emergency"),
        gold("telecom_fraud", secondary=("public_safety",)),
        gold("telecom_fraud"),
        gold("other"),
    ]
    answers = [
        said("traffic", 0.9),
        said("traffic", 0.8, urgency=Urgency.EMERGENCY),
        said("telecom_fraud", 0.7, secondary=("public_safety", "traffic")),
        said("other", 0.4, "review"),
        said("telecom_fraud", 0.6),
    ]
    found = measure(truth, answers, IDS)
    assert found["accuracy"] == pytest.approx(3 / 5)
    # traffic 1, telecom_fraud 1/2, other 0: labels that the truth lacks do not count.
    assert found["macro_f1"] == pytest.approx((1 + 0.5 + 0) / 3)
    assert found["auto_share"] == pytest.approx(4 / 5)
    assert found["auto_error"] == pytest.approx(1 / 4)
    assert found["fraud_recall"] == pytest.approx(1 / 2)
    assert found["fraud_found_or_reviewed"] == 1
    assert found["fraud_false_alarm"] == pytest.approx(1 / 3)
    assert found["emergency_recall"] == 1
    assert found["secondary_f1"] == pytest.approx(2 * 1 / (1 + 2))
    assert found["accuracy_by_register"] == {"letter": pytest.approx(0.6)}


def test_calibration_error_of_a_perfect_and_of_a_boastful_model() -> None:
    right = np.array([True] * 80 + [False] * 20)
    assert calibration_error(np.full(100, 0.8), right, bins=1) == pytest.approx(0)
    assert calibration_error(np.full(100, 1.0), right, bins=1) == pytest.approx(0.2)
