"""Files in, files out: formats, columns, encodings, and rows that cannot be read."""

from __future__ import annotations

import base64
import csv
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from triage.bulk import FIELDS, Options, Progress, Summary, classify_file
from triage.bulk import sheets as sheets_module
from triage.bulk.decoding import detect_encoding
from triage.bulk.writers import cell
from triage.errors import FileUnreadable, InputError, ServiceError
from triage.testing import KeywordEngine

FRAUD, FIRE, PLAIN = "让我转到安全账户13800138000", "消防通道被堵", "今天天气好"


@pytest.fixture
def engine() -> KeywordEngine:
    return KeywordEngine()


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def run(engine: KeywordEngine, folder: Path, data: bytes | str, name: str = "in.jsonl", **rest: Any) -> Summary:
    source = folder / name
    source.write_bytes(data.encode("utf-8") if isinstance(data, str) else data)
    return classify_file(engine, source, folder / "out.jsonl", **rest)


def answers(folder: Path) -> list[tuple[str, str]]:
    return [(row["id"], row["label"]) for row in read(folder / "out.jsonl")]


def aside(folder: Path) -> list[tuple[int, str]]:
    return [(row["row"], row["code"]) for row in read(folder / "out.jsonl.errors.jsonl")]


def test_jsonl_rows_have_exactly_the_agreed_fields(engine: KeywordEngine, tmp_path: Path) -> None:
    summary = run(engine, tmp_path, json.dumps({"id": "a", "text": FRAUD}, ensure_ascii=False) + "\n")
    (row,) = read(tmp_path / "out.jsonl")
    assert tuple(row) == FIELDS
    assert FIELDS == (
        "id", "label", "confidence", "scores", "route", "reasons", "secondary", "urgency", "entities", "evidence",
        "truncated", "model",
    )  # fmt: skip
    assert row["label"] == "telecom_fraud"
    assert row["confidence"] == row["scores"]["telecom_fraud"] == pytest.approx(0.990182, abs=1e-6)
    assert row["evidence"] == [{"start": 4, "end": 8, "weight": 1.0, "text": "安全账户"}]
    assert row["entities"] == [{"kind": "mobile", "start": 8, "end": 19, "value": "13800138000"}]
    assert (row["route"], row["reasons"], row["secondary"]) == ("auto", [], [])
    assert (row["urgency"], row["truncated"], row["model"]) == ("routine", False, "keyword-1")
    assert (summary.read, summary.written, summary.kept_aside, summary.errors) == (1, 1, 0, None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl"]


def test_ids_are_kept_or_made_from_the_row_number(engine: KeywordEngine, tmp_path: Path) -> None:
    rows = [{"id": 7, "text": FIRE}, {"text": FRAUD}, {"id": None, "text": PLAIN}, {"id": "7", "text": FRAUD}]
    run(engine, tmp_path, "\n\n".join(map(json.dumps, rows)))
    assert answers(tmp_path) == [("7", "fire_hazard"), ("3", "telecom_fraud"), ("5", "other"), ("7", "telecom_fraud")]


def test_bad_json_rows_are_kept_aside_whole_and_the_good_ones_go_on(engine: KeywordEngine, tmp_path: Path) -> None:
    lines = [
        b'{"text": "\xe6\xb6\x88\xe9\x98\xb2\xe9\x80\x9a\xe9\x81\x93"}',
        b'{"text": ',
        b"[1]",
        b'{"id": "x"}',
        b'{"text": ["a"]}',
        b'{"text": 5}',
        b'{"text": "\xff\xfe"}',
        b'{"text": "\\ud800"}',
        b'{"id": "a\\u0000", "text": "b"}',
        b'{"id": [1], "text": "b"}',
        b'{"text": "' + b"a" * 20_001 + b'"}',
        b"[" * 100_000,
        b'{"text": "' + b"a" * 20_000 + b'"}',
    ]
    summary = run(engine, tmp_path, b"\n".join(lines))
    assert aside(tmp_path) == [
        (2, "bad_json"),
        (3, "not_an_object"),
        (4, "missing_text"),
        (5, "wrong_type"),
        (6, "wrong_type"),
        (7, "undecodable"),
        (8, "undecodable"),
        (9, "bad_id"),
        (10, "wrong_type"),
        (11, "text_too_long"),
        (12, "bad_json"),
    ]
    kept = read(tmp_path / "out.jsonl.errors.jsonl")
    assert base64.b64decode(kept[5]["raw_base64"]) == lines[6] + b"\n"
    assert [row["raw"].encode() for row in kept if "raw" in row] == [line for line in (*lines[1:6], *lines[7:12])]
    assert kept[9]["message"] == (
        "正文 20001 字，上限 20000 字，请拆分 / the text has 20001 characters, the limit is 20000; split it"
    )
    assert answers(tmp_path) == [("1", "fire_hazard"), ("13", "traffic")]
    assert (summary.read, summary.written, summary.kept_aside) == (13, 2, 11)
    assert summary.by_label == {"fire_hazard": 1, "traffic": 1}
    assert summary.by_route == {"auto": 1, "review": 1}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
def test_csv_encodings_and_delimiters(engine: KeywordEngine, tmp_path: Path, encoding: str, delimiter: str) -> None:
    table = io.StringIO()
    rows = [("编号", "地点", "内容"), ("甲1", "a,b;c\td", f'{FIRE}，"快来",;\t\n第二行'), ("乙2", "", FRAUD)]
    csv.writer(table, delimiter=delimiter).writerows(rows)
    run(engine, tmp_path, table.getvalue().encode(encoding), "in.csv")
    assert answers(tmp_path) == [("甲1", "fire_hazard"), ("乙2", "telecom_fraud")]


def test_csv_rows_that_do_not_fit_are_kept_aside(engine: KeywordEngine, tmp_path: Path) -> None:
    text = f'id,text,x\n1,{FIRE},\n2\n3,{FRAUD},a,b\n\n,,\n4,"{FIRE}"!,\n5,{FRAUD}\n6,,\n'
    summary = run(engine, tmp_path, text, "in.csv")
    assert aside(tmp_path) == [(3, "too_few_columns"), (4, "too_many_columns"), (7, "bad_quotes")]
    assert answers(tmp_path) == [("1", "fire_hazard"), ("5", "telecom_fraud"), ("6", "other")]
    assert read(tmp_path / "out.jsonl")[2]["reasons"] == ["empty"]
    assert (summary.read, summary.kept_aside) == (6, 3)
    kept = read(tmp_path / "out.jsonl.errors.jsonl")
    assert kept[1]["message"].startswith("有 4 列，表头只有 3 列")
    assert kept[2]["raw"] == f'4,"{FIRE}"!,\n'


def test_a_quote_that_is_never_closed_costs_its_own_row_only(engine: KeywordEngine, tmp_path: Path) -> None:
    text = f'id,text\n1,"{FIRE}\n' + "".join(f"{n},{FRAUD}\n" for n in range(2, 9000))
    summary = run(engine, tmp_path, text, "in.csv")
    assert aside(tmp_path) == [(2, "bad_quotes")]
    assert (summary.read, summary.written) == (8999, 8998)
    assert answers(tmp_path)[-1] == ("8999", "telecom_fraud")


def test_damaged_bytes_cost_their_own_row_only(engine: KeywordEngine, tmp_path: Path) -> None:
    good = f"{FIRE}\n".encode()
    run(engine, tmp_path, b"text\n" + good + b"\xe6\xb6\xff\n" + good, "in.csv")
    assert aside(tmp_path) == [(3, "undecodable")]
    assert base64.b64decode(read(tmp_path / "out.jsonl.errors.jsonl")[0]["raw_base64"]) == b"\xe6\xb6\xff\n"
    assert answers(tmp_path) == [("2", "fire_hazard"), ("4", "fire_hazard")]


def test_damaged_gbk_is_kept_byte_by_byte(engine: KeywordEngine, tmp_path: Path) -> None:
    good = f"{FIRE}\n".encode("gbk")
    bad = "坏".encode("gbk") + b"\xff\xff," + "行".encode("gbk")
    run(engine, tmp_path, b"text\n" + good + bad + b"\n" + good, "in.csv")
    assert aside(tmp_path) == [(3, "undecodable")]
    assert base64.b64decode(read(tmp_path / "out.jsonl.errors.jsonl")[0]["raw_base64"]) == bad + b"\n"


def test_encoding_is_decided_by_all_lines(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes(b"text\n" * 9999 + "消防通道\n".encode("gbk"))
    assert detect_encoding(path) == "gb18030"
    path.write_bytes("消防通道\n".encode() * 3 + b"\xff\n")
    assert detect_encoding(path) == "utf-8"


def test_columns_can_be_named(engine: KeywordEngine, tmp_path: Path) -> None:
    text = f"text,备注,号\n{PLAIN},{FIRE},x9\n"
    run(engine, tmp_path, text, "in.csv", options=Options(text_column="备注", id_column="号"))
    assert answers(tmp_path) == [("x9", "fire_hazard")]


@pytest.mark.parametrize("options", [Options(), Options(text_column="没有"), Options(id_column="没有")])
def test_a_missing_column_is_an_error_that_does_not_repeat_the_row(
    engine: KeywordEngine, tmp_path: Path, options: Options
) -> None:
    head = "text" if options.id_column else FRAUD
    with pytest.raises(FileUnreadable, match="第 1 行的 2 列中没有") as caught:
        run(engine, tmp_path, f"{head},b\n1,2\n", "in.csv", options=options)
    assert FRAUD not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) in (["in.csv"], ["in.csv", *LEFT])


LEFT = ["out.jsonl.errors.part", "out.jsonl.journal.part", "out.jsonl.part"]


def book(path: Path, rows: list[list[Any]]) -> Path:
    made = openpyxl.Workbook()
    for row in rows:
        made.active.append(row)
    made.save(path)
    made.close()
    return path


def test_xlsx_in_and_out(engine: KeywordEngine, tmp_path: Path) -> None:
    rows = [["编号", "内容"], [1001, FIRE], [None, FRAUD], [], ["=1+1", 12345], ["d", True]]
    source = book(tmp_path / "in.xlsx", rows)
    summary = classify_file(engine, source, tmp_path / "out.xlsx")
    result = openpyxl.load_workbook(tmp_path / "out.xlsx")
    table = [list(row) for row in result.active.iter_rows(values_only=True)]
    result.close()
    assert table[0] == list(FIELDS)
    assert [(row[0], row[1]) for row in table[1:]] == [
        ("1001", "fire_hazard"),
        ("3", "telecom_fraud"),
        ("5", "traffic"),
    ]
    assert table[2][2] == pytest.approx(0.990182, abs=1e-6)
    assert json.loads(table[2][9]) == [{"start": 4, "end": 8, "weight": 1.0, "text": "安全账户"}]
    assert table[2][10] is False
    assert summary.kept_aside == 1
    assert [(row["row"], row["code"], row["raw"]) for row in read(tmp_path / "out.xlsx.errors.jsonl")] == [
        (6, "wrong_type", ["d", "True"])
    ]


def test_csv_output_opens_in_excel_and_holds_no_formula(engine: KeywordEngine, tmp_path: Path) -> None:
    ids = ["=1+1", "+1", "-1", "@x", "＝1", "a=1"]
    rows = [{"id": key, "text": FRAUD} for key in ids]
    source = tmp_path / "in.jsonl"
    source.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    classify_file(engine, source, tmp_path / "out.csv")
    data = (tmp_path / "out.csv").read_bytes()
    assert data.startswith(b"\xef\xbb\xbfid,label,confidence,")
    table = list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"))))
    assert [row["id"] for row in table] == ["'=1+1", "'+1", "'-1", "'@x", "'＝1", "a=1"]
    assert json.loads(table[0]["scores"])["telecom_fraud"] == float(table[0]["confidence"])
    assert table[0]["reasons"] == "[]"


def test_a_cell_that_excel_cannot_hold_says_what_it_leaves_out() -> None:
    items = [{"kind": "mobile", "start": n, "end": n + 11, "value": "13800138000"} for n in range(2000)]
    text = cell(items, 32_767)
    assert isinstance(text, str)
    assert len(text) <= 32_767
    kept = json.loads(text)
    assert kept[:-1] == items[: len(kept) - 1]
    assert kept[-1] == {"omitted": 2000 - (len(kept) - 1)}
    assert json.loads(str(cell(items))) == items


def test_more_rows_than_a_sheet_holds_go_on_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheets_module, "MAX_SHEET_ROWS", 3)
    sheets_module.write_sheet(tmp_path / "x.xlsx", ("a",), [[n] for n in range(3)])
    result = openpyxl.load_workbook(tmp_path / "x.xlsx")
    assert [[row[0] for row in sheet.values] for sheet in result] == [["a", 0, 1], ["a", 2]]
    result.close()


