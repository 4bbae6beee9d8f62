"""The figures, on decisions whose figures are worked out by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from training import plots
from training.evaluate import (
    Gold,
    answer,
    calibration_error,
    evaluate_evidence,
    measure,
    reliability,
    risk_coverage,
)
from triage.decision import Decision, Evidence
from triage.taxonomy import Taxonomy, Urgency
from triage.text import Normalizer
from triage.text.segment import Segmenter

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


def test_risk_rises_with_coverage_where_confidence_means_something() -> None:
    confidence = np.array([0.9, 0.5, 0.8, 0.6])
    right = np.array([True, False, True, True])
    assert risk_coverage(confidence, right, points=4) == [[0.25, 0], [0.5, 0], [0.75, 0], [1.0, 0.25]]
    assert risk_coverage(confidence, ~right, points=2) == [[0.5, 1.0], [1.0, 0.75]]


def test_reliability_has_bins_of_equal_count() -> None:
    confidence = np.array([0.9, 0.5, 0.8, 0.6])
    right = np.array([True, False, True, True])
    rows = reliability(confidence, right, bins=2)
    assert [row[1:] for row in rows] == [[0.5, 2], [1.0, 2]]
    assert [row[0] for row in rows] == pytest.approx([0.55, 0.85])


def test_plots_are_drawn_from_the_figures_and_only_from_them(tmp_path: Path) -> None:
    truth = [gold("traffic"), gold("other")]
    found = measure(truth, [said("traffic", 0.9), said("traffic", 0.6, "review")], IDS)
    assert plots.draw({"test": found, "int8_agreement": {"test": 1.0}}, tmp_path) == [
        "plots/reliability.png",
        "plots/risk_coverage.png",
    ]
    first = (tmp_path / "plots" / "risk_coverage.png").read_bytes()
    assert first.startswith(b"\x89PNG")
    plots.draw({"test": found}, tmp_path)
    assert (tmp_path / "plots" / "risk_coverage.png").read_bytes() == first
    plots.draw({"test": measure(truth, [said("traffic", 0.9), said("other", 0.6)], IDS)}, tmp_path)
    assert (tmp_path / "plots" / "risk_coverage.png").read_bytes() != first
    assert plots.draw({"int8_agreement": {"test": 1.0}}, tmp_path) == []


class _Smoke:
    """Sure of a fire by the word 冒烟 alone, and shows it, or shows the first two characters instead."""

    def __init__(self, data: Path, honest: bool) -> None:
        self.taxonomy, self.honest = Taxonomy.load(data), honest

    def classify(self, texts: Sequence[str]) -> list[Decision]:
        found = []
        for text in texts:
            at = text.find("冒烟")
            score = 0.9 if at >= 0 else 0.3
            shown = (Evidence(at, at + 2, 1.0) if self.honest else Evidence(0, 2, 1.0),) if at >= 0 else ()
            found.append(Decision("fire_hazard", score, {"fire_hazard": score}, evidence=shown))
        return found


@pytest.mark.parametrize(("honest", "falls"), [(True, True), (False, False)])
def test_evidence_is_told_from_words_that_only_stand_there(
    tmp_path: Path, data: Path, honest: bool, falls: bool
) -> None:
    rows = [
        {"text": "六栋二单元四楼厨房一直在冒烟", "label": "fire_hazard"},
        {"text": "菜市场后门配电箱冒烟了", "label": "fire_hazard"},
        # Not counted: a wrong label, and too few other words.
        {"text": "路口的车冒烟开走了不知是谁", "label": "traffic"},
        {"text": "冒烟", "label": "fire_hazard"},
    ]
    file = tmp_path / "some.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    lexicon = data / "lexicon"
    engine = _Smoke(data, honest)
    answered = answer(engine, file)  # type: ignore[arg-type]
    cut = Normalizer.load(lexicon), Segmenter.load(lexicon)
    found = evaluate_evidence(engine, answered, *cut)  # type: ignore[arg-type]
    assert found["messages"] == 2
    assert found["evidence"] == pytest.approx(0.6 if falls else 0)
    assert (found["margin"] > 0.5) is falls
