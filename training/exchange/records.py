"""One record of a foreign file, and the reason why one cannot be used."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from training.speakable import speakable, told
from triage.bulk import Rejected
from triage.bulk.rows import MAX_CHARS
from triage.bulk.rows import REASONS as BULK_REASONS

# (Chinese, English) by code; those of ``triage.bulk`` hold too. Never the text of a report.
REASONS: Final[dict[str, tuple[str, str]]] = {
    **BULK_REASONS,
    "missing_text": ("没有正文", "there is no text"),
    "missing_label": ("没有标签", "there is no label"),
    "missing_column": (
        "没有这一列，请用 --column 指定（正文 --text-column，标签 --label-column）",
        "there is no such column; name it with --column (--text-column, --label-column)",
    ),
    "too_few_columns": (
        "只有 {found} 列，表头有 {header} 列，请检查分隔符与引号",
        "has {found} columns, the header has {header}; check the delimiter and the quotes",
    ),
    "wrong_type": ("值的类型是 {kind}，应为文字", "the value is a {kind}; it must be text"),
    "text_too_long": (
        f"正文 {{chars}} 字，上限 {MAX_CHARS} 字，请拆分",
        f"the text has {{chars}} characters, the limit is {MAX_CHARS}; split it",
    ),
    "cell_too_long": (
        "单元格超过 {limit} 字，或有未闭合的引号，请更正",
        "a cell is longer than {limit} characters, or a quote is never closed; correct it",
    ),
    "control_characters": (
        "含有控制字符 U+{at:04X}，请删除",
        "holds the control character U+{at:04X}; delete it",
    ),
    "unknown_label": (
        "未知标签{value}，请在 --labels 表中对应到 {known} 之一",
        "unknown label {value}; map it in the --labels table to one of {known}",
    ),
    "unknown_value": (
        "未知的值{value}，应为 {known} 之一；可在映射文件的 [{table}] 表中对应，或加 --column {table}= 不读",
        "unknown value {value}; it must be one of {known}; map it in table [{table}] of the mapping file, "
        "or leave the column out with --column {table}=",
    ),
    "several_labels": (
        "有 {count} 个标签，请只留主标签，其余放入 secondary",
        "has {count} labels; leave the primary one and put the others into secondary",
    ),
    "bad_time": (
        "不是日期时间（{chars} 字），请存为 2026-11-28 或 2026-11-28 08:30 的样式，或加 --column time= 不读",
        "is no date ({chars} characters); save it as 2026-11-28 or 2026-11-28 08:30, "
        "or leave it out with --column time=",
    ),
    "time_is_number": (
        "时间是数字，看不出起算日，请把该列设为日期格式后另存，或加 --column time= 不读",
        "the time is a number whose first day nobody tells; format the column as a date and save, "
        "or leave it out with --column time=",
    ),
    "formula": (
        "是未计算的公式，请在 Excel 中打开并保存，或粘贴为值",
        "is a formula that was never calculated; open and save the file in Excel, or paste values",
    ),
    "duplicate_key": ("字段{value}出现两次，请只留一个", "the field {value} stands twice; leave one"),
    "annotators_differ": (
        "{count} 份标注不一致，请先裁定",
        "{count} annotations differ; settle them first",
    ),
    "unlabelled": (
        "没有已提交的标注（预测与建议不算）",
        "has no submitted annotation (predictions and suggestions do not count)",
    ),
    "bad_task": ("{part} 的结构不符合 {tool} 导出格式", "{part} is not as {tool} exports it"),
    "cut_off": (
        "从第 {at} 字起不是有效的 JSON（文件可能被截断），请重新导出",
        "from character {at} on it is not valid JSON (the file may be cut off); export it again",
    ),
    "gzip_cut_off": (
        "压缩文件在此处被截断，请重新下载；前面的行已读入",
        "the gzip file is cut off here, fetch it again; the rows before were read",
    ),
}


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it stands in a file.

    Attributes:
        number: from 1; as an editor or Excel shows it where the file has lines or rows (a header counts), else the
            position.
        cells: values by column.
        raw: the record for the errors file.
        headed: its columns are those of the whole file, so that one that is missing is missing everywhere.
        doubled: columns that stand twice in the header.
        short: (cells found, columns of the header) where there are fewer cells.
        file: which file of a folder; empty where there is but one.
    """

    number: int
    cells: Mapping[str, object]
    raw: object
    headed: bool = False
    doubled: frozenset[str] = field(default=frozenset())
    short: tuple[int, int] | None = None
    file: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """A record that was kept aside.

    Attributes:
        number: as in ``Record``.
        code: a key of ``REASONS``.
        zh, en: the reason.
        raw: the record as it was read.
        column: where in the record; empty where it is about the whole.
        value: the label or other value that nobody knows; empty where it may be a report.
        file: as in ``Record``.
    """

    number: int
    code: str
    zh: str
    en: str
    raw: object
    column: str = ""
    value: str = ""
    file: str = ""

    def to_json(self, file: str) -> dict[str, Any]:
        """A dict of JSON values; undecodable bytes stand in ``raw_base64``.

        Args:
            file: name of what was imported.
        """
        file = self.file or file
        head = {"file": file, "row": self.number, "column": self.column or None, "code": self.code}
        where_zh = f"「{self.column}」列" if self.column else ""
        where_en = f", column {self.column}" if self.column else ""
        message = f"{file} 第 {self.number} 行{where_zh}：{self.zh} / {file} row {self.number}{where_en}: {self.en}"
        if isinstance(self.raw, bytes):
            return {**head, "message": message, "raw_base64": base64.b64encode(self.raw).decode("ascii")}
        return {**head, "message": message, "raw": plain(self.raw)}


Item = Record | Refused


def refused(number: int, code: str, raw: object, column: str = "", value: str = "", **blanks: object) -> Refused:
    """Keep a record aside for one of ``REASONS``, whose blanks are filled; ``value`` is shown where it may be."""
    zh, en = REASONS[code]
    zh_value, en_value = told(value)
    zh, en = zh.format(value=zh_value, **blanks), en.format(value=en_value, **blanks)
    return Refused(number, code, zh, en, raw, column, speakable(value))


def from_bulk(item: Rejected) -> Refused:
    """What the readers of ``triage.bulk`` kept aside."""
    return Refused(item.number, item.code, item.zh, item.en, item.raw)


def plain(value: object) -> object:
    """A value as JSON holds it; what JSON does not know (dates, bytes) as text."""
    return json.loads(json.dumps(value, default=str))
