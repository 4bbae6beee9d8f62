"""Records of CSV, TSV and XLSX, by the readers of ``triage.bulk``."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from training.exchange.cells import restored, restored_cells
from training.exchange.records import Item, Record, from_bulk, refused
from training.exchange.rows import Formula
from triage.bulk import Options, sheets
from triage.bulk.decoding import detect_encoding, text_lines
from triage.bulk.readers import filled, numbered_records
from triage.bulk.rows import undecodable
from triage.errors import FileUnreadable


@dataclass(frozen=True, slots=True)
class Source:
    """An opened file.

    Attributes:
        items: every record once, in order; wholly blank ones are left out.
        share: how much of the file was read, in [0, 1].
    """

    items: Iterator[Item]
    share: Callable[[], float]


@dataclass(frozen=True, slots=True)
class _Header:
    """The first row of a table."""

    names: tuple[str, ...]
    doubled: frozenset[str]

    @classmethod
    def read(cls, cells: Sequence[object], file: str) -> Self:
        names = tuple("" if cell is None else restored(str(cell)).strip() for cell in cells)
        if any("\ud800" <= character <= "\udfff" for name in names for character in name):
            raise FileUnreadable(
                f"{file} 第 1 行（表头）的编码损坏，请以 UTF-8 另存",
                f"the encoding of row 1 (the header) of {file} is damaged; save the file as UTF-8",
            )
        counts = Counter(name.casefold() for name in names if name)
        return cls(names, frozenset(name for name in names if counts[name.casefold()] > 1))

    def record(self, number: int, cells: Sequence[object], raw: object) -> Item:
        """One row below."""
        width = len(self.names)
        found = max((at for at, cell in enumerate(cells, 1) if cell is not None), default=0)
        if found > width and any(filled(cell) for cell in cells[width:]):
            return refused(number, "too_many_columns", raw, found=found, header=width)
        values = dict(
            zip(reversed(self.names), reversed([*cells[:width], *[None] * (width - len(cells))]), strict=True)
        )
        named = {name: values[name] for name in self.names if name}
        short = (len(cells), width) if len(cells) < width else None
        return Record(number, restored_cells(named), raw, headed=True, doubled=self.doubled, short=short)


@contextmanager
def open_text(path: Path, text_column: str) -> Iterator[Source]:
    """A comma-, tab- or semicolon-separated file in UTF-8, UTF-16 or GBK."""
    encoding = detect_encoding(path)
    size = max(1, path.stat().st_size)
    with path.open("rb") as file, closing(text_lines(file, encoding, "")) as lines:
        yield Source(_text_records(lines, encoding, Options(text_column), path.name), lambda: file.tell() / size)


def _text_records(lines: Iterator[str], encoding: str, options: Options, file: str) -> Iterator[Item]:
    header: _Header | None = None
    for number, cells, raw in numbered_records(lines, options):
        if header is None:
            header = _Header.read(cells or [], file)
        elif problem := undecodable(number, raw, encoding):
            yield from_bulk(problem)
        elif cells is None:
            long = len(raw) > csv.field_size_limit()
            yield refused(number, "cell_too_long" if long else "bad_quotes", raw, limit=csv.field_size_limit())
        elif any(filled(cell) for cell in cells):
            yield header.record(number, cells, raw.rstrip("\r\n"))


@contextmanager
def open_workbook(path: Path) -> Iterator[Source]:
    """The first sheet of a workbook; cells that were never calculated come as ``Formula``."""
    with ExitStack() as opened:
        sheet = opened.enter_context(sheets.open_sheet(path))
        rows = sheet.rows
        if sheets.holds_formulas(path):
            formulas = opened.enter_context(sheets.open_sheet(path, computed=False))
            rows = map(_with_formulas, sheet.rows, formulas.rows)
        yield Source(_sheet_records(rows, path.name), sheet.share)


def _with_formulas(computed: Sequence[object], formulas: Sequence[object]) -> Sequence[object]:
    pairs = zip(computed, formulas, strict=True)
    return [Formula() if value is None and formula is not None else value for value, formula in pairs]


def _sheet_records(rows: Iterator[Sequence[object]], file: str) -> Iterator[Item]:
    header: _Header | None = None
    for number, cells in enumerate(rows, 1):
        if not any(isinstance(cell, Formula) or filled(cell) for cell in cells):
            continue
        if header is None:
            header = _Header.read(cells, file)
            continue
        padded = [*cells, *[None] * (len(header.names) - len(cells))]
        raw = ["=…" if isinstance(cell, Formula) else cell for cell in cells]
        yield header.record(number, padded, raw)
