"""Which column holds what, and which foreign value means what: by options, or kept in a TOML file.

The file::

    keep = ["街道"]                 # further columns to carry along, "*" for all

    [columns]
    text = "诉求内容"
    time = ""                       # not read, though a column of that name is there

    [labels]
    "交警类" = "traffic"

    [urgency]
    "特急" = "emergency"

A table of labels alone may also be a file of its own, with or without the line ``[labels]``.
"""

from __future__ import annotations

import json
import tomllib
import unicodedata
from collections.abc import Iterable
from collections.abc import Mapping as Table
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from training.corpus import DIFFICULTIES, REGISTERS
from triage.bulk.rows import ID_NAMES, TEXT_NAMES, find_column
from triage.errors import CorpusError
from triage.taxonomy import Taxonomy, Urgency

# Fields of a row and the names that their columns go by; earlier ones win. ``time`` and ``grid`` are no part of the
# corpus's schema, but what splits by time and figures by slice are made from.
GUESSES: Final[dict[str, tuple[str, ...]]] = {
    "text": TEXT_NAMES,
    "label": (
        "label", "标签", "类别", "分类", "问题类别", "诉求类别", "事件类别", "案件类别", "事件类型", "诉求类型",
        "category", "labels",
    ),
    "source_id": ("source_id", *ID_NAMES),
    "secondary": ("secondary", "次要标签", "次要类别", "另涉"),
    "urgency": ("urgency", "紧急程度", "紧急度"),
    "register": ("register", "来源类型"),
    "topic": ("topic", "主题"),
    "scenario": ("scenario", "情景"),
    "author": ("author", "作者"),
    "difficulty": ("difficulty", "难度"),
    "time": ("time", "时间", "上报时间", "受理时间", "来电时间", "诉求时间", "举报时间", "发生时间", "created_at"),
    "grid": ("grid", "网格", "网格编号", "所属网格"),
}  # fmt: skip
REQUIRED: Final = ("text", "label")
ALL: Final = "*"
_REGISTER_NAMES = dict(zip(("群聊", "热线", "来信", "转发", "日常"), REGISTERS, strict=True))
_TABLES = ("labels", "urgency", "register", "difficulty")


