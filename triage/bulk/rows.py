"""One row of an input file: checked, or kept aside with the reason why it cannot be used."""

from __future__ import annotations

import base64
import datetime
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

MAX_CHARS: Final = 20_000
MAX_ID_CHARS: Final = 256

# Names that columns go by in the exports of city platforms; earlier ones win.
TEXT_NAMES: Final = (
    "text", "内容", "正文", "message", "content", "消息内容", "举报内容", "线索内容", "诉求内容", "事件描述",
    "短信内容", "消息", "文本", "msg", "body", "描述",
)  # fmt: skip
ID_NAMES: Final = ("id", "编号", "工单编号", "工单号", "线索编号", "事件编号", "external_id", "report_id", "序号")

# (Chinese, English) by code. A reason gives the value, the limit and the next step; never the text of a report.
REASONS: Final[dict[str, tuple[str, str]]] = {
    "bad_json": ("不是有效的 JSON，每行应为一个 JSON 对象", "not valid JSON; every line must be one JSON object"),
    "not_an_object": ("不是 JSON 对象，应形如 {{…}}", "not a JSON object; it must look like {{…}}"),
    "missing_text": (
        "没有正文（{column}），可用 --text-column 指定",
        "has no text ({column}); name the field with --text-column",
    ),
    "wrong_type": ("{column} 的值类型是 {kind}，应为文字", "the value of {column} is a {kind}; it must be text"),
    "text_too_long": (
        "正文 {chars} 字，上限 {limit} 字，请拆分",
        "the text has {chars} characters, the limit is {limit}; split it",
    ),
    "bad_id": (
        "编号有控制字符或超过 {limit} 字，请更正",
        "the id holds control characters or is longer than {limit}; correct it",
    ),
    "undecodable": (
        "含有无法按 {encoding} 解码的字符，请以 UTF-8 另存",
        "holds characters that are not valid {encoding}; save the file as UTF-8",
    ),
    "too_few_columns": (
        "只有 {found} 列，正文在第 {needed} 列",
        "has {found} columns, too few to hold column {needed}",
    ),
    "too_many_columns": (
        "有 {found} 列，表头只有 {header} 列，含分隔符的正文应加引号",
        "has {found} columns, the header has {header}; quote texts that hold the delimiter",
    ),
    "bad_quotes": ("引号不成对，请更正", "quotes do not match; correct them"),
    "engine_failed": ("模型处理失败（{kind}），请单独重试", "the engine failed ({kind}); try the row on its own"),
}

_SURROGATE = re.compile("[\ud800-\udfff]")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class Options:
    """How the rows of an input are read.

    Attributes:
        text_column: name of the column or field that holds the text; empty to guess from ``TEXT_NAMES``.
        id_column: the same for the id, from ``ID_NAMES``; rows without an id get their row number.
        max_chars: longest text in code points; longer ones are kept aside.
    """

    text_column: str = ""
    id_column: str = ""
    max_chars: int = MAX_CHARS


@dataclass(frozen=True, slots=True)
class Row:
    """A row to classify.

    Attributes:
        number: as an editor or Excel shows it, from 1; a header counts.
        id: the given id, or the number.
        text: the message.
    """

    number: int
    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that was kept aside.

    Attributes:
        number: as in ``Row``.
        code: a key of ``REASONS``.
        zh: the reason in Chinese.
        en: the same in English.
        raw: the row as it was read; bytes where they could not be decoded.
    """

    number: int
    code: str
    zh: str
    en: str
    raw: object

    def to_json(self) -> dict[str, Any]:
        """A dict of JSON values; undecodable bytes stand in ``raw_base64``."""
        head = {"row": self.number, "code": self.code, "message": f"{self.zh} / {self.en}"}
        if isinstance(self.raw, bytes):
            return {**head, "raw_base64": base64.b64encode(self.raw).decode("ascii")}
        return {**head, "raw": self.raw}


Item = Row | Rejected


def rejected(number: int, code: str, raw: object, **values: object) -> Rejected:
    """Keep a row aside for one of ``REASONS``, whose blanks ``values`` fill."""
    zh, en = REASONS[code]
    return Rejected(number, code, zh.format(**values), en.format(**values), raw)


def find_column(names: Iterable[object], wanted: str, guesses: Sequence[str]) -> str | None:
    """The column that is meant: ``wanted`` itself, or the first guess that is there; case and blanks do not count."""
    known = {str(name).strip().casefold(): str(name) for name in reversed(list(names)) if name is not None}
    found = (known.get(name.strip().casefold()) for name in ((wanted,) if wanted else guesses))
    return next((name for name in found if name is not None), None)


def undecodable(number: int, raw: str, encoding: str) -> Rejected | None:
    """Keep aside what holds bytes that could not be decoded (``surrogateescape``); None where all is well."""
    if not _SURROGATE.search(raw):
        return None
    original = raw.encode(encoding.removesuffix("-sig"), "surrogateescape")
    return rejected(number, "undecodable", original, encoding=encoding)


def checked(number: int, given_id: object, text: object, raw: object, options: Options) -> Item:
    """A row from its two values, or the reason why they cannot be used."""
    key = shown(given_id)
    said = shown(text)
    if said is None:
        return rejected(number, "wrong_type", raw, column=options.text_column or "text", kind=type(text).__name__)
    if key is None:
        return rejected(number, "wrong_type", raw, column=options.id_column or "id", kind=type(given_id).__name__)
    if _SURROGATE.search(said + key):
        return rejected(number, "undecodable", raw, encoding="Unicode")
    if len(said) > options.max_chars:
        return rejected(number, "text_too_long", raw, chars=len(said), limit=options.max_chars)
    if len(key) > MAX_ID_CHARS or _CONTROL.search(key):
        return rejected(number, "bad_id", raw, limit=MAX_ID_CHARS)
    return Row(number, key if key.strip() else str(number), said)


def shown(value: object) -> str | None:
    """A cell as text; None for what is no text (a list, an object, true and false)."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, int | float | datetime.date | datetime.time) else None
