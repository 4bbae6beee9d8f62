"""Slices: none is lost, none counts twice."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from training.evaluate import Gold, load_gold
from training.slices import MOST, REST, UNNAMED, month, slices
from triage.errors import CorpusError


def gold(text: str = "路口追尾", register: str = "", **columns: str) -> Gold:
    return Gold(text, "traffic", None, None, register, columns=columns)


def test_slices_of_one_way_add_up_to_the_file() -> None:
    messages = [
        gold("追尾", "sms", time="2026-10-30T08:00:00", grid="东-1"),
        gold("追" * 21, "letter", time="2026-11-02"),
        gold("追" * 501, "letter", month="2026-11", time="2020-01-01"),
        gold("追" * 20, "letter"),
        gold("追" * 120, "sms"),
    ]
    found = slices(messages)
    assert {way: {name: rows.tolist() for name, rows in parts.items()} for way, parts in found.items()} == {
        "register": {"letter": [1, 2, 3], "sms": [0, 4]},
        "month": {"2026-10": [0], "2026-11": [1, 2], UNNAMED: [3, 4]},
        "grid": {"东-1": [0], UNNAMED: [1, 2, 3, 4]},
        "length": {"0–20": [0, 3], "21–50": [1], "101–200": [4], "501–": [2]},
    }
    # Not sorted as words, where 101 comes before 21.
    assert list(found["length"]) == ["0–20", "21–50", "101–200", "501–"]
    for parts in found.values():
        assert sorted(np.concatenate(list(parts.values()))) == [0, 1, 2, 3, 4]


def test_a_file_without_columns_has_lengths_alone() -> None:
    assert list(slices([gold()])) == ["length"]


def test_a_column_of_ones_own() -> None:
    found = slices([gold(source="12345"), gold(source="app")], ["source"])
    assert list(found) == ["source", "length"]
    assert list(found["source"]) == ["12345", "app"]


def test_a_column_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(CorpusError, match=r"列 sorce，可用：grid、source .* column sorce; it has grid, source"):
        slices([gold(source="app", grid="东-1")], ["sorce"])


def test_many_small_grids_are_one_slice() -> None:
    messages = [gold(grid=f"网格{number:03}") for number in range(MOST + 5) for _ in range(2 if number > 4 else 1)]
    found = slices(messages)["grid"]
    assert len(found) == MOST + 1
    assert list(found)[-1] == REST
    assert found[REST].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("name", ["time", "received_at", "created_at"])
def test_the_month_of_a_time(name: str) -> None:
    assert month(gold(**{name: "2026-11-28T06:30:00+08:00"})) == "2026-11"


def test_rows_keep_their_line_and_their_columns(tmp_path: Path) -> None:
    rows = [{"text": "追尾", "label": "traffic", "id": 7, "grid": "东-1", "secondary": [], "extra": {"a": 1}}]
    file = tmp_path / "some.jsonl"
    file.write_text("\n" + json.dumps(rows[0]), encoding="utf-8")
    (found,) = load_gold(file)
    assert (found.row, found.columns, found.secondary) == (2, {"id": "7", "grid": "东-1"}, ())


def test_null_means_that_the_row_has_no_such_field(tmp_path: Path) -> None:
    file = tmp_path / "some.jsonl"
    row = {"text": "追尾", "label": "traffic", "secondary": None, "urgency": None, "register": None}
    file.write_text(json.dumps(row), encoding="utf-8")
    (found,) = load_gold(file)
    assert (found.secondary, found.urgency, found.register) == (None, None, "")


@pytest.mark.parametrize(
    ("field", "value", "kind"), [("label", 3, "int"), ("label", ["a"], "list"), ("text", None, "No")]
)
def test_what_is_no_string_is_refused(tmp_path: Path, field: str, value: object, kind: str) -> None:
    file = tmp_path / "some.jsonl"
    row = {"text": "追尾", "label": "traffic"}
    file.write_text(json.dumps(row) + "\n" + json.dumps({**row, field: value}), encoding="utf-8")
    with pytest.raises(CorpusError, match=f"some.jsonl row 2: {field} is a {kind}.*; make it a string"):
        load_gold(file)


@pytest.mark.parametrize("line", ["[]", "3", "null", '"追尾"', "{", '{"text": "追尾"}'])
def test_what_is_no_labelled_message_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "some.jsonl").write_text(line, encoding="utf-8")
    with pytest.raises(CorpusError, match="some.jsonl row 1 lacks text or label"):
        load_gold(tmp_path / "some.jsonl")


def test_a_file_without_messages_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "none.jsonl"
    file.write_text("\n\n", encoding="utf-8")
    with pytest.raises(CorpusError, match="none.jsonl 没有一条标注消息"):
        load_gold(file)
