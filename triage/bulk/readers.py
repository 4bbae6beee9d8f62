"""Input files as streams of rows."""

from __future__ import annotations

import csv
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from triage.bulk import sheets
from triage.bulk.decoding import detect_encoding, text_lines
from triage.bulk.rows import ID_NAMES, TEXT_NAMES, Item, Options, checked, find_column, rejected, undecodable
from triage.errors import FileUnreadable

DELIMITERS = (",", "\t", ";")
FORMATS = (".jsonl", ".csv", ".tsv", ".xlsx")
_SNIFFED = 10_000


@dataclass(frozen=True, slots=True)
class Input:
    """An opened input.

    Attributes:
        rows: every row once, in order; wholly blank ones are left out.
        share: how much of the file was read, in [0, 1].
        details: what was found out about the file, such as its encoding.
    """

    rows: Iterator[Item]
    share: Callable[[], float]
    details: Mapping[str, str]


@contextmanager
def open_input(path: Path, options: Options) -> Iterator[Input]:
    """Open a file by its extension.

    Raises:
        FileUnreadable: the file is missing, of an unknown kind, or lacks the columns.
    """
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise FileUnreadable(
            f"不支持的输入格式 {suffix or '（无扩展名）'}，可用：{'、'.join(FORMATS)}",
            f"unknown input format {suffix or '(no extension)'}; use one of {', '.join(FORMATS)}",
        )
    if not path.is_file():
        raise FileUnreadable(f"输入文件 {path} 不存在", f"there is no input file {path}")
    if suffix == ".xlsx":
        with sheets.open_sheet(path) as sheet:
            yield Input(_sheet_rows(sheet, options, path.name), sheet.share, {"encoding": "xlsx"})
        return
    encoding = detect_encoding(path)
    size = max(1, path.stat().st_size)
    newline = "\n" if suffix == ".jsonl" else ""
    with path.open("rb") as file, closing(text_lines(file, encoding, newline)) as lines:
        read = json_rows if suffix == ".jsonl" else table_rows
        # text_lines reads ahead by some kilobytes, which a progress bar may.
        yield Input(read(lines, encoding, options, path.name), lambda: file.tell() / size, {"encoding": encoding})


def json_rows(lines: Iterable[str], encoding: str, options: Options, name: str) -> Iterator[Item]:
    """Rows of JSONL; numbers are line numbers."""
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield undecodable(number, line, encoding) or _json_row(number, line.rstrip("\r\n"), options)


def _json_row(number: int, line: str, options: Options) -> Item:
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        return rejected(number, "bad_json", line)
    if not isinstance(data, dict):
        return rejected(number, "not_an_object", line)
    text_key = find_column(data, options.text_column, TEXT_NAMES)
    id_key = find_column(data, options.id_column, ID_NAMES)
    if text_key is None or data[text_key] is None:
        return rejected(number, "missing_text", line, column=options.text_column or "text")
    text = data[text_key]
    if not isinstance(text, str):
        return rejected(number, "wrong_type", line, column=options.text_column or "text", kind=type(text).__name__)
    return checked(number, data[id_key] if id_key else None, text, line, options)