def test_unusable_workbooks(engine: KeywordEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "in.xlsx"
    source.write_bytes(b"PK\x03\x04 no zip")
    with pytest.raises(FileUnreadable, match="BadZipFile"):
        classify_file(engine, source, tmp_path / "out.jsonl")
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr("xl/workbook.xml", '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>')
    with pytest.raises(FileUnreadable, match="XML 实体"):
        classify_file(engine, source, tmp_path / "out.jsonl")
    book(source, [["text"], [FIRE]])
    monkeypatch.setattr(sheets_module, "MAX_UNPACKED_BYTES", 1000)
    with pytest.raises(FileUnreadable, match="解压后为 .*上限 1000"):
        classify_file(engine, source, tmp_path / "out.jsonl")


def test_a_zip_bomb_is_refused_before_it_is_unpacked(engine: KeywordEngine, tmp_path: Path) -> None:
    source = tmp_path / "in.xlsx"
    with (
        zipfile.ZipFile(source, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("xl/sharedStrings.xml", "w", force_zip64=True) as file,
    ):
        for _ in range(1025):
            file.write(bytes(2**20))
    with pytest.raises(FileUnreadable, match=r"共享字符串为 1074790400，上限 1073741824"):
        classify_file(engine, source, tmp_path / "out.jsonl")


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("in.doc", b"x", "不支持的输入格式 .doc"),
        ("in.csv", b"PK\x03\x04", "是 Excel 文件"),
        ("in.csv", bytes(100), "不是文本文件"),
    ],
)
def test_unusable_files(engine: KeywordEngine, tmp_path: Path, name: str, data: bytes, message: str) -> None:
    with pytest.raises(FileUnreadable, match=message):
        run(engine, tmp_path, data, name)


