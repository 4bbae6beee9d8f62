"""Broken files: each says what is wrong and where, and the good rows beside it are kept."""

from __future__ import annotations

import datetime
import gzip
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training.exchange import Mapping
from triage.errors import TriageError

from .conftest import Import

FIRE, CRASH, SCAM = "三楼楼道堆满纸箱", "桥头两车相撞占着道", "让我把钱转到安全账户"
GOOD = [(FIRE, "fire_hazard"), (CRASH, "traffic"), (SCAM, "telecom_fraud")]
HEAD = "text,label\n"
LINES = [f"{text},{label}\n" for text, label in GOOD]


def table(*lines: str) -> bytes:
    return (HEAD + "".join(lines)).encode()


def jsonl(*rows: object) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def rows(*extra: object) -> list[object]:
    return [{"text": text, "label": label} for text, label in GOOD[:2]] + list(extra)


def sheet(*cells: tuple[object, ...]) -> bytes:
    book = openpyxl.Workbook()
    for row in cells:
        book.worksheets[0].append(list(row))
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def parquet(columns: dict[str, list[Any]]) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


def task(text: str, *labels: str, **rest: object) -> dict[str, object]:
    made = [
        {
            "result": [{"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": [label]}}],
            **rest,
        }
        for label in labels
    ]
    return {"id": 1, "data": {"text": text}, "annotations": made, "predictions": []}


def record(text: str, *labels: str) -> dict[str, object]:
    responses = {"label": [{"value": label, "user_id": "u"} for label in labels]} if labels else {}
    suggestions = {"label": {"value": "traffic", "score": 0.9, "agent": "m"}}
    return {"id": "a", "fields": {"text": text}, "metadata": {}, "suggestions": suggestions, "responses": responses}


def minimal(key: int, text: str, label: str) -> dict[str, object]:
    return {"id": key, "text": text, "label": label, "annotator": 1, "annotation_id": key, "created_at": "x"}


@dataclass(frozen=True)
class Whole:
    """A file of which nothing can be used."""

    name: str
    data: bytes
    zh: str
    en: str


@dataclass(frozen=True)
class Partly:
    """A file with good rows, and others that are kept aside: (row, column, code)."""

    name: str
    data: bytes
    aside: list[tuple[int, str | None, str]]
    good: int
    says: str = ""


