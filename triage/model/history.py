"""Which release serves, how it came to, and what each candidate was measured against.

Beside the release folders lie::

    models/CURRENT                  the version that serves; replaced whole, never written in place
           HISTORY.jsonl            one line for each promotion and rollback
           gates/<version>.jsonl    one line for each gate that a candidate went through

Lines are only ever added. A gate's file travels with the release folder to the machine that serves.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, Self, TypeVar

from triage.durable import append, sync_folder
from triage.errors import ReleaseCorrupt, ReleaseRefused
from triage.model.artifact import CURRENT, MANIFEST, VERSION, checksum

if sys.platform != "win32":
    import fcntl

HISTORY: Final = "HISTORY.jsonl"
GATES: Final = "gates"

Action = Literal["promote", "rollback"]
Row = TypeVar("Row")


def now() -> str:
    """The time as it stands in records: ISO 8601, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True, slots=True)
class RuleResult:
    """One rule of a gate and how the candidate fared.

    Attributes:
        rule: the figure, and in brackets the labelled file that it was measured on.
        value: the candidate's; None where it could not be measured.
        bound: such as ``≥ 0.65`` or ``≥ 0.882 (current 0.892)``.
        passed: whether the value keeps the bound.
    """

    rule: str
    value: float | None
    bound: str
    passed: bool


@dataclass(frozen=True, slots=True)
class GateRecord:
    """One gate that a candidate went through.

    Attributes:
        when: ISO 8601, UTC.
        candidate: its version.
        manifest: sha256 of its ``manifest.json``, which holds the checksums of all its files.
        against: version that served then; empty where there was none.
        against_manifest: sha256 of that one's manifest.
        policy: sha256 of the policy file.
        files: sha256 of each labelled file, by name.
        rules: what was asked, one by one.
        passed: whether every rule was kept.
    """

    when: str
    candidate: str
    manifest: str
    against: str
    against_manifest: str
    policy: str
    files: Mapping[str, str]
    rules: Sequence[RuleResult]
    passed: bool

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of ``dataclasses.asdict``.

        Raises:
            KeyError, TypeError: a field is missing or unknown.
        """
        return cls(**{**data, "rules": tuple(RuleResult(**row) for row in data["rules"])})


@dataclass(frozen=True, slots=True)
class Event:
    """One change of ``CURRENT``.

    Attributes:
        action: what was asked for.
        before: version that served; empty where there was none.
        after: version that serves from then on.
        manifest: sha256 of its manifest.
        by: who.
        reason: why; may be empty.
        gate: ``passed: policy <sha256>; <file> <sha256>, …`` by the first digits, ``skipped: <reason>``, or empty for
            a rollback.
        when: ISO 8601, UTC.
    """

    action: Action
    before: str
    after: str
    manifest: str
    by: str
    reason: str = ""
    gate: str = ""
    when: str = field(default_factory=now)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of ``dataclasses.asdict``.

        Raises:
            KeyError, TypeError: a field is missing or unknown.
        """
        if data["action"] not in ("promote", "rollback") or not all(isinstance(item, str) for item in data.values()):
            raise TypeError("event")
        return cls(**data)


def current(models: Path) -> str:
    """The version that ``CURRENT`` names; empty where there is no such file.

    Raises:
        ReleaseCorrupt: what stands there is no version name.
    """
    try:
        version = (models / CURRENT).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""
    except ValueError:
        version = ""
    if not VERSION.fullmatch(version):
        raise ReleaseCorrupt(
            f"{models / CURRENT} 的内容不是版本名，请写入 `triage release list` 列出的一个版本",
            f"{models / CURRENT} holds no version name; write one that `triage release list` shows",
        )
    return version


def manifest_checksum(models: Path, version: str) -> str:
    """sha256 of a release's manifest; empty where there is no such release."""
    path = models / version / MANIFEST
    return checksum(path) if version and path.is_file() else ""


