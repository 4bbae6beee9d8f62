"""Reading rule files: every rule of the text layer is data in a lexicon folder, checked here before use."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from triage.errors import LexiconError


def wrong(file: str, rule: str, reason: str) -> LexiconError:
    """The error for one bad rule: file, rule and reason, in both languages."""
    return LexiconError(
        f"规则文件 {file} 的 {rule} 有误：{reason}；请改正后重新加载",
        f"lexicon file {file}, {rule}: {reason}; correct it and load again",
    )


def read_table(folder: Path, name: str) -> dict[str, Any]:
    """A TOML file of the lexicon folder.

    Raises:
        LexiconError: the file is missing or is not TOML.
    """
    try:
        return tomllib.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise wrong(name, "file", str(error)) from error


def read_lines(folder: Path, name: str) -> list[tuple[int, str]]:
    """The lines of a plain text file with their numbers from 1; blank lines and ``#`` comments left out.

    Raises:
        LexiconError: the file is missing or is not UTF-8.
    """
    try:
        text = (folder / name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise wrong(name, "file", str(error)) from error
    stripped = ((number, line.strip()) for number, line in enumerate(text.splitlines(), 1))
    return [(number, line) for number, line in stripped if line and not line.startswith("#")]


def text_of(table: Mapping[str, Any], key: str, file: str, rule: str, *, empty: bool = False) -> str:
    """The string under ``key``.

    Raises:
        LexiconError: it is missing, is not a string, or is empty where ``empty`` is False.
    """
    value = table.get(key)
    if not isinstance(value, str) or not (value or empty):
        raise wrong(
            file,
            rule,
            f"{key} must be a {'' if empty else 'nonempty '}string, got {value!r}",
        )
    return value


def texts_of(table: Mapping[str, Any], key: str, file: str, rule: str) -> tuple[str, ...]:
    """The list of nonempty strings under ``key``.

    Raises:
        LexiconError: it is missing or holds anything else.
    """
    value = table.get(key)
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise wrong(file, rule, f"{key} must be a list of nonempty strings")
    return tuple(value)


def mapping_of(table: Mapping[str, Any], key: str, file: str) -> dict[str, str]:
    """The table of string → string under ``key``.

    Raises:
        LexiconError: it is missing, or a key is empty, or a value is not a string.
    """
    value = table.get(key)
    if not isinstance(value, dict):
        raise wrong(file, f"[{key}]", "table missing")
    for left, right in value.items():
        if not left or not isinstance(right, str):
            raise wrong(file, f"[{key}] {left!r}", f"must map to a string, got {right!r}")
    return dict(value)


def rows_of(table: Mapping[str, Any], key: str, file: str, known: frozenset[str]) -> list[dict[str, Any]]:
    """The array of tables under ``key``.

    Raises:
        LexiconError: it is missing, or a row has a key outside ``known``.
    """
    rows = table.get(key)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise wrong(file, f"[[{key}]]", "array of tables missing")
    for number, row in enumerate(rows, 1):
        unknown = sorted(set(row) - known)
        if unknown:
            raise wrong(
                file,
                f"[[{key}]] {number}",
                f"unknown keys {unknown}; known: {sorted(known)}",
            )
    return rows


def ranges_of(table: Mapping[str, Any], key: str, file: str) -> str:
    """A class of characters (``[…]``) from the rows ``{from, to, why}`` under ``key``; code points in hexadecimal.

    Raises:
        LexiconError: a row has no two code points in order.
    """
    parts = []
    for row in rows_of(table, key, file, frozenset({"from", "to", "why"})):
        try:
            first, last = int(row["from"], 16), int(row["to"], 16)
            parts.append(f"{re.escape(chr(first))}-{re.escape(chr(last))}")
            re.compile(f"[{parts[-1]}]")
        except (KeyError, TypeError, ValueError, OverflowError, re.error) as error:
            raise wrong(
                file,
                f"[[{key}]] {row!r}",
                "from and to must be hexadecimal code points in order",
            ) from error
    return f"[{''.join(parts)}]"


def pattern_of(source: str, file: str, rule: str) -> re.Pattern[str]:
    """A compiled pattern.

    Raises:
        LexiconError: it is not a regular expression, or it can match the empty string.
    """
    try:
        pattern = re.compile(source)
    except re.error as error:
        raise wrong(file, rule, f"bad pattern: {error}") from error
    if pattern.match(""):
        raise wrong(file, rule, "the pattern matches the empty string")
    return pattern


def alternation(words: tuple[str, ...] | list[str]) -> str:
    """A pattern that finds the longest of ``words`` at a position.

    Words are grouped by first character, so that a position costs one look at the group, not at every word.
    """
    groups: dict[str, list[str]] = {}
    for word in sorted(set(words), key=lambda item: (-len(item), item)):
        groups.setdefault(word[0], []).append(re.escape(word[1:]))
    return "|".join(f"{re.escape(first)}(?:{'|'.join(rest)})" for first, rest in groups.items())