@dataclass(frozen=True, slots=True)
class Mapping:
    """How foreign columns and values become those of a corpus.

    Attributes:
        columns: column by field; an empty one is not read, a field that is left out is guessed from ``GUESSES``.
        keep: further columns to carry along as text; ``*`` is every one that no field takes.
        labels: label ids by foreign name.
        values: the same for ``urgency``, ``register`` and ``difficulty``, by field.
    """

    columns: Table[str, str] = field(default_factory=dict)
    keep: tuple[str, ...] = ()
    labels: Table[str, str] = field(default_factory=dict)
    values: Table[str, Table[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.columns:
            if name not in GUESSES:
                raise CorpusError(
                    f"没有名为 {name} 的字段，可用：{'、'.join(GUESSES)}",
                    f"there is no field {name}; use one of {', '.join(GUESSES)}",
                )
        for name in REQUIRED:
            if self.columns.get(name) == "":
                raise CorpusError(f"字段 {name} 必须有列名", f"the field {name} needs the name of a column")

    @classmethod
    def load(cls, path: Path) -> Mapping:
        """Read a saved mapping.

        Raises:
            CorpusError: the file is missing, no TOML, or holds what no mapping has.
        """
        data = _read(path)
        unknown = data.keys() - {"columns", "keep", *_TABLES}
        if unknown:
            raise _bad_file(path, f"unknown keys {', '.join(sorted(unknown))}")
        tables = {name: _strings(path, name, data.get(name, {})) for name in ("columns", *_TABLES)}
        keep = data.get("keep", [])
        if not isinstance(keep, list) or not all(isinstance(name, str) for name in keep):
            raise _bad_file(path, "keep is not a list of strings")
        values = {name: tables[name] for name in _TABLES[1:] if tables[name]}
        return cls(tables["columns"], tuple(keep), tables["labels"], values)

    def save(self, path: Path) -> None:
        """Write what ``load`` reads; replaces the file."""
        tables: dict[str, Table[str, str]] = {"columns": self.columns, "labels": self.labels, **self.values}
        lines = [f"keep = {json.dumps(list(self.keep), ensure_ascii=False)}"] if self.keep else []
        for name, table in tables.items():
            if table:
                lines += ["", f"[{name}]", *(f"{_quoted(key)} = {_quoted(value)}" for key, value in table.items())]
        path.write_text("\n".join(lines).lstrip("\n") + "\n", encoding="utf-8")

    def with_labels(self, path: Path) -> Mapping:
        """With the label table of a file, whose entries win over the present ones.

        Raises:
            CorpusError: as ``load``.
        """
        data = _read(path)
        return replace(self, labels={**self.labels, **_strings(path, "labels", data.get("labels", data))})

    def find(self, names: Iterable[str]) -> dict[str, str]:
        """The column of each field, among the ``names`` of a record."""
        there = list(names)
        found = {
            name: find_column(there, self.columns.get(name, ""), guesses)
            for name, guesses in GUESSES.items()
            if self.columns.get(name) != ""
        }
        return {name: column for name, column in found.items() if column is not None}


class Vocabulary:
    """What foreign values mean: those of a mapping first, then ids and Chinese and English names; case, width of
    letters and blanks around do not count.

    Raises:
        CorpusError: a table leads to something that is not in the taxonomy.
    """

    def __init__(self, mapping: Mapping, taxonomy: Taxonomy) -> None:
        names = {name: label.id for label in taxonomy.labels for name in (label.name_en, label.name, label.id)}
        urgencies = {name: level.value for level in Urgency for name in (taxonomy.urgency_names[level], level.value)}
        known = {
            "label": names,
            "urgency": urgencies,
            "register": {**_REGISTER_NAMES, **{name: name for name in REGISTERS}},
            "difficulty": {name: name for name in DIFFICULTIES},
        }
        self.ids = {name: tuple(dict.fromkeys(table.values())) for name, table in known.items()}
        own = {"label": mapping.labels, **mapping.values}
        self._tables = {name: _merged(name, table, own.get(name, {})) for name, table in known.items()}

    def __getitem__(self, field_and_value: tuple[str, str]) -> str | None:
        """The id that a value of a field stands for; None where nobody knows."""
        name, value = field_and_value
        return self._tables[name].get(folded(value))


def _merged(name: str, known: Table[str, str], own: Table[str, str]) -> dict[str, str]:
    table = {folded(key): value for key, value in known.items()}
    ids = {key: table.get(folded(value)) for key, value in own.items()}
    for key, value in ids.items():
        if value is None:
            allowed = list(dict.fromkeys(known.values()))
            raise CorpusError(
                f"{name} 映射表中 {key} 对应的 {own[key]} 不存在，可用：{'、'.join(allowed)}",
                f"the table of {name} maps {key} to {own[key]}, which does not exist; use one of {', '.join(allowed)}",
            )
    return {**table, **{folded(key): value for key, value in ids.items() if value is not None}}


@lru_cache(maxsize=4096)
def folded(value: str) -> str:
    """A name as it is compared."""
    return unicodedata.normalize("NFKC", value).strip().casefold()


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:  # TOML and UTF-8 errors are ValueErrors
        raise _bad_file(path, str(error) or type(error).__name__) from None


def _strings(path: Path, name: str, table: object) -> dict[str, str]:
    if not isinstance(table, dict) or not all(isinstance(value, str) for value in table.values()):
        raise _bad_file(path, f"[{name}] is not a table of strings")
    return table


def _bad_file(path: Path, why: str) -> CorpusError:
    return CorpusError(f"映射文件 {path.name} 无法使用：{why}", f"cannot use the mapping {path.name}: {why}")


def _quoted(value: str) -> str:
    # A JSON string is a TOML basic string, but for the delete character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
