"""What goes out comes back, in every format, whatever the texts hold."""

from __future__ import annotations

import csv
import os
import tempfile
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.corpus import DIFFICULTIES, REGISTERS, message_id
from training.exchange import FORMATS, Mapping, export_file, import_file
from training.exchange.masking import Masker
from triage.bulk.writers import lines_of
from triage.taxonomy import Taxonomy, Urgency
from triage.text import privacy

from .conftest import Import, read

LABELS = ("traffic", "public_safety", "fire_hazard", "telecom_fraud", "other")
ENDINGS = {name: suffixes[0] for name, (suffixes, _) in FORMATS.items()}
ALL = Mapping(keep=("*",))
# Of each of ten formats, and every one is several files.
EXAMPLES = min(300, int(os.environ.get("TEST_EXAMPLES", "15")))

# Writing that formats stumble over: signs of formulas, quotes, delimiters, escapes of XML, JSON and Excel, emoji.
AWKWARD = st.sampled_from(
    [
        *"=+-@\t\n＝＋－＠", "'", "''=", '"', ",", ";", "|", "\\", "\\n", "_x0041_", "&amp;", "<b>", "#N/A",
        "=1+1", "NaN", "null", "[]", '["a"]', "{}", "1e5", "007", "2026/11/1", "\u3000", "\u200b", "\x85", "\u2028",
        "\U0001f525",
    ]
)  # fmt: skip
LETTERS = st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff")
WRITING = st.lists(st.one_of(AWKWARD, st.text(LETTERS, max_size=8)), min_size=1, max_size=8).map("".join).map(str.strip)
FILLED = WRITING.filter(bool)


@st.composite
def rows(draw: st.DrawFn) -> dict[str, Any]:
    """A row as import writes it: fields in order, and only those that are known."""
    text = draw(FILLED)
    row: dict[str, Any] = {"id": message_id(text), "text": text, "label": draw(st.sampled_from(LABELS))}
    optional: dict[str, st.SearchStrategy[Any]] = {
        "secondary": st.lists(st.sampled_from(LABELS[:4]), unique=True, max_size=3),
        "urgency": st.sampled_from([level.value for level in Urgency]),
        "register": st.sampled_from(REGISTERS),
        "topic": FILLED,
        "scenario": FILLED,
        "author": FILLED,
        "difficulty": st.sampled_from(DIFFICULTIES),
        "grid": FILLED,
        "time": st.one_of(st.datetimes().map(lambda at: at.replace(microsecond=0).isoformat()), st.dates().map(str)),
        "source_id": FILLED.filter(lambda key: key != row["id"]),
        "街道": FILLED,
    }
    for name, values in optional.items():
        if draw(st.booleans()):
            row[name] = draw(values)
    return row


def there_and_back(given: list[dict[str, Any]], kind: str, taxonomy: Taxonomy, folder: Path) -> list[dict[str, Any]]:
    source, target, back = folder / "in.jsonl", folder / f"out{ENDINGS[kind]}", folder / "back.jsonl"
    source.write_bytes(lines_of(given))
    assert export_file(source, target, kind=kind) == len(given)
    summary = import_file(target, back, taxonomy, mapping=ALL)
    assert summary.refused == 0, (folder / "back.jsonl.errors.jsonl").read_text(encoding="utf-8")
    return read(back)


