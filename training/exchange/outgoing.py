"""``triage data export``: a corpus file in the formats of other tools, each of which comes back unchanged."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from training.exchange import argilla, doccano, label_studio
from training.exchange.cells import escaped, written
from training.exchange.columnar import SAVED
from training.exchange.incoming import beside, check_target, publish
from training.exchange.jsons import open_lines
from training.exchange.records import Record
from training.exchange.rows import ORDER
from training.speakable import speakable
from triage.bulk import sheets
from triage.bulk.writers import lines_of
from triage.durable import sync_folder
from triage.errors import CorpusError, FileUnreadable, InputError

Row = Mapping[str, Any]

_WRAP: Final[Mapping[str, Callable[[Row], dict[str, Any]]]] = {
    "label-studio": label_studio.to_task,
    "argilla": argilla.to_record,
    "doccano": doccano.to_example,
}
# Fields that are lists; all others are strings once they went through a table.
_LISTS = ("secondary",)


def load_rows(path: Path) -> list[dict[str, Any]]:
    """Labelled messages from ``.jsonl``: ``text`` and ``label`` strings, other fields as they are; null is absent.

    Raises:
        CorpusError: a row cannot be used; the message names the file, the row and the field.
        FileUnreadable: the file is missing or holds no rows.
    """
    if not path.is_file():
        raise FileUnreadable(f"输入文件 {path} 不存在", f"there is no input file {path}")
    found = []
    with open_lines(path) as source:
        for item in source.items:
            if not isinstance(item, Record):
                raise _bad_row(path, item.number, item.column or "", item.zh, item.en)
            for name in ("text", "label"):
                if not isinstance(item.cells.get(name), str):
                    raise _bad_row(path, item.number, name, "缺少或不是文字", "is missing or no text")
            found.append({name: value for name, value in item.cells.items() if value is not None})
    if not found:
        raise FileUnreadable(f"{path.name} 没有数据行", f"{path.name} holds no rows")
    return found


def _bad_row(path: Path, number: int, name: str, zh: str, en: str) -> CorpusError:
    named = speakable(name)
    zh_field, en_field = (f"字段 {named} ", f", field {named}") if named else ("", "")
    return CorpusError(f"{path.name} 第 {number} 行{zh_field}：{zh}", f"{path.name} row {number}{en_field}: {en}")


def export_file(source: Path, target: Path, *, kind: str = "", overwrite: bool = False) -> int:
    """Write labelled messages in another format; see ``FORMATS``.

    Args:
        source: ``.jsonl``, as ``triage data import`` writes it or any other with text and label.
        target: appears whole; its extension says the format.
        kind: the format where the extension leaves it open: a labelling tool, ``json`` or ``datasets`` (a folder).
        overwrite: replace an earlier target.

    Returns:
        Rows written.

    Raises:
        CorpusError, FileUnreadable: as ``load_rows``; a row does not fit into a sheet.
        InputError: the format is unknown, or the target cannot be written: of what is there, only an earlier output
            of the same format is replaced.
    """
    kind = kind or target.suffix.lower().removeprefix(".")
    if kind not in FORMATS or target.suffix.lower() not in FORMATS[kind][0]:
        raise _bad_format(kind, target)
    part = beside(target, ".part")
    check_target(source, (target,), (part,), overwrite)
    for path in (target, part):
        _check_replaceable(source, path, kind)
    rows = load_rows(source)
    try:
        FORMATS[kind][1](part, rows)
        _publish(part, target, len(rows))
    finally:
        if part.is_dir():
            shutil.rmtree(part)
        part.unlink(missing_ok=True)
    return len(rows)


def _check_replaceable(source: Path, path: Path, kind: str) -> None:
    """A folder is deleted only where ``datasets`` saved it and it does not hold the source."""
    if not path.exists():
        return
    saved = not path.is_symlink() and any((path / name).is_file() for name in SAVED)
    if not (saved if kind == "datasets" else path.is_file()):
        raise InputError(
            f"{path} 不是格式 {kind} 的旧输出，不予覆盖，请改名",
            f"{path} is no earlier output of format {kind} and is left as it is; name another output",
        )
    if source.resolve().is_relative_to(path.resolve()):
        raise InputError(
            f"{path} 中有输入文件，不予覆盖，请改名",
            f"{path} holds the input and is left as it is; name another output",
        )


def _publish(part: Path, target: Path, rows: int) -> None:
    if part.is_dir():
        if target.is_dir():
            shutil.rmtree(target)
        part.replace(target)
        sync_folder(target.parent)
    else:
        publish(part, target, rows)


def _bad_format(kind: str, target: Path) -> InputError:
    if kind in FORMATS:
        wanted = " ".join(suffix or "文件夹 / a folder" for suffix in FORMATS[kind][0])
        return InputError(f"格式 {kind} 的输出应为 {wanted}", f"the output of format {kind} must be {wanted}")
    known = ", ".join(FORMATS)
    return InputError(
        f"不支持的输出格式 {kind or target.name}，请用 --format 指定：{known}",
        f"unknown output format {kind or target.name}; name one with --format: {known}",
    )


def columns_of(rows: Iterable[Row]) -> list[str]:
    """Fields that occur: id, text, label, those of a corpus in its order, then further ones as they come."""
    there = dict.fromkeys(name for row in rows for name in row)
    return [name for name in dict.fromkeys(("id", "text", "label", *ORDER, *there)) if name in there]


def _table(rows: Sequence[Row], columns: Sequence[str]) -> Iterator[list[str]]:
    for row in rows:
        yield [escaped(written(row.get(name))) for name in columns]


def _write_delimited(path: Path, rows: Sequence[Row], delimiter: str) -> None:
    columns = columns_of(rows)
    # The mark tells Excel that the file is UTF-8.
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        table = csv.writer(file, delimiter=delimiter)
        table.writerow([escaped(name) for name in columns])
        table.writerows(_table(rows, columns))


def _write_csv(path: Path, rows: Sequence[Row]) -> None:
    _write_delimited(path, rows, ",")


def _write_tsv(path: Path, rows: Sequence[Row]) -> None:
    _write_delimited(path, rows, "\t")


def _write_xlsx(path: Path, rows: Sequence[Row]) -> None:
    columns = columns_of(rows)
    if len(rows) >= sheets.MAX_SHEET_ROWS:
        raise CorpusError(
            f"{len(rows)} 行超过一张表的上限 {sheets.MAX_SHEET_ROWS - 1}，请改用 CSV",
            f"{len(rows)} rows are more than the {sheets.MAX_SHEET_ROWS - 1} of a sheet; use CSV",
        )
    for number, cells in enumerate(_table(rows, columns), 1):
        for name, cell in zip(columns, cells, strict=True):
            _check_fits(number, name, cell)
    sheets.write_sheet(path, [escaped(name) for name in columns], _table(rows, columns), "messages")


def _check_fits(number: int, name: str, cell: str) -> None:
    units = len(cell.encode("utf-16-le", "surrogatepass")) // 2  # Excel counts UTF-16
    if units > sheets.MAX_CELL_CHARS or sheets.NOT_XML.search(cell):
        raise CorpusError(
            f"第 {number} 行字段 {name} 有 {units} 字或含控制字符，Excel 放不下（上限 {sheets.MAX_CELL_CHARS} 字），"
            "请改用 CSV",
            f"row {number}, field {name} has {units} characters or holds control characters; Excel cannot hold it "
            f"(the limit is {sheets.MAX_CELL_CHARS}); use CSV",
        )


def _write_jsonl(path: Path, rows: Sequence[Row]) -> None:
    path.write_bytes(lines_of(rows))


def _write_json(path: Path, rows: Sequence[Row]) -> None:
    path.write_text(json.dumps(rows, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _wrapped(kind: str, write: Callable[[Path, Sequence[Row]], None]) -> Callable[[Path, Sequence[Row]], None]:
    return lambda path, rows: write(path, [_WRAP[kind](row) for row in rows])


def _columnar(rows: Sequence[Row]) -> dict[str, list[Any]]:
    """Values by column: lists of strings, or strings; None where a row has none."""
    found: dict[str, list[Any]] = {}
    for name in columns_of(rows):
        values = [row.get(name) for row in rows]
        if name in _LISTS:
            found[name] = [None if value is None else [str(item) for item in value] for value in values]
        else:
            found[name] = [None if value is None else written(value) for value in values]
    return found


def _write_parquet(path: Path, rows: Sequence[Row]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = _columnar(rows)
    kinds = [pa.list_(pa.string()) if name in _LISTS else pa.string() for name in columns]
    pq.write_table(pa.table(list(columns.values()), schema=pa.schema(list(zip(columns, kinds, strict=True)))), path)


def _write_datasets(path: Path, rows: Sequence[Row]) -> None:
    from datasets import Dataset, Features, List, Value

    columns = _columnar(rows)
    features = Features({name: List(Value("string")) if name in _LISTS else Value("string") for name in columns})
    Dataset.from_dict(columns, features=features).save_to_disk(str(path))


FORMATS: Final[Mapping[str, tuple[tuple[str, ...], Callable[[Path, Sequence[Row]], None]]]] = {
    "csv": ((".csv",), _write_csv),
    "tsv": ((".tsv",), _write_tsv),
    "xlsx": ((".xlsx",), _write_xlsx),
    "jsonl": ((".jsonl",), _write_jsonl),
    "json": ((".json",), _write_json),
    "parquet": ((".parquet",), _write_parquet),
    "datasets": (("",), _write_datasets),
    "label-studio": ((".json",), _wrapped("label-studio", _write_json)),
    "argilla": ((".json",), _wrapped("argilla", _write_json)),
    "doccano": ((".jsonl",), _wrapped("doccano", _write_jsonl)),
}
