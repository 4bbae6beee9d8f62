"""Figures of many draws at once, and whether their intervals hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, bootstrap
from sklearn.metrics import f1_score, precision_score, recall_score

from training.evaluate import FRAUD, calibration_error
from training.intervals import (
    FEWEST,
    Found,
    Outcomes,
    Resampling,
    Rows,
    calibration_errors,
    estimates,
    figures,
    label_figures,
)

IDS = ("traffic", "fire_hazard", FRAUD, "other")
# How often each label comes, and how often a release gets it right.
SHARES = (0.3, 0.2, 0.2, 0.3)
SKILL_A = (0.9, 0.7, 0.6, 0.95)
SKILL_B = (0.85, 0.75, 0.75, 0.95)


def outcomes(truth: np.ndarray, skill: tuple[float, ...], luck: np.random.Generator) -> Outcomes:
    """Decisions that are right as often as the skill of the label says, else the next label; somewhat calibrated."""
    n = len(truth)
    right = luck.random(n) < np.array(skill)[truth]
    said = np.where(right, truth, (truth + 1) % len(IDS))
    confidence = np.clip(luck.normal(np.where(right, 0.85, 0.65), 0.1), 0.3, 1)
    scores = np.full((n, len(IDS)), 0.0)
    scores[np.arange(n), said] = confidence
    return Outcomes(IDS, truth, said, scores, confidence, confidence > 0.7)


@pytest.fixture(scope="module")
def one() -> Outcomes:
    luck = np.random.default_rng(5)
    return outcomes(luck.choice(len(IDS), 230, p=SHARES), SKILL_A, luck)


def test_figures_of_draws_are_those_of_sklearn_and_of_the_evaluation(one: Outcomes) -> None:
    draws = np.random.default_rng(1).integers(0, 230, (5, 60))
    found = figures(one, draws)
    by_label = label_figures(one, draws, FRAUD)
    for number, rows in enumerate(draws):
        truth, said, right = one.truth[rows], one.said[rows], one.right[rows]
        present = np.unique(truth)
        assert found["accuracy"][number] == pytest.approx(right.mean())
        assert found["macro_f1"][number] == pytest.approx(f1_score(truth, said, labels=present, average="macro"))
        assert found["auto_share"][number] == pytest.approx(one.auto[rows].mean())
        assert found["auto_error"][number] == pytest.approx((~right)[one.auto[rows]].mean())
        # In the order of the file, as a tie between two scores is settled.
        rows = np.sort(rows)
        expected = calibration_error(one.confidence[rows], one.right[rows])
        assert found["calibration_error"][number] == pytest.approx(expected)
        expected = calibration_error(one.scores[rows, 2], one.truth[rows] == 2)
        assert by_label["calibration_error"][number] == pytest.approx(expected)
        for name, score in (("recall", recall_score), ("precision", precision_score), ("f1", f1_score)):
            assert by_label[name][number] == pytest.approx(score(truth == 2, said == 2))
        fraud = truth == 2
        assert found["fraud_recall"][number] == by_label["recall"][number]
        assert by_label["auto_share"][number] == pytest.approx(one.auto[draws[number]][fraud].mean())
        taken = fraud & one.auto[draws[number]]
        assert by_label["auto_error"][number] == pytest.approx((said != truth)[taken].mean())


def test_what_no_message_decides_is_undefined(one: Outcomes) -> None:
    found = estimates(lambda rows: figures(one, rows), np.flatnonzero((one.truth != 2) & ~one.auto), Resampling(50))
    assert found["fraud_recall"].to_json() == {"value": None, "low": None, "high": None}
    assert found["auto_error"].value is None
    assert found["accuracy"].low is not None


def test_a_figure_that_many_draws_leave_undefined_has_no_interval(one: Outcomes) -> None:
    rows = np.append(np.flatnonzero(one.truth == 0)[:40], np.flatnonzero(one.truth == 2)[:1])
    # One fraud in 41 messages: more than a third of the draws have none.
    found = estimates(lambda some: figures(one, some), rows, Resampling(200))["fraud_recall"]
    assert found.value is not None
    assert (found.low, found.high) == (None, None)


def test_too_few_messages_have_figures_and_no_intervals(one: Outcomes) -> None:
    def found(n: int) -> bool:
        return estimates(lambda some: figures(one, some), np.arange(n), Resampling(20))["accuracy"].low is not None

    assert not found(FEWEST - 1)
    assert found(FEWEST)


def test_intervals_are_those_of_scipy(one: Outcomes) -> None:
    luck = np.random.default_rng(9)
    other = outcomes(one.truth, SKILL_B, luck)

    def difference(rows: Rows) -> Found:
        return {"accuracy": other.right[rows].mean(axis=-1) - one.right[rows].mean(axis=-1)}

    everyone = np.arange(len(one.truth))
    found = estimates(difference, everyone, Resampling(500, 0.9, seed=3), difference=True)["accuracy"]
    known = bootstrap(
        (one.right.astype(float), other.right.astype(float)),
        lambda a, b, axis: b.mean(axis=axis) - a.mean(axis=axis),
        paired=True,
        n_resamples=500,
        confidence_level=0.9,
        method="percentile",
        rng=np.random.default_rng(3),
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((known.low, known.high))
    assert found == estimates(difference, everyone, Resampling(500, 0.9, seed=3), difference=True)["accuracy"]
    assert found != estimates(difference, everyone, Resampling(500, 0.9, seed=4), difference=True)["accuracy"]


def true_difference() -> dict[str, float]:
    """Of the two skills, worked out from the probabilities."""
    found = []
    for skill in (SKILL_A, SKILL_B):
        hit = np.array(SHARES) * skill
        wrong = np.roll(np.array(SHARES) - hit, 1)
        f1 = 2 * hit / (np.array(SHARES) + hit + wrong)
        found.append({"accuracy": hit.sum(), "macro_f1": f1.mean(), "fraud_recall": skill[2]})
    return {name: float(found[1][name] - found[0][name]) for name in found[0]}


def test_nineteen_of_twenty_intervals_hold_the_truth() -> None:
    luck, files = np.random.default_rng(20), 200
    held = dict.fromkeys(true_difference(), 0)
    for seed in range(files):
        truth = luck.choice(len(IDS), 200, p=SHARES)
        a, b = (outcomes(truth, skill, luck) for skill in (SKILL_A, SKILL_B))

        def difference(rows: Rows, a: Outcomes = a, b: Outcomes = b) -> Found:
            before, after = figures(a, rows), figures(b, rows)
            return {name: after[name] - before[name] for name in held}

        found = estimates(difference, np.arange(200), Resampling(199, seed=seed), difference=True)
        for name, value in true_difference().items():
            low, high = found[name].low, found[name].high
            held[name] += low is not None and high is not None and low <= value <= high
    # What 200 draws of a coin that falls right 95 times in 100 give, but once in a thousand; a little less at the low
    # end, since a percentile interval of a few hundred messages is known to be somewhat short.
    low, high = binom.ppf(0.0005, files, 0.94), binom.ppf(0.9995, files, 0.95)
    assert all(low <= count <= high for count in held.values()), held


def test_the_growth_of_calibration_errors_is_taken_off() -> None:
    """A release that is exactly as sure as right: what is measured is chance, and the interval says so."""
    luck = np.random.default_rng(11)
    confidence = luck.uniform(0.5, 1, 400)
    right = luck.random(400) < confidence

    def statistic(rows: Rows) -> Found:
        return {"calibration_error": calibration_errors(confidence, right, rows)}

    found = estimates(statistic, np.arange(400), Resampling(400))["calibration_error"]
    drawn = statistic(luck.integers(0, 400, (400, 400)))["calibration_error"]
    assert found.value is not None
    assert found.low is not None
    assert found.high is not None
    # Nearly all draws lie above what was measured.
    assert np.quantile(drawn, 0.1) > found.value
    assert found.low < found.value / 2
    assert found.value < found.high < np.quantile(drawn, 0.9)
