"""XLSX in and out: the only door to openpyxl, which streams both ways here."""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import openpyxl

from triage.errors import FileUnreadable, TriageError

MAX_FILE_BYTES: Final = 512 * 2**20
MAX_UNPACKED_BYTES: Final = 4 * 2**30
# Shared strings are held in memory, all of them.
MAX_STRINGS_BYTES: Final = 1 * 2**30
MAX_PARTS: Final = 5_000
MAX_CELL_CHARS: Final = 32_767
MAX_SHEET_ROWS: Final = 1_048_576

_HEAD = 4096
_FORMULA_CELL = re.compile(rb"<(?:\w+:)?f[ />]")
# What XML 1.0 cannot hold.
NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class Sheet:
    """The first sheet of a workbook.

    Attributes:
        rows: values of each row, from the first; as wide as the row is filled.
        share: how much was read, in [0, 1], as far as the sheet says how long it is.
    """

    rows: Iterator[Sequence[object]]
    share: Callable[[], float]


@contextmanager
def open_sheet(path: Path, computed: bool = True) -> Iterator[Sheet]:
    """Open the first sheet for one pass.

    Args:
        path: the workbook.
        computed: give what formulas came to when the workbook was last saved (None where nothing calculated them),
            not the formulas themselves.

    Raises:
        FileUnreadable: the file is no workbook, is damaged, unpacks to more than the limits, or another sheet holds
            rows too, which would be lost.
    """
    check_archive(path)
    try:
        with warnings.catch_warnings():
            # openpyxl warns of styles and extensions that it will not keep; nothing is written back.
            warnings.simplefilter("ignore")
            book = openpyxl.load_workbook(path, read_only=True, data_only=computed, keep_links=False)
    except Exception as error:  # openpyxl lets through whatever the zip, the XML and its own parsers raise
        raise _damaged(path, error) from None
    try:
        if not book.worksheets:
            raise FileUnreadable(f"{path.name} 中没有工作表", f"{path.name} has no sheet")
        sheet, *others = book.worksheets
        for other in others:
            if _holds_rows(other):
                raise FileUnreadable(
                    f"{path.name} 有不止一张表有内容，请把要研判的表单独另存",
                    f"more than one sheet of {path.name} holds rows; save the one to classify as a file of its own",
                )
        total = max(1, min(sheet.max_row or 1, MAX_SHEET_ROWS))
        # The sheet's own word on its size may be wrong by millions of empty cells.
        sheet.reset_dimensions()
        at = [0]
        yield Sheet(_values(sheet.iter_rows(values_only=True), path, at), lambda: min(1.0, at[0] / total))
    finally:
        book.close()


def _holds_rows(sheet: Any) -> bool:
    """Whether a cell of the first thousand rows is filled."""
    sheet.reset_dimensions()
    rows = sheet.iter_rows(max_row=1000, values_only=True)
    return any(value not in (None, "") for row in rows for value in row)


def _values(rows: Iterator[Sequence[object]], path: Path, at: list[int]) -> Iterator[Sequence[object]]:
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except Exception as error:  # as above
            raise _damaged(path, error) from None
        at[0] += 1
        yield row


def _damaged(path: Path, error: Exception) -> FileUnreadable:
    kind = type(error).__name__
    return FileUnreadable(
        f"{path.name} 无法按 Excel 文件读取（{kind}），请用 Excel 打开后另存为 .xlsx",
        f"cannot read {path.name} as a workbook ({kind}); open it in Excel and save it as .xlsx",
    )


def holds_formulas(path: Path) -> bool:
    """Whether a cell of a workbook that ``open_sheet`` accepts is calculated."""
    with zipfile.ZipFile(path) as archive:
        parts = [name for name in archive.namelist() if name.startswith("xl/worksheets/") and name.endswith(".xml")]
        return any(_mentions_formula(archive, name) for name in parts)


def _mentions_formula(archive: zipfile.ZipFile, name: str) -> bool:
    with archive.open(name) as file:
        tail = b""
        while block := file.read(2**20):
            if _FORMULA_CELL.search(tail + block):
                return True
            tail = block[-16:]
    return False


def check_archive(path: Path) -> None:
    """Look at a workbook's table of contents before anything is unpacked.

    Raises:
        FileUnreadable: too large, too many parts, or XML that declares entities.
    """
    _limit(path, "文件", "file", path.stat().st_size, MAX_FILE_BYTES)
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
            _limit(path, "部件数", "number of parts", len(parts), MAX_PARTS)
            _limit(path, "解压后", "unpacked size", sum(part.file_size for part in parts), MAX_UNPACKED_BYTES)
            for part in parts:
                if part.filename.lower().endswith("sharedstrings.xml"):
                    _limit(path, "共享字符串", "shared strings", part.file_size, MAX_STRINGS_BYTES)
                if part.filename.lower().endswith((".xml", ".rels")):
                    _refuse_entities(path, archive, part)
    except TriageError:
        raise
    except Exception as error:  # zipfile raises BadZipFile, NotImplementedError, RuntimeError, zlib.error, …
        raise _damaged(path, error) from None


def _limit(path: Path, zh: str, en: str, value: int, limit: int) -> None:
    if value > limit:
        raise FileUnreadable(
            f"{path.name} 的{zh}为 {value}，上限 {limit}，请拆分或改用 CSV",
            f"{path.name}: {en} is {value}, the limit is {limit}; split it or use CSV",
        )


def _refuse_entities(path: Path, archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> None:
    with archive.open(part) as file:
        head = file.read(_HEAD).replace(b"\0", b"")
    if b"<!DOCTYPE" in head or b"<!ENTITY" in head:
        raise FileUnreadable(f"{path.name} 含有 XML 实体定义，拒绝读取", f"{path.name} declares XML entities; refused")


def write_sheet(
    path: Path, header: Sequence[str], rows: Iterable[Sequence[str | float | bool]], title: str = "decisions"
) -> None:
    """Write a workbook row by row; what one sheet cannot hold goes on further ones, each with the header.

    Args:
        path: is replaced.
        header: names of the columns.
        rows: cells, strings not longer than ``MAX_CELL_CHARS``.
        title: of the sheets, which are numbered.
    """
    book = openpyxl.Workbook(write_only=True)
    waiting = iter(rows)
    while True:
        sheet = book.create_sheet(f"{title} {len(book.worksheets) + 1}")
        sheet.append(list(header))
        written = 1
        for row in islice(waiting, MAX_SHEET_ROWS - 1):
            sheet.append([NOT_XML.sub("\ufffd", cell) if isinstance(cell, str) else cell for cell in row])
            written += 1
        if written < MAX_SHEET_ROWS:
            break
    book.save(path)
    book.close()
