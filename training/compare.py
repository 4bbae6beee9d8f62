"""Two releases on the same labelled messages: what differs, how surely, and which messages changed sides.

One release alone is assessed by the same figures with the same intervals.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from training.evaluate import Answered, Gold, measure
from training.intervals import (
    Estimate,
    Figures,
    Found,
    Outcomes,
    Resampling,
    Rows,
    defined,
    estimates,
    figures,
    label_figures,
)
from training.mcnemar import McNemar, adjusted, mcnemar
from training.slices import slices
from training.speakable import told
from triage.decision import Decision
from triage.errors import CorpusError

DIGITS = 6
ALL, LABEL = "all", "label"

FALLS = ("calibration_error", "auto_error")
# More or less of it is neither better nor worse by itself.
NEUTRAL = ("auto_share",)


@dataclass(frozen=True, slots=True)
class Part:
    """Some messages of a file: all of them, those of one true label, or one slice.

    Attributes:
        by: ``all``, ``label``, or what the file was sliced by, such as ``register``.
        name: of the label or slice; empty for all.
        n: messages.
        figures: of each release, by name; None where undefined.
        estimates: the figures of one release with their intervals, or of two the second's less the first's.
        mcnemar: None for one release.
    """

    by: str
    name: str
    n: int
    figures: tuple[Mapping[str, float | None], ...]
    estimates: Mapping[str, Estimate]
    mcnemar: McNemar | None = None

    def to_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {"by": self.by, "name": self.name, "n": self.n}
        found.update(zip("ab", (dict(row) for row in self.figures), strict=False))
        name = "interval" if self.mcnemar is None else "difference"
        found[name] = {key: value.to_json() for key, value in self.estimates.items()}
        if self.mcnemar is not None:
            found["mcnemar"] = self.mcnemar.to_json()
        return found


@dataclass(frozen=True, slots=True)
class Change:
    """A message that one release gets right and the other wrong; never its text.

    Attributes:
        row: its line in the file.
        id: as the file has it; empty where it has none.
        label: the truth.
        before, after: what the first and the second release say.
    """

    row: int
    id: str
    label: str
    before: Decision
    after: Decision

    @property
    def side(self) -> str:
        return "fixed" if self.after.label == self.label else "broken"

    def to_json(self) -> dict[str, Any]:
        return {"side": self.side, "row": self.row, "id": self.id, "label": self.label} | {
            name: {"label": said.label, "confidence": round(said.confidence, DIGITS), "route": said.route}
            for name, said in (("before", self.before), ("after", self.after))
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """One labelled file as one release or two read it.

    Attributes:
        releases: versions: the one, or the first and the second.
        ids: labels of both, in the order of the first.
        parts: the whole file, then its labels, then its slices.
        measured: what ``training.evaluate.measure`` gives of each release: confusion, curves and the other figures.
        same_label: messages that get one label from both; all of them for one release.
        changes: messages that changed sides, the broken ones first, the surest before the others.
        resampling: how the intervals were drawn.
    """

    releases: tuple[str, ...]
    ids: tuple[str, ...]
    parts: tuple[Part, ...]
    measured: tuple[Mapping[str, Any], ...]
    same_label: int
    changes: tuple[Change, ...]
    resampling: Resampling

    @property
    def whole(self) -> Part:
        return self.parts[0]

    def ways(self) -> dict[str, list[Part]]:
        """Parts by what they are parts by, in order; the whole is not among them."""
        found: dict[str, list[Part]] = {}
        for part in self.parts[1:]:
            found.setdefault(part.by, []).append(part)
        return found

    def to_json(self) -> dict[str, Any]:
        """A dict of JSON values; no text of a message stands in it."""
        names = "ab"[: len(self.releases)]
        return {
            "releases": dict(zip(names, self.releases, strict=True)),
            "n": self.whole.n,
            "same_label": self.same_label,
            "intervals": {
                "resamples": self.resampling.resamples,
                "level": self.resampling.level,
                "seed": self.resampling.seed,
            },
            "parts": [part.to_json() for part in self.parts],
            "labels": list(self.ids),
            "measured": {name: dict(found) for name, found in zip(names, self.measured, strict=True)},
            "changes": [change.to_json() for change in self.changes],
        }


_PLAIN = Resampling()


def assess(
    answered: Answered, ids: Sequence[str], columns: Sequence[str] = (), resampling: Resampling = _PLAIN
) -> Comparison:
    """One release on a labelled file, by label and slice, every figure with its interval.

    Args:
        answered: the labelled messages and the release's decisions; at least one.
        ids: label ids in taxonomy order.
        columns: columns of the file to slice by, besides the usual ones; see ``training.slices``.
        resampling: how intervals are drawn.

    Raises:
        CorpusError: a label is unknown, or a column is not there.
    """
    return _compare([answered], ids, columns, resampling)


def compare(
    a: Answered, b: Answered, ids: Sequence[str], columns: Sequence[str] = (), resampling: Resampling = _PLAIN
) -> Comparison:
    """Two releases on the same labelled file; every difference is the second's figure less the first's.

    Args:
        a, b: the same labelled messages and what each release says of them.
        ids: label ids of both; a label that one of them does not know counts as missed by it.
        columns, resampling: as for ``assess``.

    Raises:
        ValueError: the messages are not the same.
        CorpusError: a label is unknown to both releases, or a column is not there.
    """
    if list(a.gold) != list(b.gold):
        raise ValueError("two releases are compared on the same messages")
    return _compare([a, b], ids, columns, resampling)


def _compare(
    answered: Sequence[Answered], ids: Sequence[str], columns: Sequence[str], resampling: Resampling
) -> Comparison:
    gold = answered[0].gold
    check(gold, ids)
    outcomes = [Outcomes.of(part, ids) for part in answered]
    pairs = list(zip(gold, answered[0].said, answered[-1].said, strict=True))
    return Comparison(
        releases=tuple(part.said[0].model for part in answered),
        ids=tuple(ids),
        parts=_adjusted(list(_parts(gold, outcomes, columns, resampling))),
        measured=tuple(measure(gold, part.said, ids) for part in answered),
        same_label=sum(before.label == after.label for _, before, after in pairs),
        changes=_changes(pairs),
        resampling=resampling,
    )


def verdict(name: str, difference: Estimate) -> str:
    """``better`` or ``worse`` where the interval of a figure's difference leaves out nought; else empty."""
    if difference.low is None or difference.high is None or name in NEUTRAL:
        return ""
    if difference.low <= 0 <= difference.high:
        return ""
    return "better" if (difference.low > 0) != (name in FALLS) else "worse"


