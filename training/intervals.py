"""How sure a measured figure is: the figures of many resamples at once, and bootstrap intervals from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from warnings import catch_warnings, simplefilter

import numpy as np
from numpy.typing import NDArray
from scipy.stats import DegenerateDataWarning, bootstrap

from training.evaluate import FRAUD, Answered

Rows = NDArray[np.intp]
Values = NDArray[np.float64]
# Figures [...] by name; NaN where one is undefined, as recall without a case is.
Found = dict[str, Values]
# Figures of the messages in rows [..., messages]: of a release's outcomes, and with the releases bound.
Figures = Callable[["Outcomes", Rows], Found]
Statistic = Callable[[Rows], Found]

# Below so many messages an interval would only pretend to say something.
FEWEST = 10
# Figures of a label that its own messages alone decide; its precision and calibration rest on those of others too.
OF_MEMBERS = ("recall", "f1", "auto_share", "auto_error")
# Undefined resamples are left out; where there are more than this share, so is the interval.
UNDEFINED = 0.05
# Cells of one batch of resamples: a few tens of megabytes.
_CELLS = 2_000_000


@dataclass(frozen=True, slots=True)
class Resampling:
    """How intervals are drawn: resamples, confidence level in (0, 1), seed. The same seed draws the same messages."""

    resamples: int = 2000
    level: float = 0.95
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure, or a difference of two, with its interval; None where undefined or too uncertain to give."""

    value: float | None
    low: float | None = None
    high: float | None = None

    def to_json(self) -> dict[str, float | None]:
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What a release made of labelled messages.

    Attributes:
        ids: label ids.
        truth, said: [messages] index into ``ids``.
        scores: [messages, labels] calibrated probabilities.
        confidence: [messages] that of the label said.
        auto: [messages] True where it would be dispatched without an officer.
    """

    ids: tuple[str, ...]
    truth: NDArray[np.intp]
    said: NDArray[np.intp]
    scores: Values
    confidence: Values
    auto: NDArray[np.bool_]

    @property
    def right(self) -> NDArray[np.bool_]:
        return np.equal(self.truth, self.said)

    @classmethod
    def of(cls, answered: Answered, ids: Sequence[str]) -> Outcomes:
        """As arrays; a label that a release does not know has score 0."""
        place = {key: number for number, key in enumerate(ids)}
        return cls(
            tuple(ids),
            np.array([place[g.label] for g in answered.gold]),
            np.array([place[d.label] for d in answered.said]),
            np.array([[d.scores.get(key, 0.0) for key in ids] for d in answered.said]),
            np.array([d.confidence for d in answered.said]),
            np.array([d.route == "auto" for d in answered.said]),
        )


def figures(found: Outcomes, rows: Rows) -> Found:
    """Figures of some messages, each as ``training.evaluate.measure`` defines it.

    Args:
        found: of the whole file.
        rows: [..., messages] which of them, repetitions included.

    Returns:
        [...] accuracy, macro_f1, fraud_recall, calibration_error, auto_share and auto_error.
    """
    fraud = found.truth == (found.ids.index(FRAUD) if FRAUD in found.ids else -1)
    shares = np.stack([_f1(found.truth == k, found.said == k, rows) for k in range(len(found.ids))])
    present = ~np.isnan(shares)
    return {
        "accuracy": found.right[rows].mean(axis=-1),
        "macro_f1": np.where(present, shares, 0).sum(axis=0) / present.sum(axis=0),
        "fraud_recall": _share(fraud & found.right, fraud, rows),
        "calibration_error": calibration_errors(found.confidence, found.right, rows),
        "auto_share": found.auto[rows].mean(axis=-1),
        "auto_error": _share(found.auto & ~found.right, found.auto, rows),
    }


def label_figures(found: Outcomes, rows: Rows, label: str) -> Found:
    """Figures of one label among some messages.

    The calibration error is that of the label's own score over all of them, whatever label won (class-wise: Kull et
    al. 2019, *Beyond temperature scaling*, arXiv:1910.12656): among the messages of one true label even a
    perfectly calibrated release is not as sure as it is right.

    Args:
        found: of the whole file.
        rows: [..., messages] which of them, repetitions included.
        label: id of the label.

    Returns:
        [...] recall, precision, f1 (undefined where no message has the label), calibration_error, and auto_share and
        auto_error of the messages whose true label it is.
    """
    number = found.ids.index(label)
    true, said = found.truth == number, found.said == number
    return {
        "recall": _share(true & said, true, rows),
        "precision": _share(true & said, said, rows),
        "f1": _f1(true, said, rows),
        "calibration_error": calibration_errors(found.scores[:, number], true, rows),
        "auto_share": _share(true & found.auto, true, rows),
        "auto_error": _share(true & found.auto & ~said, true & found.auto, rows),
    }


def calibration_errors(score: Values, right: NDArray[np.bool_], rows: Rows, bins: int = 10) -> Values:
    """``training.evaluate.calibration_error`` of every draw at once: bins of equal count, ties in the file's order.

    Args:
        score: [messages] in [0, 1].
        right: [messages] whether what was scored came true.
        rows: [..., messages] the draws.
        bins: as there.
    """
    order = np.argsort(score, kind="stable")
    rank = np.empty(len(order), dtype=np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    # Sorting ranks is sorting by score, and integers sort faster.
    gaps = (score - right)[order][np.sort(rank[rows], axis=-1)]
    starts = [part[0] for part in np.array_split(np.arange(rows.shape[-1]), bins) if len(part)]
    found: Values = np.abs(np.add.reduceat(gaps, starts, axis=-1)).sum(axis=-1) / rows.shape[-1]
    return found


def _share(part: NDArray[np.bool_], whole: NDArray[np.bool_], rows: Rows) -> Values:
    return _ratio(part[rows].sum(axis=-1), whole[rows].sum(axis=-1))


def _f1(true: NDArray[np.bool_], said: NDArray[np.bool_], rows: Rows) -> Values:
    cases = true[rows].sum(axis=-1)
    ratio = _ratio(2 * (true & said)[rows].sum(axis=-1), cases + said[rows].sum(axis=-1))
    return np.where(cases > 0, ratio, np.nan)


def _ratio(part: NDArray[np.intp], whole: NDArray[np.intp]) -> Values:
    found: Values = np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)
    return found


def estimates(
    statistic: Statistic, rows: Rows, recipe: Resampling, difference: bool = False, members: int = FEWEST
) -> dict[str, Estimate]:
    """Each figure of some messages with its bootstrap interval, messages being drawn with replacement.

    Method: percentile bootstrap (Efron & Tibshirani 1993, *An Introduction to the Bootstrap*, ch. 13) by
    ``scipy.stats.bootstrap``; where the statistic is a difference of two releases on the same messages, the interval is
    a paired one (Berg-Kirkpatrick et al. 2012, *An Empirical Investigation of Statistical Significance in NLP*). Not
    BCa, which breaks down where all resamples agree, as those of a release against itself do.

    A calibration error grows by resampling alone. One release's has therefore the basic interval (Davison & Hinkley
    1997, *Bootstrap Methods*, 5.2), which takes that growth off and is somewhat short (it held the truth 89 times in
    100 where 95 were promised, 300 messages); in a difference the growth of both cancels and the percentile interval is
    rather too long (97 to 98 times). Messages count as drawn each by itself; where one hand wrote many, every interval
    is wider in truth.

    Args:
        statistic: figures of draws.
        rows: [messages] what to draw from.
        recipe: how many draws, and of which level.
        difference: whether the figures are differences of two releases.
        members: messages that the figures of ``OF_MEMBERS`` rest on; fewer than ``FEWEST`` give those no interval.
    """
    values = {name: float(value[0]) for name, value in statistic(rows[np.newaxis]).items()}
    if len(rows) < FEWEST:
        return {name: Estimate(defined(value)) for name, value in values.items()}
    drawn = _draws(statistic, rows, recipe)
    found = {}
    for (name, value), of in zip(values.items(), drawn, strict=True):
        known = of[~np.isnan(of)]
        few = members < FEWEST and name in OF_MEMBERS
        if few or np.isnan(value) or len(known) < (1 - UNDEFINED) * recipe.resamples:
            found[name] = Estimate(defined(value))
            continue
        low, high = map(float, np.quantile(known, [(1 - recipe.level) / 2, (1 + recipe.level) / 2]))
        if name == "calibration_error" and not difference:
            low, high = max(0.0, 2 * value - high), min(1.0, 2 * value - low)
        found[name] = Estimate(value, low, high)
    return found


def _draws(statistic: Statistic, rows: Rows, recipe: Resampling) -> Values:
    """[figures, resamples], in the order of the statistic's names."""
    with catch_warnings():
        # scipy's own interval, which it warns of where a resample is undefined, is not used.
        simplefilter("ignore", DegenerateDataWarning)
        found = bootstrap(
            (rows,),
            lambda some, axis: np.stack(list(statistic(some).values())),
            n_resamples=recipe.resamples,
            batch=max(1, _CELLS // len(rows)),
            vectorized=True,
            method="percentile",
            rng=np.random.default_rng(recipe.seed),
        )
    drawn: Values = found.bootstrap_distribution
    return drawn


def defined(value: float) -> float | None:
    """The value, None for NaN."""
    return None if np.isnan(value) else value