@dataclass(frozen=True, slots=True)
class Header:
    """Where a table holds what: width in columns, positions from 0."""

    width: int
    text_at: int
    id_at: int | None

    @classmethod
    def read(cls, names: Sequence[object], options: Options, file: str) -> Header:
        """Find the columns in the first row.

        Raises:
            FileUnreadable: a column is missing. The names are not repeated: without a header they are a report.
        """
        text = find_column(names, options.text_column, TEXT_NAMES)
        key = find_column(names, options.id_column, ID_NAMES)
        if text is None or (options.id_column and key is None):
            option, wanted = (
                ("--text-column", options.text_column) if text is None else ("--id-column", options.id_column)
            )
            looked = wanted or "、".join(TEXT_NAMES)
            raise FileUnreadable(
                f"{file} 第 1 行的 {len(names)} 列中没有 {looked}，请加表头或用 {option} 指定",
                f"none of the {len(names)} columns in the first row of {file} is called {looked}; "
                f"add a header or name the column with {option}",
            )
        shown = ["" if name is None else str(name) for name in names]
        return cls(len(names), shown.index(text), None if key is None else shown.index(key))

    def row(self, number: int, cells: Sequence[object], raw: object, options: Options) -> Item:
        """One row below the header."""
        needed = max(self.text_at, self.id_at or 0)
        if len(cells) <= needed:
            return rejected(number, "too_few_columns", raw, found=len(cells), needed=needed + 1)
        if any(filled(cell) for cell in cells[self.width :]):
            return rejected(number, "too_many_columns", raw, found=len(cells), header=self.width)
        return checked(number, None if self.id_at is None else cells[self.id_at], cells[self.text_at], raw, options)


def filled(cell: object) -> bool:
    """Whether a cell holds more than blanks."""
    return cell is not None and bool(str(cell).strip())


def table_rows(lines: Iterator[str], encoding: str, options: Options, name: str) -> Iterator[Item]:
    """Rows of comma-, tab- or semicolon-separated text; numbers count records, the header is 1 when it stands first."""
    header: Header | None = None
    for number, cells, raw in numbered_records(lines, options):
        if header is None:
            header = Header.read(cells or [], options, name)
        elif problem := undecodable(number, raw, encoding):
            yield problem
        elif cells is None:
            yield rejected(number, "bad_quotes", raw)
        elif any(filled(cell) for cell in cells):
            yield header.row(number, cells, raw.rstrip("\r\n"), options)


def numbered_records(lines: Iterator[str], options: Options) -> Iterator[tuple[int, list[str] | None, str]]:
    """Number, cells (None where the quotes are wrong) and text of every record, the header first.

    Blank lines above the header are passed over but count.
    """
    blank = 0
    for first in lines:
        if first.strip():
            break
        blank += 1
    else:
        return
    for number, (cells, raw) in enumerate(records(chain([first], lines), sniff(first, options)), blank + 1):
        yield number, cells, raw


def sniff(line: str, options: Options) -> str:
    """The delimiter of a header line: one that lays open the text column, then the one that gives most columns."""

    def rank(delimiter: str) -> tuple[bool, int]:
        names = next(csv.reader([line[:_SNIFFED]], delimiter=delimiter), [])
        return find_column(names, options.text_column, TEXT_NAMES) is not None, len(names)

    return max(DELIMITERS, key=rank)


class _Feed:
    """Lines for the csv reader, remembered until the record is complete, and given back where a quote ate them."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self._returned: deque[str] = deque()
        self.taken: list[str] = []

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        line = self._returned.popleft() if self._returned else next(self._lines)
        self.taken.append(line)
        return line

    def give_back(self) -> None:
        """All lines but the first of this record."""
        self._returned.extendleft(reversed(self.taken[1:]))
        del self.taken[1:]


def records(lines: Iterable[str], delimiter: str) -> Iterator[tuple[list[str] | None, str]]:
    """Records with the text they were read from; None for the cells where the quotes are wrong."""
    feed = _Feed(lines)
    reader = csv.reader(feed, delimiter=delimiter, strict=True)
    while True:
        feed.taken.clear()
        cells: list[str] | None = None
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            # A quote that is never closed swallows the rows below it: only its own line is at fault.
            if "unexpected end" in str(error) or "field larger" in str(error):
                feed.give_back()
        yield cells, "".join(feed.taken)


def _sheet_rows(sheet: sheets.Sheet, options: Options, name: str) -> Iterator[Item]:
    header: Header | None = None
    for number, cells in enumerate(sheet.rows, 1):
        if not any(filled(cell) for cell in cells):
            continue
        if header is None:
            header = Header.read(cells, options, name)
            continue
        padded = [*cells, *[None] * (header.width - len(cells))]
        yield header.row(number, padded, [None if cell is None else str(cell) for cell in cells], options)
