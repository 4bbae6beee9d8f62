"""The blind second reading: figures, rows that are none, messages that are gone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from training.agreement import FILE, Reading, agreement, load_readings
from training.corpus import Message, load_splits
from triage.errors import CorpusError

ROW = Message("a", "x", "traffic", (), "routine", "letter", "crash", "s", "w", "plain")


def reading(of: Message, label: str | None = None, urgency: str | None = None) -> Reading:
    return Reading(of.id, label or of.label, (), urgency or of.urgency, "r1")


def test_kappa_is_what_the_formula_gives() -> None:
    labels = ["traffic"] * 4 + ["other"] * 4
    messages = [replace(ROW, id=str(number), label=label) for number, label in enumerate(labels)]
    readings = [reading(m) for m in messages]
    readings[0] = reading(messages[0], "other")
    found = agreement({"train": messages}, readings)
    # Observed 7/8, by chance (4·3 + 4·5) / 64 = 1/2.
    assert (found["n"], found["agreement"], found["kappa"]) == (8, 7 / 8, pytest.approx(0.75))
    assert found["changed"] == {"traffic → other": 1}
    assert found["by_label"]["traffic"] == {"n": 4, "agreement": 3 / 4, "kappa": pytest.approx(0.0)}
    assert found["by_label"]["other"] == {"n": 4, "agreement": 1.0}


def test_urgency_counts_where_both_send_somebody() -> None:
    messages = [replace(ROW, id="1"), replace(ROW, id="2"), replace(ROW, id="3", label="other")]
    readings = [reading(messages[0], urgency="urgent"), reading(messages[1]), reading(messages[2])]
    assert agreement({"test": messages}, readings)["urgency_agreement"] == 1 / 2


def test_a_message_that_is_gone_is_counted_and_left_out() -> None:
    readings = [reading(ROW), reading(replace(ROW, id="gone"))]
    found = agreement({"train": [ROW]}, readings)
    assert (found["n"], found["gone"]) == (1, 1)
    with pytest.raises(CorpusError):
        agreement({"train": [ROW]}, readings[1:])


@pytest.mark.parametrize("line", ["", "[]", '{"id": "a"}', "{"])
def test_a_row_that_is_no_reading_is_named(tmp_path: Path, line: str) -> None:
    good = json.dumps({"id": "a", "label": "other", "secondary": [], "urgency": "routine", "reader": "r"})
    (tmp_path / FILE).write_text(f"{good}\n{line}\n", encoding="utf-8")
    with pytest.raises(CorpusError, match="row 2"):
        load_readings(tmp_path / FILE)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=FILE):
        load_readings(tmp_path / FILE)


def test_the_reading_in_the_repository_is_large_and_agrees(data: Path) -> None:
    found = agreement(load_splits(data), load_readings(data / FILE))
    assert found["n"] >= 1000
    assert found["kappa"] > 0.8
