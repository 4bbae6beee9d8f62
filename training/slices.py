"""Slices of a labelled file: the messages of one register, one grid, one month, one band of length."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from training.evaluate import Gold
from triage.errors import CorpusError

Slices = dict[str, NDArray[np.intp]]

# Code points up to which a message belongs to a band; the last band is open. A text message, a post, a letter.
BANDS = (20, 50, 100, 200, 500)
# A message's month is its ``month``, or else the month of the first of these that it has (ISO 8601).
TIMES = ("time", "received_at", "created_at")
UNNAMED = "–"
REST = "…"
# A city has hundreds of grids; a table of them all would be read by no one.
MOST = 30


def slices(gold: Sequence[Gold], columns: Sequence[str] = ()) -> dict[str, Slices]:
    """Rows of each slice, by way of slicing: ``register``, ``grid`` and ``month`` where the file has them, ``length``.

    The slices of one way are disjoint and hold every row together: rows without a value are one slice (``–``), and
    beyond the 30 largest slices the others are one (``…``).

    Args:
        gold: the labelled messages.
        columns: more columns of the file to slice by.

    Returns:
        By way and name of the slice, indices into ``gold``, rising; never empty.

    Raises:
        CorpusError: no row has a column that was asked for.
    """
    found = {}
    for way, values in _ways(gold, columns):
        if any(values):
            found[way] = _rows(values)
        elif way in columns:
            there = sorted({name for g in gold for name in g.columns})
            raise CorpusError(
                f"文件没有列 {way}，可用：{'、'.join(there) or '无'}",
                f"the file has no column {way}; it has {', '.join(there) or 'none'}",
            )
    # Bands are in order as they stand; sorted by name, 101–200 would come before 21–50.
    bands = found.pop("length")
    found["length"] = {name: bands[name] for name in map(_band, (0, *(limit + 1 for limit in BANDS))) if name in bands}
    return found


def _ways(gold: Sequence[Gold], columns: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    yield "register", [g.register for g in gold]
    yield "month", [month(g) for g in gold]
    for column in dict.fromkeys(("grid", *columns)):
        yield column, [g.columns.get(column, "") for g in gold]
    yield "length", [_band(len(g.text)) for g in gold]


def month(gold: Gold) -> str:
    """Year and month such as ``2026-11``; empty where the message has neither month nor time."""
    times = [gold.columns[name] for name in ("month", *TIMES) if gold.columns.get(name)]
    return times[0][: len("2026-11")] if times else ""


def _band(length: int) -> str:
    starts = (0, *(limit + 1 for limit in BANDS))
    for start, limit in zip(starts, BANDS, strict=False):
        if length <= limit:
            return f"{start}–{limit}"
    return f"{starts[-1]}–"


def _rows(values: Sequence[str]) -> Slices:
    named = [value or UNNAMED for value in values]
    kept = {name for name, _ in Counter(named).most_common(MOST)}
    found: defaultdict[str, list[int]] = defaultdict(list)
    for row, name in enumerate(named):
        found[name if name in kept else REST].append(row)
    return {name: np.array(found[name], dtype=np.intp) for name in sorted(found, key=lambda name: (name == REST, name))}