WHOLE = {
    "empty": Whole("x.csv", b"", "空文件", "is empty"),
    "header only": Whole("x.csv", HEAD.encode(), "没有数据行", "holds no rows"),
    "missing column": Whole("x.csv", b"text,kind\na,b\n", "没有 label", "is called label; name it with --label"),
    "duplicate header": Whole("x.csv", b"text,label,Text\na,b,c\n", "两列同名", "two columns of x.csv"),
    "Big5 header": Whole("x.csv", "標題,類別\n三樓,火災\n".encode("big5"), "以 UTF-8 另存", "save the file as UTF-8"),
    "truncated xlsx": Whole("x.xlsx", sheet(("text", "label"), GOOD[0])[:-400], "x.xlsx 无法", "cannot read x.xlsx"),
    "truncated parquet": Whole("x.parquet", parquet({"text": ["a"]})[:-9], "x.parquet 已损坏", "x.parquet is damaged"),
    "no gzip": Whole("x.csv.gz", b"text,label\n", "不是 gzip", "is no gzip file"),
    "two sheets": Whole("x.xlsx", b"", "不止一张表", "more than one sheet"),
    "spreadsheet called csv": Whole("x.csv", sheet(("text", "label")), "Excel 文件", "is a spreadsheet"),
    "no array": Whole("x.json", b'"text"', "不是 JSON 数组", "is no JSON array"),
    "unknown kind": Whole("x.docx", b"a", "不支持的输入格式 .docx", "unknown input format .docx"),
}
PARTLY = {
    "wrong encoding": Partly(
        "x.csv", table(*LINES[:2]) + "坏,traffic\n".encode("gbk") + LINES[2].encode(), [(4, None, "undecodable")], 3
    ),
    "mixed delimiters": Partly(
        "x.csv", table(LINES[0], "有人打架;traffic\n", LINES[1]), [(3, "label", "too_few_columns")], 2, "has 1 columns"
    ),
    "ragged rows": Partly(
        "x.csv",
        table("占道,经营,traffic\n", LINES[0], "没有标签\n"),
        [(2, None, "too_many_columns"), (4, "label", "too_few_columns")],
        1,
    ),
    "quote never closed": Partly("x.csv", table('"没有合上,traffic\n', *LINES), [(2, None, "bad_quotes")], 3),
    "NULs": Partly(
        "x.csv", table(LINES[0], "空\0字符,traffic\n", LINES[1]), [(3, "text", "control_characters")], 2, "U+0000"
    ),
    "truncated gzip": Partly(
        "x.jsonl.gz", gzip.compress(jsonl(*rows()) + jsonl(*[{"n": i} for i in range(5000)]))[:-5000], [], -1
    ),
    "array cut off": Partly(
        "x.json",
        json.dumps(rows({"text": SCAM, "label": "telecom_fraud"}), ensure_ascii=False).encode()[:-30],
        [(3, None, "cut_off")],
        2,
        "may be cut off",
    ),
    "array damaged inside": Partly(
        "x.json",
        json.dumps(rows({"text": "坏"}, {"text": SCAM, "label": "telecom_fraud"}), ensure_ascii=False)
        .replace('"坏"}', "坏}")
        .encode(),
        [(3, None, "cut_off")],
        3,
    ),
    "unknown label": Partly(
        "x.csv", table(LINES[0], "积水很深,内涝\n"), [(3, "label", "unknown_label")], 1, "unknown label 内涝; map it"
    ),
    "text in place of the label": Partly(
        "x.csv", table(LINES[0], f"traffic,{SCAM * 3}\n"), [(3, "label", "unknown_label")], 1, "label of 30 characters"
    ),
    "unknown urgency": Partly(
        "x.jsonl",
        jsonl(*rows({"text": SCAM, "label": "other", "urgency": "soon"})),
        [(3, "urgency", "unknown_value")],
        2,
        "value soon",
    ),
    "no label": Partly("x.jsonl", jsonl(*rows({"text": SCAM, "label": None})), [(3, "label", "missing_label")], 2),
    "no text": Partly("x.csv", table(LINES[0], "  ,traffic\n"), [(3, "text", "missing_text")], 1),
    "several labels": Partly(
        "x.jsonl",
        jsonl(*rows({"text": SCAM, "label": ["traffic", "other"], "Comments": []})),
        [(3, "label", "several_labels")],
        2,
        "has 2 labels",
    ),
    "lone surrogate": Partly(
        "x.jsonl", jsonl(*rows()) + b'{"text": "\\ud83d", "label": "other"}\n', [(3, "text", "undecodable")], 2
    ),
    "huge text": Partly(
        "x.csv", table(LINES[0], "长" * 20_001 + ",other\n"), [(3, "text", "text_too_long")], 1, "20001"
    ),
    "huge cell": Partly(
        "x.csv", table(LINES[0], '"' + "a" * 140_000 + '",other\n', LINES[1]), [(3, None, "cell_too_long")], 2, "131072"
    ),
    "formula": Partly(
        "x.xlsx", sheet(("text", "label"), GOOD[0], ("=A2&A2", "other"), GOOD[1]), [(3, "text", "formula")], 2
    ),
    "dates as numbers": Partly(
        "x.xlsx",
        sheet(
            ("text", "label", "时间"),
            (*GOOD[0], datetime.datetime(2026, 11, 1, 8, 5)),
            (*GOOD[1], 46327.5),
            (*GOOD[2], "2026年11月1日"),
        ),
        [(3, "时间", "time_is_number")],
        2,
    ),
    "no date": Partly("x.csv", "text,label,time\na,other,昨天\nb,other,\n".encode(), [(2, "time", "bad_time")], 1),
    "wrong type": Partly(
        "x.jsonl", jsonl(*rows({"text": {"a": 1}, "label": "other"})), [(3, "text", "wrong_type")], 2, "is a dict"
    ),
    "field twice": Partly(
        "x.jsonl", jsonl(*rows()) + b'{"text": "a", "label": "other", "label": "x"}\n', [(3, None, "duplicate_key")], 2
    ),
    "no object": Partly(
        "x.jsonl", jsonl(*rows([1])) + b'{"text":\n', [(3, None, "not_an_object"), (4, None, "bad_json")], 2
    ),
    "Label Studio, two annotations that differ": Partly(
        "x.json",
        json.dumps([task(FIRE, "fire_hazard", "fire_hazard"), task(SCAM, "other", "traffic"), task(CRASH)]).encode(),
        [(2, "label", "annotators_differ"), (3, "annotations", "unlabelled")],
        1,
        "2 annotations differ",
    ),
    "Label Studio, cancelled": Partly(
        "x.json",
        json.dumps([task(FIRE, "fire_hazard"), task(SCAM, "other", was_cancelled=True)]).encode(),
        [(2, "annotations", "unlabelled")],
        1,
    ),
    "Label Studio, not as exported": Partly(
        "x.json",
        json.dumps([task(FIRE, "fire_hazard"), {"data": {"text": "a"}, "annotations": [7]}]).encode(),
        [(2, "annotations", "bad_task")],
        1,
    ),
    "JSON_MIN, two annotations that differ": Partly(
        "x.json",
        json.dumps([minimal(1, FIRE, "fire_hazard"), minimal(2, SCAM, "other"), minimal(2, SCAM, "traffic")]).encode(),
        [(2, "label", "annotators_differ"), (3, "label", "annotators_differ")],
        1,
    ),
    "Argilla without responses": Partly(
        "x.json",
        json.dumps([record(FIRE, "fire_hazard"), record(SCAM), record(CRASH, "traffic", "other")]).encode(),
        [(2, "responses", "unlabelled"), (3, "label", "annotators_differ")],
        1,
    ),
    "Argilla flattened without responses": Partly(
        "x.parquet",
        parquet(
            {
                "text": [FIRE, SCAM, CRASH],
                "label.responses": [["fire_hazard"], None, ["traffic"]],
                "label.responses.status": [["submitted"], None, ["draft"]],
                "label.suggestion": ["other", "other", "other"],
            }
        ),
        [(2, "responses", "unlabelled"), (3, "responses", "unlabelled")],
        1,
    ),
}  # fmt: skip


