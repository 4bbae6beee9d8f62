"""Output rows, and their final form: JSONL as it is, CSV and XLSX with compact JSON in the cells."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from triage.bulk import sheets
from triage.bulk.rows import Row
from triage.decision import Decision
from triage.errors import InputError

FIELDS: Final = (
    "id", "label", "confidence", "scores", "route", "reasons", "secondary", "urgency", "entities", "evidence",
    "truncated", "model",
)  # fmt: skip
FORMATS: Final = (".jsonl", ".csv", ".xlsx")

# What a spreadsheet takes for a formula (OWASP, CSV injection), the full-width signs of Chinese input included.
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")

Cell = str | float | bool


def output_format(target: Path) -> str:
    """The extension of the output, in lower case.

    Raises:
        InputError: it is none of ``FORMATS``.
    """
    suffix = target.suffix.lower()
    if suffix not in FORMATS:
        raise InputError(
            f"不支持的输出格式 {suffix or '（无扩展名）'}，可用：{'、'.join(FORMATS)}",
            f"unknown output format {suffix or '(no extension)'}; use one of {', '.join(FORMATS)}",
        )
    return suffix


def decision_json(text: str, decision: Decision) -> dict[str, Any]:
    """A decision as JSON values, its evidence with the words of ``text`` that it was made on."""
    said = decision.to_json()
    said["evidence"] = [{**span, "text": text[span["start"] : span["end"]]} for span in said["evidence"]]
    return said


def output_row(row: Row, decision: Decision) -> dict[str, Any]:
    """One row of output: ``FIELDS`` in order, JSON values."""
    said = {"id": row.id, **decision_json(row.text, decision)}
    return {field: said[field] for field in FIELDS}


def json_line(value: Mapping[str, Any]) -> bytes:
    """One line of JSONL in UTF-8; lone surrogates, which UTF-8 cannot hold, make the line ASCII."""
    try:
        return (json.dumps(value, ensure_ascii=False) + "\n").encode("utf-8")
    except UnicodeEncodeError:
        return (json.dumps(value) + "\n").encode("ascii")


def write_csv(part: Path, path: Path) -> None:
    """Turn finished JSONL into CSV that Excel opens: UTF-8 with BOM, CRLF."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        table = csv.writer(file)
        table.writerow(FIELDS)
        table.writerows(_cells(part))


def write_xlsx(part: Path, path: Path) -> None:
    """Turn finished JSONL into a workbook."""
    sheets.write_sheet(path, FIELDS, _cells(part, sheets.MAX_CELL_CHARS))


CONVERSIONS: Final[Mapping[str, Callable[[Path, Path], None]]] = {".csv": write_csv, ".xlsx": write_xlsx}


def convert(part: Path, path: Path, suffix: str) -> None:
    """Write the final form of ``part`` to ``path`` and bring it to the disk."""
    CONVERSIONS[suffix](part, path)
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _cells(part: Path, limit: int | None = None) -> Iterator[Sequence[Cell]]:
    with part.open(encoding="utf-8", newline="\n") as lines:
        for line in lines:
            yield [cell(value, limit) for value in json.loads(line).values()]


def cell(value: object, limit: int | None = None) -> Cell:
    """A value as one cell that no spreadsheet takes for a formula.

    Args:
        value: a JSON value; lists and objects become compact JSON.
        limit: most characters of a cell, None for any; of a longer list the first items are kept, and a last one,
            ``{"omitted": n}``, says how many are not.
    """
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return f"'{value}" if value.startswith(FORMULA) else value
    text = _compact(value)
    if limit is None or len(text) <= limit or not isinstance(value, list):
        return text
    return _compact(_fitting(value, limit))


def _fitting(items: Sequence[object], limit: int) -> list[object]:
    room = limit - 40  # for the brackets and the last item
    kept: list[object] = []
    for item in items:
        room -= len(_compact(item)) + 1
        if room < 0:
            break
        kept.append(item)
    return [*kept, {"omitted": len(items) - len(kept)}]


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def lines_of(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """JSONL of many rows."""
    return b"".join(map(json_line, rows))
