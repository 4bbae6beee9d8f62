"""How a run that was killed goes on without a doubled or a lost row.

Three files grow beside the target while it is made::

    <target>.part           rows written, as JSONL
    <target>.errors.part    rows kept aside
    <target>.journal.part   a header (input, model, options), then one line per chunk: how far everything is

A chunk counts once its journal line is whole. The two others reach the disk before that line does, and on the next
start they are cut back to what the last whole line says, so a torn chunk is made again from its first row.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from triage.durable import append, sync_folder
from triage.errors import FileUnreadable, InputError

if sys.platform != "win32":
    import fcntl

FORMAT = 1
_PARTS = {"input": ("输入文件", "input"), "model": ("模型", "model"), "options": ("选项", "options")}


@dataclass(frozen=True, slots=True)
class Places:
    """The files of one run, all beside the target."""

    target: Path

    def _beside(self, ending: str) -> Path:
        return self.target.with_name(self.target.name + ending)

    @property
    def part(self) -> Path:
        return self._beside(".part")

    @property
    def errors_part(self) -> Path:
        return self._beside(".errors.part")

    @property
    def journal(self) -> Path:
        return self._beside(".journal.part")

    @property
    def converted(self) -> Path:
        return self._beside(".converted.part")

    @property
    def errors(self) -> Path:
        return self._beside(".errors.jsonl")

    def clear_rows(self) -> None:
        """Delete the rows that an unfinished run left."""
        for path in (self.part, self.errors_part, self.converted):
            path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Delete what a run left; the journal goes last."""
        self.clear_rows()
        self.journal.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class State:
    """How far a run is.

    Attributes:
        rows: input rows dealt with.
        part: bytes of rows written.
        errors: bytes of rows kept aside.
        kept_aside: how many of them.
        by_label: rows written, by label id.
        by_route: the same, by route.
        done: the whole input was dealt with.
        published: size and inode of the finished file that is about to take the target's name.
    """

    rows: int = 0
    part: int = 0
    errors: int = 0
    kept_aside: int = 0
    by_label: Mapping[str, int] = field(default_factory=dict)
    by_route: Mapping[str, int] = field(default_factory=dict)
    done: bool = False
    published: tuple[int, int] | None = None

    def is_published(self, target: Path) -> bool:
        """Whether ``target`` is the finished file of this run."""
        return self.published is not None and target.is_file() and identity(target) == self.published


def identity(path: Path) -> tuple[int, int]:
    """Size and inode, which a renamed file keeps."""
    stat = path.stat()
    return stat.st_size, stat.st_ino


class Journal:
    """An opened and locked journal.

    Attributes:
        state: what the last whole line says.
    """

    def __init__(self, file: BinaryIO, state: State) -> None:
        self._file = file
        self.state = state

    def record(self, state: State) -> None:
        """Make ``state`` the one to go on from."""
        append(self._file, _line(asdict(state)))
        self.state = state


@contextmanager
def open_journal(
    places: Places, header: Mapping[str, Any], overwrite: bool, restart: bool = False
) -> Iterator[Journal]:
    """Go on from an earlier run of the same header, or begin.

    Args:
        places: where the files lie.
        header: ``input``, ``model`` and ``options``; JSON values.
        overwrite: whether a finished target may be replaced.
        restart: forget what an unfinished run left, once it is sure that none is at work.

    Raises:
        InputError: the target exists, another run is at work, or what is there belongs to another run.
    """
    header = json.loads(json.dumps({"format": FORMAT, **header}))
    if not places.journal.exists():
        _refuse_existing(places, State(), overwrite)
        if not restart:
            _refuse_foreign(places)
    with places.journal.open("ab+") as file:
        _lock(file, places)
        if restart:
            places.clear_rows()
            file.truncate(0)
        file.seek(0)
        found, state, end = _read(file)
        if found is not None:
            _refuse_other(places, found, header)
            _refuse_existing(places, state, overwrite)
        else:
            _refuse_foreign(places)
        file.truncate(end)
        if found is None:
            append(file, _line(header))
            sync_folder(places.target.parent)
        yield Journal(file, state)


@contextmanager
def open_part(path: Path, size: int) -> Iterator[BinaryIO]:
    """Open a growing file for appending, cut back to ``size`` bytes.

    Raises:
        InputError: it is shorter than that.
    """
    with path.open("ab") as file:
        if file.tell() < size:
            raise _restart(
                f"{path.name} 只有 {file.tell()} 字节，应有 {size}", f"{path.name} has {file.tell()} bytes, not {size}"
            )
        file.truncate(size)
        yield file


def _line(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value) + "\n").encode("ascii")


def _read(file: BinaryIO) -> tuple[dict[str, Any] | None, State, int]:
    """The header, the last state, and where the whole lines end."""
    header, state, end = None, State(), 0
    for line in file:
        try:
            data = json.loads(line) if line.endswith(b"\n") else None
        except ValueError:
            break
        if not isinstance(data, dict):
            break
        if header is None:
            header = data
        else:
            published = data.pop("published")
            state = State(**data, published=tuple(published) if published else None)
        end += len(line)
    return header, state, end


def _lock(file: BinaryIO, places: Places) -> None:
    if sys.platform == "win32":
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError(
            f"另一个进程正在写 {places.target.name}，请等它结束",
            f"another process is writing {places.target.name}; wait for it",
        ) from None


def _refuse_existing(places: Places, state: State, overwrite: bool) -> None:
    if overwrite or state.is_published(places.target):
        return
    for path in (places.target, places.errors):
        if path.exists():
            raise InputError(
                f"{path} 已存在，请改名或加 --overwrite", f"{path} already exists; rename it or pass --overwrite"
            )


def _refuse_foreign(places: Places) -> None:
    """Rows without a journal cannot be trusted, nor thrown away unasked."""
    if places.part.exists() and places.part.stat().st_size:
        raise _restart(f"{places.part.name} 没有可用的进度记录", f"{places.part.name} has no journal to go on from")


def _refuse_other(places: Places, found: Mapping[str, Any], header: Mapping[str, Any]) -> None:
    if found.get("format") != header["format"]:
        raise _restart(f"{places.journal.name} 由其他版本写成", f"{places.journal.name} was written by another version")
    for key, (zh, en) in _PARTS.items():
        if found.get(key) != header[key]:
            raise _restart(
                f"{places.part.name} 属于另一次运行（{zh}不同）",
                f"{places.part.name} belongs to another run ({en} differ)",
            )


def _restart(zh: str, en: str) -> InputError:
    return InputError(
        f"{zh}；请删除 .part 文件，或加 --restart 重新开始",
        f"{en}; delete the .part files, or pass --restart to begin anew",
    )


def fingerprint(path: Path) -> dict[str, Any]:
    """Size and sha256 of a whole file: neither its name nor its date matters.

    Raises:
        FileUnreadable: it cannot be read.
    """
    with suppress(OSError), path.open("rb") as file:
        return {"size": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
    raise FileUnreadable(f"输入文件 {path} 无法读取", f"cannot read the input {path}")