def test_there_are_enough_of_them() -> None:
    assert len(WHOLE) + len(PARTLY) >= 20


@pytest.mark.parametrize("case", WHOLE.values(), ids=WHOLE)
def test_a_file_of_which_nothing_can_be_used_says_why(bring: Import, tmp_path: Path, case: Whole) -> None:
    source = tmp_path / case.name
    source.write_bytes(case.data)
    if case.zh == "不止一张表":
        book = openpyxl.Workbook()
        for cells in (book.worksheets[0], book.create_sheet()):
            cells.append(["text", "label"])
        book.save(source)
    with pytest.raises(TriageError) as caught:
        bring(source)
    assert case.zh in caught.value.zh
    assert case.en in caught.value.en
    assert sorted(path.name for path in tmp_path.iterdir()) == [case.name], "nothing is left behind"


@pytest.mark.parametrize("case", PARTLY.values(), ids=PARTLY)
def test_bad_rows_are_kept_aside_with_their_place_and_the_good_ones_go_on(
    bring: Import, tmp_path: Path, case: Partly
) -> None:
    source = tmp_path / case.name
    source.write_bytes(case.data)
    summary, rows, aside = bring(source)
    if case.good >= 0:
        assert [(item["row"], item["column"], item["code"]) for item in aside] == case.aside
        assert len(rows) == summary.written == case.good
    else:
        assert [row["text"] for row in rows] == [FIRE, CRASH]
        assert aside[-1]["code"] == "gzip_cut_off"
    assert summary.read == len(rows) + len(aside)
    assert all(item["file"] == case.name and "raw" in item or "raw_base64" in item for item in aside)
    for item in aside:
        message: str = item["message"]
        zh, en = message.split(" / ", 1)
        assert zh.startswith(f"{case.name} 第 {item['row']} 行")
        assert f"{case.name} row {item['row']}" in en
        assert not any(text in message for text in (FIRE, CRASH, SCAM)), "no report stands in a message"
    assert case.says in " ".join(item["message"] for item in aside)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk", "utf-16"])
@pytest.mark.parametrize("name", ["x.csv", "x.jsonl", "x.json"])
def test_encodings_that_city_platforms_use(bring: Import, tmp_path: Path, encoding: str, name: str) -> None:
    data = {
        "x.csv": table(*LINES),
        "x.jsonl": jsonl(*rows()),
        "x.json": json.dumps(rows(), ensure_ascii=False).encode(),
    }
    (tmp_path / name).write_bytes(data[name].decode().encode(encoding))
    summary, found, aside = bring(tmp_path / name)
    assert (found[0]["text"], found[1]["label"], aside) == (FIRE, "traffic", [])


def test_where_no_row_can_be_used_only_the_errors_appear(bring: Import, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(table("a,甲类\n", "b,乙类\n"))
    summary, rows, aside = bring(tmp_path / "x.csv")
    assert (summary.output, rows, len(aside)) == (None, [], 2)
    assert summary.unknown == {"甲类": 1, "乙类": 1}
    assert not (tmp_path / "out.jsonl").exists()


def test_a_column_that_the_mapping_names_must_be_there(bring: Import, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(table(*LINES))
    with pytest.raises(TriageError, match="is called 上报时间; name it with --column time="):
        bring(tmp_path / "x.csv", Mapping({"time": "上报时间"}))
    with pytest.raises(TriageError, match="has no column 街道 to keep"):
        bring(tmp_path / "x.csv", Mapping(keep=("街道",)))


def test_a_folder_names_the_file(bring: Import, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    (folder / "data").mkdir(parents=True)
    (folder / "README.md").write_text("a card", encoding="utf-8")
    (folder / "data" / "test.jsonl").write_bytes(jsonl({"text": FIRE, "label": "内涝"}))
    (folder / "data" / "train.csv").write_bytes(table(*LINES))
    summary, rows, aside = bring(folder)
    assert (summary.written, aside[0]["file"], aside[0]["row"]) == (3, "set/data/test.jsonl", 1)
