"""Comparisons, on decisions whose differences are worked out by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from training.compare import Comparison, assess, compare, verdict
from training.evaluate import Answered, Gold
from training.intervals import Estimate, Resampling
from training.mcnemar import adjusted, mcnemar
from triage.decision import Decision
from triage.errors import CorpusError

IDS = ("traffic", "public_safety", "fire_hazard", "telecom_fraud", "other")
FEW = Resampling(resamples=100)


def messages(labels: Sequence[str]) -> list[Gold]:
    return [
        Gold(f"第{number}条 " + "字" * (number * 7), label, None, None, "sms" if number % 3 else "letter", number + 1,
             {"id": f"m{number}", "grid": f"东-{number % 4}", "time": f"2026-1{number % 2}-05"})
        for number, label in enumerate(labels)
    ]  # fmt: skip


def said(label: str, confidence: float = 0.9, route: str = "auto", model: str = "one") -> Decision:
    return Decision(label, confidence, {label: confidence}, route=route, model=model)  # type: ignore[arg-type]


def answered(gold: Sequence[Gold], labels: Sequence[str], model: str = "one") -> Answered:
    return Answered(gold, [said(label, 0.5 + n % 40 / 100, model=model) for n, label in enumerate(labels)])


TRUTH = ["traffic"] * 20 + ["telecom_fraud"] * 10 + ["other"] * 10
BEFORE = ["traffic"] * 16 + ["other"] * 4 + ["telecom_fraud"] * 5 + ["other"] * 5 + ["other"] * 10
AFTER = ["traffic"] * 15 + ["other"] * 4 + ["fire_hazard"] + ["telecom_fraud"] * 8 + ["other"] * 2 + ["traffic"] * 10


@pytest.fixture(scope="module")
def found() -> Comparison:
    gold = messages(TRUTH)
    return compare(answered(gold, BEFORE), answered(gold, AFTER, "two"), IDS, resampling=FEW)


def test_differences_by_hand(found: Comparison) -> None:
    whole = found.whole
    assert found.releases == ("one", "two")
    assert (whole.n, whole.figures[0]["accuracy"], whole.figures[1]["accuracy"]) == (40, 31 / 40, 23 / 40)
    assert whole.estimates["accuracy"].value == pytest.approx(-8 / 40)
    assert whole.estimates["fraud_recall"].value == pytest.approx(0.3)
    f1_before = (2 * 16 / 36 + 2 * 5 / 15 + 2 * 10 / 29) / 3
    # traffic: 15 of 20 found, 25 said; fraud: 8 of 10, 8 said; other: none of 10.
    f1_after = (2 * 15 / 45 + 2 * 8 / 18 + 0) / 3
    assert whole.figures[0]["macro_f1"] == pytest.approx(f1_before)
    assert whole.estimates["macro_f1"].value == pytest.approx(f1_after - f1_before)
    # Fixed: frauds 25 to 27. Broken: traffic 15 and all of other.
    assert whole.mcnemar is not None
    assert (whole.mcnemar.fixed, whole.mcnemar.broken) == (3, 11)
    assert found.same_label == 40 - 3 - 11 - 1


def test_figures_are_those_of_the_evaluation(found: Comparison) -> None:
    for own, measured in zip(found.whole.figures, found.measured, strict=True):
        assert {key: measured[key] for key in own} == pytest.approx(own)
    labels = {part.name: part for part in found.parts if part.by == "label"}
    # Said once and never true, so that its precision can be shown.
    assert list(labels) == ["traffic", "fire_hazard", "telecom_fraud", "other"]
    assert labels["fire_hazard"].n == 0
    assert labels["fire_hazard"].figures[1]["precision"] == 0
    assert labels["fire_hazard"].figures[1]["recall"] is None
    for number in (0, 1):
        f1 = {name: part.figures[number]["f1"] for name, part in labels.items() if part.n}
        assert f1 == pytest.approx(found.measured[number]["f1"])


def test_parts_add_up_to_the_whole(found: Comparison) -> None:
    ways = found.ways()
    assert list(ways) == ["label", "register", "month", "grid", "length"]
    for way, parts in ways.items():
        assert sum(part.n for part in parts) == 40
        tests = [part.mcnemar for part in parts if part.mcnemar is not None]
        assert sum(test.fixed for test in tests) == 3, way
        assert sum(test.broken for test in tests) == 11, way
        key = "recall" if way == "label" else "accuracy"
        for number, right in ((0, 31), (1, 23)):
            assert sum(part.n * (part.figures[number][key] or 0) for part in parts) == pytest.approx(right)


def test_messages_that_changed_sides(found: Comparison) -> None:
    assert [change.side for change in found.changes] == ["broken"] * 11 + ["fixed"] * 3
    sure = [change.after.confidence for change in found.changes]
    assert sure == sorted(sure[:11], reverse=True) + sorted(sure[11:], reverse=True)
    assert sorted(change.row for change in found.changes) == [16, 26, 27, 28, *range(31, 41)]
    fixed = {change.row: change.to_json() for change in found.changes}[26]
    assert fixed == {
        "side": "fixed",
        "row": 26,
        "id": "m25",
        "label": "telecom_fraud",
        "before": {"label": "other", "confidence": 0.75, "route": "auto"},
        "after": {"label": "telecom_fraud", "confidence": 0.75, "route": "auto"},
    }


def test_json_holds_everything_but_texts(found: Comparison) -> None:
    text = json.dumps(found.to_json(), ensure_ascii=False, allow_nan=False)
    assert "条 字" not in text
    data = json.loads(text)
    assert data["releases"] == {"a": "one", "b": "two"}
    whole = data["parts"][0]
    assert whole["difference"]["accuracy"]["value"] == pytest.approx(whole["b"]["accuracy"] - whole["a"]["accuracy"])
    assert whole["difference"]["accuracy"]["low"] < -8 / 40 < whole["difference"]["accuracy"]["high"]
    assert whole["mcnemar"]["p"] == pytest.approx(2 * binom.cdf(3, 14, 0.5), abs=1e-6)
    assert len(data["changes"]) == 14
    assert data["measured"]["b"]["confusion"][IDS.index("other")] == [10, 0, 0, 0, 0]


def test_a_release_compared_with_itself_does_not_differ() -> None:
    one = answered(messages(TRUTH), BEFORE)
    found = compare(one, one, IDS, resampling=FEW)
    assert found.changes == ()
    assert found.same_label == 40
    for part in found.parts:
        assert part.mcnemar is not None
        assert (part.mcnemar.fixed, part.mcnemar.broken) == (0, 0)
        assert (part.mcnemar.p, part.mcnemar.p_adjusted) == (1, 1)
        for estimate in part.estimates.values():
            assert estimate in (Estimate(0, 0, 0), Estimate(0), Estimate(None))
    assert set(found.whole.estimates.values()) == {Estimate(0, 0, 0)}


def test_the_other_way_round_is_the_negative() -> None:
    gold = messages(TRUTH)
    a, b = answered(gold, BEFORE), answered(gold, AFTER)
    there, back = (compare(*pair, IDS, resampling=FEW).whole for pair in ((a, b), (b, a)))
    for key, estimate in there.estimates.items():
        other = back.estimates[key]
        assert (estimate.value, estimate.low, estimate.high) == pytest.approx((-other.value, -other.high, -other.low))  # type: ignore[operator]
    assert there.mcnemar is not None
    assert back.mcnemar is not None
    assert there.mcnemar.p == back.mcnemar.p


def test_one_release_has_the_same_figures_with_intervals() -> None:
    found = assess(answered(messages(TRUTH), BEFORE), IDS, resampling=FEW)
    assert found.releases == ("one",)
    assert found.changes == ()
    accuracy = found.whole.estimates["accuracy"]
    assert accuracy.value == 31 / 40
    assert accuracy.low is not None
    assert accuracy.high is not None
    assert 0 < accuracy.low < 31 / 40 < accuracy.high < 1
    data = found.to_json()
    assert "difference" not in data["parts"][0]
    assert data["parts"][0]["interval"]["accuracy"]["value"] == data["parts"][0]["a"]["accuracy"] == 31 / 40


@pytest.mark.parametrize(("members", "known"), [(9, False), (10, True)])
def test_a_label_of_few_messages_has_no_interval_of_what_they_alone_decide(members: int, known: bool) -> None:
    truth = ["telecom_fraud"] * members + ["other"] * 60
    gold, labels = messages(truth), ["other", "other", *truth[2:]]
    for found in (
        assess(answered(gold, labels), IDS, resampling=FEW),
        compare(answered(gold, labels), answered(gold, truth), IDS, resampling=FEW),
    ):
        (part,) = (part for part in found.parts if part.name == "telecom_fraud")
        for name in ("recall", "f1", "auto_share", "auto_error"):
            assert (part.estimates[name].low is not None) == known, name
            assert part.estimates[name].value is not None
        # Whom it took for such a message is a question to all of them.
        assert part.estimates["calibration_error"].low is not None


def test_a_label_that_only_the_second_release_knows() -> None:
    gold = messages(["flood"] * 6 + ["other"] * 6)
    found = compare(answered(gold, ["other"] * 12), answered(gold, ["flood"] * 6 + ["other"] * 6), (*IDS, "flood"))
    part = {part.name: part for part in found.parts if part.by == "label"}["flood"]
    assert (part.figures[0]["recall"], part.figures[1]["recall"]) == (0, 1)
    assert part.mcnemar is not None
    assert part.mcnemar.fixed == 6


def test_a_label_that_no_release_knows_is_named_by_row() -> None:
    gold = messages(["other", "flood"])
    with pytest.raises(CorpusError, match=r"第 2 行的标签 flood .* row 2: no release here has the label flood"):
        assess(answered(gold, ["other", "other"]), IDS)


def test_words_in_the_place_of_a_label_are_not_repeated() -> None:
    for words, length in (("楼上半夜还在装修太吵了睡不着", 14), ("我叫13800138000", 13), ("一行\n两行", 5)):
        with pytest.raises(CorpusError, match=rf"第 1 行的标签（{length} 字）.* the label of {length} char") as refused:
            assess(answered(messages([words]), ["other"]), IDS)
        assert words not in str(refused.value)


def test_different_messages_are_not_compared() -> None:
    gold = messages(["other", "other"])
    other = [gold[0], replace(gold[1], text="别的")]
    with pytest.raises(ValueError, match="same messages"):
        compare(answered(gold, ["other"] * 2), answered(other, ["other"] * 2), IDS)


@pytest.mark.parametrize(("fixed", "broken"), [(0, 0), (1, 0), (5, 5), (3, 11), (10, 2), (60, 31)])
def test_mcnemar_is_the_exact_binomial(fixed: int, broken: int) -> None:
    before = np.array([False] * fixed + [True] * broken + [True, False])
    after = np.array([True] * fixed + [False] * broken + [True, False])
    found = mcnemar(before, after)
    assert (found.fixed, found.broken) == (fixed, broken)
    # Twice the smaller tail, at most 1.
    expected = min(1.0, 2 * binom.cdf(min(fixed, broken), fixed + broken, 0.5))
    assert found.p == pytest.approx(expected)


def test_mcnemar_holds_its_level() -> None:
    """Of pairs of equally good releases, at most one in twenty is said to differ."""
    luck, files = np.random.default_rng(3), 400
    said_so = sum(mcnemar(luck.random(200) < 0.8, luck.random(200) < 0.8).p < 0.05 for _ in range(files))
    assert said_so <= binom.ppf(0.999, files, 0.05)
    # And it can tell one that is better.
    assert sum(mcnemar(luck.random(200) < 0.7, luck.random(200) < 0.85).p < 0.05 for _ in range(50)) > 35


def test_many_questions_are_judged_together() -> None:
    tests = [replace(mcnemar(np.array([True]), np.array([True])), p=p) for p in (0.01, 0.04, 0.03, 0.9)]
    # By hand: rank p, times 4 over the rank, never above what comes after: .04, .0533, .0533, .9.
    assert [test.p_adjusted for test in adjusted(tests)] == pytest.approx([0.04, 0.16 / 3, 0.16 / 3, 0.9])
    assert adjusted([]) == []


def test_better_and_worse() -> None:
    assert verdict("accuracy", Estimate(0.1, 0.05, 0.2)) == "better"
    assert verdict("accuracy", Estimate(-0.1, -0.2, -0.05)) == "worse"
    assert verdict("auto_error", Estimate(-0.1, -0.2, -0.05)) == "better"
    assert verdict("calibration_error", Estimate(0.1, 0.05, 0.2)) == "worse"
    assert verdict("auto_share", Estimate(0.1, 0.05, 0.2)) == ""
    assert verdict("accuracy", Estimate(0.1, 0.0, 0.2)) == ""
    assert verdict("accuracy", Estimate(0.1)) == ""
