"""The scenario matrix: cells, pairs, what falls short."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from training.corpus import Message, load_splits, load_topics
from training.coverage import FILE, coverage, load_matrix
from triage.errors import CorpusError

ROW = Message("a", "x", "traffic", (), "routine", "letter", "crash", "s", "w", "plain")
PAIRS = {"lane": {"labels": ["fire_hazard", "traffic"], "pairs": 1}}
MATRIX = {"registers": {"traffic": {"letter": 2}}, "each": {"voices": 1, "hard": 0, "plain": 1}, "exclusions": PAIRS}


def test_a_cell_that_falls_short_is_named() -> None:
    found = coverage([ROW], {"crash": "traffic"}, MATRIX)
    assert found.missing == ("crash: 1 of 2 letter", "lane: 0 of 1 pairs")
    (row,) = found.rows
    assert (row.registers["letter"], row.voices, row.hard, row.plain) == (1, 1, 0, 1)


@pytest.mark.parametrize(("label", "pairs"), [("fire_hazard", 1), ("traffic", 0), ("other", 0)])
def test_a_pair_takes_two_labels_of_its_exclusion(label: str, pairs: int) -> None:
    both = [replace(ROW, scenario="w1-x-lane-01"), replace(ROW, id="b", scenario="w1-x-lane-01", label=label)]
    assert coverage(both, {"crash": "traffic"}, MATRIX).pairs == {"lane": pairs}


def test_a_matrix_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=FILE):
        load_matrix(tmp_path)
    (tmp_path / FILE).write_text("x =", encoding="utf-8")
    with pytest.raises(CorpusError, match=FILE):
        load_matrix(tmp_path)


def test_the_corpus_fills_the_matrix(data: Path) -> None:
    messages = [message for part in load_splits(data).values() for message in part]
    assert coverage(messages, load_topics(data), load_matrix(data)).missing == ()