def check(gold: Sequence[Gold], ids: Sequence[str], columns: Sequence[str] = ()) -> None:
    """What can be known to fail before a release has read anything, which takes minutes.

    Raises:
        CorpusError: a label is unknown to the releases, or a column is not there.
    """
    for g in gold:
        if g.label not in ids:
            zh, en = told(g.label)
            raise CorpusError(
                f"第 {g.row} 行的标签{zh} 不在版本的标签中（{'、'.join(ids)}）；请先对应标签",
                f"row {g.row}: no release here has the label {en} (they have {', '.join(ids)}); map it first",
            )
    slices(gold, columns)


def _parts(
    gold: Sequence[Gold], outcomes: Sequence[Outcomes], columns: Sequence[str], resampling: Resampling
) -> Iterator[Part]:
    everyone = np.arange(len(gold))
    whole = partial(_part, outcomes=outcomes, resampling=resampling)
    yield whole(ALL, "", everyone, everyone, figures)
    for number, label in enumerate(outcomes[0].ids):
        rows = np.flatnonzero(outcomes[0].truth == number)
        if len(rows) or any((one.said == number).any() for one in outcomes):
            # Precision and calibration need the messages of the other labels too.
            yield whole(LABEL, label, rows, everyone, partial(label_figures, label=label))
    for way, parts in slices(gold, columns).items():
        for name, rows in parts.items():
            yield whole(way, name, rows, rows, figures)


def _part(
    by: str,
    name: str,
    members: Rows,
    drawn_from: Rows,
    of: Figures,
    outcomes: Sequence[Outcomes],
    resampling: Resampling,
) -> Part:
    def contrast(rows: Rows) -> Found:
        each = [of(one, rows) for one in outcomes]
        return each[0] if len(each) == 1 else {key: each[1][key] - value for key, value in each[0].items()}

    known = [{key: defined(float(value)) for key, value in of(one, drawn_from).items()} for one in outcomes]
    two = len(outcomes) > 1
    return Part(
        by,
        name,
        len(members),
        tuple(known),
        estimates(contrast, drawn_from, resampling, difference=two, members=len(members)),
        mcnemar(*(one.right[members] for one in outcomes)) if two else None,
    )


def _adjusted(parts: Sequence[Part]) -> tuple[Part, ...]:
    """The tests of the parts judged together; that of the whole, the one question asked beforehand, stays."""
    tests = adjusted([part.mcnemar for part in parts[1:] if part.mcnemar is not None])
    if not tests:
        return tuple(parts)
    return (parts[0], *(replace(part, mcnemar=test) for part, test in zip(parts[1:], tests, strict=True)))


def _changes(pairs: Sequence[tuple[Gold, Decision, Decision]]) -> tuple[Change, ...]:
    found = [
        Change(g.row, g.columns.get("id", ""), g.label, before, after)
        for g, before, after in pairs
        if (before.label == g.label) != (after.label == g.label)
    ]
    return tuple(sorted(found, key=lambda change: (change.side, -change.after.confidence)))