@pytest.mark.parametrize("kind", FORMATS)
@settings(deadline=None, derandomize=True, max_examples=EXAMPLES)
@given(given=st.lists(rows(), min_size=1, max_size=6))
def test_what_goes_out_comes_back(taxonomy: Taxonomy, kind: str, given: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert there_and_back(given, kind, taxonomy, Path(folder)) == given


@pytest.mark.parametrize("kind", FORMATS)
def test_the_own_corpus_comes_back(data: Path, taxonomy: Taxonomy, kind: str, tmp_path: Path) -> None:
    own = read(data / "corpus" / "validation.jsonl")[:200]
    assert there_and_back(own, kind, taxonomy, tmp_path) == own


def test_the_own_corpus_is_masked_like_any_other_unless_that_is_not_wanted(data: Path, bring: Import) -> None:
    """Nobody but the corpus promises that 138 0000 1234 is invented; only ``--keep-personal-data`` brings it back."""
    own, masker = data / "corpus" / "validation.jsonl", Masker.load(data)
    summary, rows, aside = bring(own, masker=masker)
    given = read(own)
    changed = [at for at, (row, was) in enumerate(zip(rows, given, strict=True)) if row["text"] != was["text"]]
    finds = [at for at, was in enumerate(given) if privacy.personal(masker.finder.find(masker.normalizer(was["text"])))]
    assert (changed, aside, bool(changed)) == (finds, [], True)
    assert (summary.hidden or 0) >= len(changed)
    for at, (row, was) in enumerate(zip(rows, given, strict=True)):
        there = {**was, "text": row["text"], "id": message_id(row["text"])}
        assert row == ({**there, "source_id": was["id"]} if at in changed else was)
    assert bring(own)[1] == given


def test_no_cell_is_a_formula_and_excel_sees_utf_8(tmp_path: Path) -> None:
    texts = [f"{sign}cmd|' /C calc'!A0" for sign in ("=", "+", "-", "@", "＝", "'=", "")]
    (tmp_path / "in.jsonl").write_bytes(lines_of([{"text": text, "label": "other"} for text in texts]))
    export_file(tmp_path / "in.jsonl", tmp_path / "x.csv")
    export_file(tmp_path / "in.jsonl", tmp_path / "x.xlsx")
    raw = (tmp_path / "x.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")
    cells = [row[0] for row in csv.reader(raw.decode("utf-8-sig").splitlines())][1:]
    assert cells == [f"'{text}" if text[0] != "c" else text for text in texts]
    sheet = openpyxl.load_workbook(tmp_path / "x.xlsx").worksheets[0]
    assert [cell.data_type for (cell, *_) in sheet.iter_rows(min_row=2)] == ["s"] * len(texts)


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(lines_of([{"text": "a", "label": "other"}]))
    (tmp_path / "x.csv").write_text("mine", encoding="utf-8")
    with pytest.raises(Exception, match="already exists"):
        export_file(tmp_path / "in.jsonl", tmp_path / "x.csv")
    assert (tmp_path / "x.csv").read_text(encoding="utf-8") == "mine"
    export_file(tmp_path / "in.jsonl", tmp_path / "x.csv", overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "x.csv"]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ('{"text": "a"}', "row 2, field label"),
        ('{"text": 5, "label": "other"}', "row 2, field text"),
        ('{"text": "a", ', "row 2: not valid JSON"),
    ],
)
def test_a_row_that_cannot_go_out_is_named(tmp_path: Path, row: str, says: str) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "a", "label": "other"}\n' + row + "\n", encoding="utf-8")
    with pytest.raises(Exception, match=says):
        export_file(tmp_path / "in.jsonl", tmp_path / "x.csv")
    assert not (tmp_path / "x.csv").exists()


def test_a_cell_that_excel_cannot_hold_is_named(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(lines_of([{"text": "\U0001f525" * 16_384, "label": "other"}]))
    with pytest.raises(Exception, match="row 1, field text has 32768"):
        export_file(tmp_path / "in.jsonl", tmp_path / "x.xlsx")


def test_a_format_that_the_name_leaves_open_must_be_told(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(lines_of([{"text": "a", "label": "other"}]))
    with pytest.raises(Exception, match="unknown output format docx"):
        export_file(tmp_path / "in.jsonl", tmp_path / "x.docx")
    with pytest.raises(Exception, match="format argilla must be .json"):
        export_file(tmp_path / "in.jsonl", tmp_path / "x.csv", kind="argilla")