def events(models: Path) -> list[Event]:
    """All changes of ``CURRENT``, the oldest first.

    Raises:
        ReleaseCorrupt: a line cannot be read.
    """
    return [_parsed(Event.from_json, *row) for row in _rows(models / HISTORY)]


def gates(models: Path, version: str) -> list[GateRecord]:
    """All gates that a candidate went through, the oldest first.

    Raises:
        ReleaseCorrupt: a line cannot be read.
    """
    return [_parsed(GateRecord.from_json, *row) for row in _rows(_gate_file(models, version))]


def record_gate(models: Path, record: GateRecord) -> Path:
    """Add a gate's result; return the file."""
    path = _gate_file(models, record.candidate)
    path.parent.mkdir(exist_ok=True)
    with _appending(path) as file:
        _append(file, asdict(record))
    return path


def switch(models: Path, event: Event) -> None:
    """Let ``CURRENT`` name another version and write down that it does.

    Whoever reads ``CURRENT`` meanwhile finds the old version or the new one, whole. The line of the history reaches the
    disk before the pointer: a machine that fails in between has a line too many, never a change that nobody recorded.

    Raises:
        ReleaseRefused: ``CURRENT`` no longer names ``event.before``: somebody else was faster.
    """
    staged = models / f"{CURRENT}.part"
    with _appending(models / HISTORY) as file:
        serving = current(models)
        if serving != event.before:
            raise ReleaseRefused(
                f"CURRENT 已被他人从 {event.before} 改为 {serving}，请查看 `triage release list` 后重试",
                f"CURRENT was changed from {event.before} to {serving} meanwhile; see `triage release list`, try again",
            )
        with staged.open("wb") as pointer:
            append(pointer, f"{event.after}\n".encode())
        _append(file, asdict(event))
        staged.replace(models / CURRENT)
        sync_folder(models)


def before(past: Sequence[Event], serving: str) -> str:
    """The version that a rollback goes back to; empty where there is none.

    Promotions pile up and a rollback takes off what lies above: after two promotions, two rollbacks lead to the first
    version and not back and forth. A version that somebody wrote into ``CURRENT`` by hand counts as promoted.

    Args:
        past: as from ``events``.
        serving: what ``CURRENT`` names now.
    """
    pile: list[str] = []
    for event in past:
        _arrive(pile, event.before)
        if event.action == "rollback" and event.after in pile:
            while pile[-1] != event.after:
                pile.pop()
        else:
            _arrive(pile, event.after)
    _arrive(pile, serving)
    return pile[-2] if len(pile) > 1 else ""


def _arrive(pile: list[str], version: str) -> None:
    if version and pile[-1:] != [version]:
        pile.append(version)


def _gate_file(models: Path, version: str) -> Path:
    return models / GATES / f"{version}.jsonl"


def _rows(path: Path) -> Iterator[tuple[str, int, str]]:
    """Name of the file, number of the line, and each whole line; a torn last one was never recorded."""
    if path.is_file():
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
        yield from ((path.name, number, line) for number, line in enumerate(lines[:-1], 1))


def _parsed(parse: Callable[[Mapping[str, Any]], Row], name: str, number: int, line: str) -> Row:
    try:
        return parse(json.loads(line))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ReleaseCorrupt(
            f"{name} 第 {number} 行无法读取，请从备份恢复这个文件",
            f"cannot read row {number} of {name}; restore the file",
        ) from None


@contextmanager
def _appending(path: Path) -> Iterator[BinaryIO]:
    """A file of lines, made where it is missing, open for one process at a time."""
    with open(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+b") as file:
        if sys.platform != "win32":
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def _append(file: BinaryIO, row: Mapping[str, Any]) -> None:
    """Add a line and wait until the disk has it; what a killed process left of a line is cut off."""
    file.truncate(file.seek(file.read().rfind(b"\n") + 1))
    append(file, json.dumps(row, ensure_ascii=False).encode() + b"\n")
