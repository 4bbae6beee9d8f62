"""A record becomes a row of a corpus, or is refused with the column and the reason.

A row holds ``id`` (the hash of its text, as everywhere in a corpus), ``text``, ``label``, and of the other fields those
that the file tells: nothing is invented. ``triage evaluate`` needs no more than text and label and leaves out the
figures for what is not there; ``training.corpus.load`` fills the gaps with empty values.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from training.corpus import message_id
from training.exchange.cells import listed, written
from training.exchange.mapping import ALL, GUESSES, REQUIRED, Vocabulary
from training.exchange.mapping import Mapping as ColumnMapping
from training.exchange.records import Record, Refused, refused
from training.speakable import speakable
from triage.bulk.rows import MAX_CHARS, shown
from triage.bulk.sheets import NOT_XML
from triage.errors import FileUnreadable

FREE = ("topic", "scenario", "author", "grid")
NAMED = ("urgency", "register", "difficulty")
# Behind id, text and label.
ORDER = ("secondary", "urgency", "register", "topic", "scenario", "author", "difficulty", "grid", "time", "source_id")

_DATE = re.compile(
    r"(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?"
    r"(?:[ T]*(\d{1,2})[:：时点](\d{1,2})(?:[:：分](\d{1,2})(?:\.\d+)?秒?|分)?)?"
)
# The corpus's own topics, scenarios and authors: words and small numbers, which nobody is called by.
_CODE = re.compile(r"(?!.*\d{6})[a-z][a-z0-9_-]*")
_SURROGATE = re.compile("[\ud800-\udfff]")
_SEPARATORS = re.compile(r"[,，、;；|/]")


class Formula:
    """Stands in a cell for a formula that was never calculated."""


class _Stop(Exception):
    """Ends the reading of one record."""

    def __init__(self, code: str, column: str, value: str = "", **blanks: object) -> None:
        super().__init__(code)
        self.code, self.column, self.value, self.blanks = code, column, value, blanks


@dataclass(frozen=True, slots=True)
class RowMaker:
    """Makes rows of records.

    Attributes:
        file: name for errors about the whole file.
        mapping: which column holds what.
        vocabulary: what the values mean.
        hide: hides personal data in a text; the text itself where that is not wanted.
        layouts: columns by field, for each list of columns that was seen.
    """

    file: str
    mapping: ColumnMapping
    vocabulary: Vocabulary
    hide: Callable[[str], str]
    layouts: dict[tuple[str, ...], dict[str, str]] = field(default_factory=dict)

    def __call__(self, record: Record) -> dict[str, Any] | Refused:
        """A row, fields in the order of the corpus, further columns behind them; or the reason why there is none.

        Raises:
            FileUnreadable: a column that is needed is missing, or stands twice, in the header of the file.
        """
        try:
            return self._row(record)
        except _Stop as stop:
            column = stop.column if speakable(stop.column) else "…"
            item = refused(record.number, stop.code, record.raw, column, stop.value, **stop.blanks)
            return replace(item, file=record.file)

    def _row(self, record: Record) -> dict[str, Any]:
        names = tuple(record.cells)
        if names not in self.layouts:
            self.layouts[names] = self.mapping.find(names)
        columns = self.layouts[names]
        self._check_columns(record, columns)
        read = _Reading(record, columns, self.vocabulary)
        text = read.text()
        label = read.label()
        row = {"id": "", "text": self.hide(text), "label": label, **read.rest()}
        for name in ("source_id", *FREE):
            if name in row and not _CODE.fullmatch(row[name]):
                row[name] = self.hide(row[name])
        row["id"] = message_id(row["text"])
        if row.get("source_id") == row["id"]:
            del row["source_id"]
        return {**row, **self._kept(record, columns, row)}

    def _kept(self, record: Record, columns: Mapping[str, str], row: Mapping[str, Any]) -> dict[str, str]:
        taken = set(columns.values())
        wanted = [name for name in record.cells if ALL in self.mapping.keep and name not in taken]
        wanted += [name for name in self.mapping.keep if name in record.cells and name != ALL]
        found = {name: _checked(name, written(_calculated(name, record.cells[name]))).strip() for name in wanted}
        return {name: self.hide(value) for name, value in found.items() if value and name.strip() and name not in row}

    def _check_columns(self, record: Record, columns: Mapping[str, str]) -> None:
        for name in GUESSES:
            wanted = name in REQUIRED or (record.headed and self.mapping.columns.get(name))
            if wanted and name not in columns:
                self._refuse_missing(record, name)
        missing = [name for name in self.mapping.keep if name != ALL and name not in record.cells]
        if record.headed and missing:
            raise FileUnreadable(
                f"{self.file} 中没有要保留的列 {missing[0]}，请更正 --keep",
                f"{self.file} has no column {missing[0]} to keep; correct --keep",
            )
        for name, column in columns.items():
            if column in record.doubled:
                wanted = speakable(column)
                raise FileUnreadable(
                    f"{self.file} 表头中有两列同名（{wanted}），读不准 {name}，请改名",
                    f"two columns of {self.file} are called {wanted}, and {name} is read from it; rename one",
                )

    def _refuse_missing(self, record: Record, name: str) -> None:
        column = self.mapping.columns.get(name) or name
        if not record.headed:
            raise _Stop("missing_column", column)
        option = f"--{name}-column" if name in REQUIRED else f"--column {name}="
        raise FileUnreadable(
            f"{self.file} 的 {len(record.cells)} 列中没有 {column}，请用 {option} 指定；若表头是乱码，请以 UTF-8 另存",
            f"none of the {len(record.cells)} columns of {self.file} is called {column}; name it with {option}; "
            "if the header is garbled, save the file as UTF-8",
        )


@dataclass(frozen=True, slots=True)
class _Reading:
    """The fields of one record."""

    record: Record
    columns: Mapping[str, str]
    vocabulary: Vocabulary

    def text(self) -> str:
        text = self._said("text").strip()
        column = self.columns["text"]
        if not text:
            raise self._empty("missing_text", column)
        if len(text) > MAX_CHARS:
            raise _Stop("text_too_long", column, chars=len(text))
        return text

    def label(self) -> str:
        column = self.columns["label"]
        values = [value for value in listed(self._value("label")) if written(value).strip()]
        if not values:
            raise self._empty("missing_label", column)
        if len(values) > 1:
            raise _Stop("several_labels", column, count=len(values))
        return self._known("label", _string(column, values[0]))

    def rest(self) -> dict[str, Any]:
        """The fields that need not be there, as far as they are."""
        found: dict[str, Any] = {}
        if "secondary" in self.columns and self._value("secondary") not in (None, ""):
            found["secondary"] = self._secondary()
        if "time" in self.columns:
            found["time"] = _moment(self.columns["time"], self._value("time"))
        for name in (*NAMED, *FREE, "source_id"):
            value = self._said(name).strip() if name in self.columns else ""
            found[name] = self._known(name, value) if value and name in NAMED else value
        return {name: found[name] for name in ORDER if name in found and found[name] != ""}

    def _secondary(self) -> list[str]:
        column = self.columns["secondary"]
        values = listed(self._value("secondary"))
        if len(values) == 1 and isinstance(values[0], str):
            values = list(_SEPARATORS.split(values[0]))
        named = [_string(column, value) for value in values]
        return list(dict.fromkeys(self._known("label", name, "secondary") for name in named if name.strip()))

    def _known(self, name: str, value: str, asked: str = "") -> str:
        found = self.vocabulary[name, value]
        if found is not None:
            return found
        known = ", ".join(self.vocabulary.ids[name])
        code = "unknown_label" if name == "label" else "unknown_value"
        raise _Stop(code, self.columns[asked or name], value.strip(), known=known, table=name)

    def _said(self, name: str) -> str:
        return _string(self.columns[name], self._value(name))

    def _value(self, name: str) -> object:
        column = self.columns[name]
        return _calculated(column, self.record.cells.get(column))

    def _empty(self, code: str, column: str) -> _Stop:
        if self.record.short is not None:
            found, header = self.record.short
            return _Stop("too_few_columns", column, found=found, header=header)
        return _Stop(code, column)


def _calculated(column: str, value: object) -> object:
    if isinstance(value, Formula):
        raise _Stop("formula", column)
    return value


def _string(column: str, value: object) -> str:
    """A value as text that a corpus may hold."""
    said = shown(value)
    if said is None:
        raise _Stop("wrong_type", column, kind=type(value).__name__)
    return _checked(column, said)


def _checked(column: str, said: str) -> str:
    """The same, lines ending as everywhere."""
    if found := NOT_XML.search(said):
        raise _Stop("control_characters", column, at=ord(found[0]))
    if _SURROGATE.search(said):
        raise _Stop("undecodable", column, encoding="Unicode")
    return said.replace("\r\n", "\n").replace("\r", "\n")


def _moment(column: str, value: object) -> str:
    """A date or a date and time in ISO 8601; empty for none."""
    if value is None or value == "":
        return ""
    if isinstance(value, datetime.date):  # a datetime is one too
        return value.isoformat()
    said = _string(column, value).strip()
    if not isinstance(value, str) or re.fullmatch(r"\d+(\.\d+)?", said):
        # Excel's days since 1900 or 1904, or seconds since 1970: which, nobody says.
        raise _Stop("time_is_number", column)
    try:
        return _iso(said) if said else ""
    except ValueError:
        raise _Stop("bad_time", column, chars=len(said)) from None


def _iso(said: str) -> str:
    match = _DATE.fullmatch(said)
    if match is None:
        return datetime.datetime.fromisoformat(said).isoformat()
    year, month, day, *clock = (None if part is None else int(part) for part in match.groups())
    date = datetime.date(year or 0, month or 0, day or 0)
    if clock[0] is None:
        return date.isoformat()
    return datetime.datetime.combine(date, datetime.time(clock[0], clock[1] or 0, clock[2] or 0)).isoformat()
