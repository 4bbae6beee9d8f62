"""What of the codebook the corpus shows: the scenario matrix of ``data/matrix.toml`` against the messages."""

from __future__ import annotations

import collections
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.corpus import REGISTERS, Message
from triage.errors import CorpusError

FILE = "matrix.toml"
_PAIR = re.compile(r"-x-([a-z]+)-")


@dataclass(frozen=True, slots=True)
class Cells:
    """One row of the matrix.

    Attributes:
        topic: its id in ``topics.toml``.
        table: the table there that it stands in.
        registers: messages by register.
        voices: authors who wrote of it.
        hard: messages whose wording pulls to another label.
        plain: the others.
    """

    topic: str
    table: str
    registers: Mapping[str, int]
    voices: int
    hard: int
    plain: int


@dataclass(frozen=True, slots=True)
class Coverage:
    """The whole matrix.

    Attributes:
        rows: one for each topic, in the order of ``topics.toml``.
        pairs: minimal pairs by exclusion.
        missing: what falls short of the matrix, in words.
    """

    rows: tuple[Cells, ...]
    pairs: Mapping[str, int]
    missing: tuple[str, ...]


def load_matrix(folder: Path) -> dict[str, Any]:
    """Read ``matrix.toml`` of a data folder.

    Raises:
        CorpusError: there is none, or it is not TOML.
    """
    try:
        return tomllib.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise CorpusError(f"{FILE} 无效：{error}", f"bad {FILE}: {error}") from error


def coverage(messages: Sequence[Message], tables: Mapping[str, str], matrix: Mapping[str, Any]) -> Coverage:
    """Count the cells and name those that fall short.

    Args:
        messages: of all splits.
        tables: topics and their tables, as ``corpus.load_topics`` gives them.
        matrix: as ``load_matrix`` gives it.
    """
    by_topic: dict[str, list[Message]] = collections.defaultdict(list)
    for message in messages:
        by_topic[message.topic].append(message)
    rows = tuple(_cells(topic, table, by_topic[topic]) for topic, table in tables.items())
    pairs = _pairs(messages, matrix["exclusions"])
    missing = [text for row in rows for text in _short(row, matrix)]
    missing += [
        f"{name}: {pairs[name]} of {wanted['pairs']} pairs"
        for name, wanted in matrix["exclusions"].items()
        if pairs[name] < wanted["pairs"]
    ]
    return Coverage(rows, pairs, tuple(missing))


def _cells(topic: str, table: str, messages: Sequence[Message]) -> Cells:
    registers = collections.Counter(message.register for message in messages)
    hard = sum(message.difficulty == "hard" for message in messages)
    return Cells(
        topic,
        table,
        {name: registers[name] for name in REGISTERS},
        len({message.author for message in messages}),
        hard,
        len(messages) - hard,
    )


def _short(row: Cells, matrix: Mapping[str, Any]) -> list[str]:
    wanted = {**matrix["registers"].get(row.table, {}), **matrix["each"]}
    found = {**row.registers, "voices": row.voices, "hard": row.hard, "plain": row.plain}
    return [f"{row.topic}: {found[name]} of {count} {name}" for name, count in wanted.items() if found[name] < count]


def _pairs(messages: Sequence[Message], exclusions: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """Scenarios named for an exclusion whose messages take at least two of its labels."""
    labels: dict[tuple[str, str], set[str]] = collections.defaultdict(set)
    for message in messages:
        if match := _PAIR.search(message.scenario):
            labels[match.group(1), message.scenario].add(message.label)
    return {
        name: sum(key == name and len(found & {*wanted["labels"]}) > 1 for (key, _), found in labels.items())
        for name, wanted in exclusions.items()
    }