def test_places_that_cannot_be_written(engine: KeywordEngine, tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    with pytest.raises(FileUnreadable, match="不存在"):
        classify_file(engine, source, tmp_path / "out.jsonl")
    source.write_text(json.dumps({"text": FIRE}))
    for target, message in [("out.txt", "输出格式"), ("no/out.csv", "输出文件夹"), ("in.jsonl", "同一文件")]:
        with pytest.raises(InputError, match=message):
            classify_file(engine, source, tmp_path / target)
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_empty_inputs_give_empty_outputs(engine: KeywordEngine, tmp_path: Path) -> None:
    assert run(engine, tmp_path, "").read == 0
    assert (tmp_path / "out.jsonl").read_bytes() == b""
    assert run(engine, tmp_path, "id,text\n", "in.csv", overwrite=True).read == 0


def test_a_message_that_breaks_the_engine_is_kept_aside_without_its_text(tmp_path: Path) -> None:
    engine = KeywordEngine(poison="毒")
    rows = [{"id": "a", "text": FIRE}, {"id": "b", "text": "毒"}, {"id": "c", "text": FRAUD}]
    run(engine, tmp_path, "\n".join(map(json.dumps, rows)))
    assert answers(tmp_path) == [("a", "fire_hazard"), ("c", "telecom_fraud")]
    (kept,) = read(tmp_path / "out.jsonl.errors.jsonl")
    assert (kept["row"], kept["code"], kept["raw"]) == (2, "engine_failed", {"number": 2, "id": "b", "text": "毒"})
    assert "毒" not in kept["message"]


def test_an_engine_that_fails_on_everything_stops_the_run(engine: KeywordEngine, tmp_path: Path) -> None:
    engine.broken = True
    with pytest.raises(ServiceError, match="连续 2 行") as caught:
        run(engine, tmp_path, "\n".join(json.dumps({"text": FRAUD}) for _ in range(2)))
    assert FRAUD not in str(caught.value)


def test_progress_is_told_after_every_chunk(engine: KeywordEngine, tmp_path: Path) -> None:
    told: list[Progress] = []
    lines = [json.dumps({"text": FIRE})] * 5 + ["x"]
    run(engine, tmp_path, "\n".join(lines), chunk=2, progress=told.append)
    assert [(step.read, step.kept_aside) for step in told] == [(2, 0), (4, 0), (6, 1)]
    assert told[-1].share == 1.0
    assert all(step.rate > 0 for step in told)
