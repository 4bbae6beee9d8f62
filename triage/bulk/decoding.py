"""Which encoding a text file has, and its lines."""

from __future__ import annotations

import codecs
import io
from collections.abc import Generator
from pathlib import Path
from typing import Final

from triage.errors import FileUnreadable

# Longest line in characters: beyond it a file is not one of messages, and memory is not a limit to try.
MAX_LINE: Final = 4 * 2**20
_HEAD = 4096
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def detect_encoding(path: Path) -> str:
    """``utf-8-sig`` and ``utf-16`` by their mark; else ``utf-8`` or ``gb18030`` (the superset of GBK and GB2312).

    The lines with other than ASCII decide together: in a GBK file next to none of them is valid UTF-8, while in a
    UTF-8 file a few may be damaged.

    Raises:
        FileUnreadable: the file is a spreadsheet or no text at all.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
        for mark, name in _MARKS:
            if head.startswith(mark):
                return name
        _refuse_binary(path, head)
        file.seek(0)
        balance = 0
        while line := file.readline(MAX_LINE):
            if not line.isascii():
                balance += 1 if _is_utf8(line) else -1
    return "utf-8" if balance >= 0 else "gb18030"


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _refuse_binary(path: Path, head: bytes) -> None:
    if head.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise FileUnreadable(
            f"{path.name} 是 Excel 文件，请改扩展名为 .xlsx（旧 .xls 请先另存为 .xlsx）",
            f"{path.name} is a spreadsheet; name it .xlsx (save an old .xls as .xlsx first)",
        )
    if head.count(0) * 10 > len(head):
        raise FileUnreadable(
            f"{path.name} 不是文本文件，请以 UTF-8 另存", f"{path.name} is not a text file; save it as UTF-8"
        )


def text_lines(file: io.BufferedReader, encoding: str, newline: str) -> Generator[str, None, None]:
    """Lines with their ends; undecodable bytes become lone surrogates (``surrogateescape``).

    Args:
        file: opened at its start; stays open.
        encoding: as ``detect_encoding`` says.
        newline: as for ``open``.

    Raises:
        FileUnreadable: a line is longer than ``MAX_LINE``.
    """
    stream = io.TextIOWrapper(file, encoding=encoding, errors="surrogateescape", newline=newline)
    number = 0
    try:
        while line := stream.readline(MAX_LINE):
            number += 1
            if len(line) == MAX_LINE:
                raise FileUnreadable(
                    f"第 {number} 行超过 {MAX_LINE} 字，请检查换行",
                    f"line {number} is longer than {MAX_LINE} characters",
                )
            yield line
    except UnicodeDecodeError:  # UTF-16 knows no surrogateescape for a broken pair
        raise FileUnreadable(
            f"第 {number + 1} 行附近的编码损坏，请以 UTF-8 另存",
            f"the encoding is damaged near line {number + 1}; save the file as UTF-8",
        ) from None
    finally:
        stream.detach()
