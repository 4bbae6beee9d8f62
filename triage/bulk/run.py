"""One run over one file: read, classify, write, and count."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final

from triage.bulk.journal import (
    Journal,
    Places,
    State,
    fingerprint,
    identity,
    open_journal,
    open_part,
)
from triage.bulk.readers import Input, open_input
from triage.bulk.rows import Item, Options, Rejected, Row, rejected
from triage.bulk.writers import convert, lines_of, output_format, output_row
from triage.decision import Decision
from triage.durable import append, sync_folder
from triage.engine import Classifier
from triage.errors import FileUnreadable, InputError, ServiceError

CHUNK: Final = 512


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    Attributes:
        read: input rows dealt with, those of earlier runs included.
        kept_aside: how many of them could not be used.
        share: how much of the input was read, in [0, 1].
        rate: rows per second of this run.
    """

    read: int
    kept_aside: int
    share: float
    rate: float


@dataclass(frozen=True, slots=True)
class Summary:
    """What a finished run did, earlier runs that it went on from included.

    Attributes:
        read: rows in the input, blank ones left out.
        written: rows in the output.
        kept_aside: rows in ``errors``.
        by_label: rows written, by label id.
        by_route: the same, by route.
        resumed_at: rows that an earlier run had dealt with.
        seconds: duration of this run.
        rate: rows per second of this run.
        output: the file.
        errors: the file of rows kept aside, None when there are none.
    """

    read: int
    written: int
    kept_aside: int
    by_label: Mapping[str, int]
    by_route: Mapping[str, int]
    resumed_at: int
    seconds: float
    rate: float
    output: Path
    errors: Path | None

    def to_json(self) -> dict[str, Any]:
        """A dict of JSON values."""
        data = {**asdict(self), "output": str(self.output), "errors": str(self.errors) if self.errors else None}
        return {**data, "seconds": round(self.seconds, 3), "rate": round(self.rate, 1)}


def classify_file(
    engine: Classifier,
    source: Path | str,
    target: Path | str,
    *,
    options: Options | None = None,
    overwrite: bool = False,
    restart: bool = False,
    chunk: int = CHUNK,
    progress: Callable[[Progress], None] | None = None,
) -> Summary:
    """Classify every row of a file. Memory stays at one chunk, but for the shared strings of an XLSX input.

    A run that was stopped goes on where it was when it is started again with the same input, model and options.

    Args:
        engine: decides.
        source: ``.jsonl``, ``.csv``, ``.tsv`` or ``.xlsx``.
        target: ``.jsonl``, ``.csv`` or ``.xlsx``; appears when the run is finished, whole.
        options: which columns hold what; guessed by default.
        overwrite: replace a finished target.
        restart: forget an unfinished run.
        chunk: rows between two points to go on from, at least 1.
        progress: called after every chunk.

    Raises:
        FileUnreadable: the input as a whole cannot be used.
        InputError: the target cannot be written, or an unfinished run was another one.
        ServiceError: the engine fails on every row.
    """
    source, target, options = Path(source), Path(target), options or Options()
    places = Places(target)
    suffix = output_format(target)
    _check_places(source, places)
    began, before = time.monotonic(), _stat(source)
    with open_input(source, options) as rows:
        header = _header(engine, source, options, rows)
        with open_journal(places, header, overwrite, restart) as journal:
            resumed_at = journal.state.rows
            if not journal.state.done:
                _work(engine, rows, journal, places, chunk, progress or (lambda _: None))
                if _stat(source) != before:
                    raise FileUnreadable(
                        f"{source.name} 在处理中被改动，请加 --restart 重做",
                        f"{source.name} changed while it was read; pass --restart",
                    )
                journal.record(replace(journal.state, done=True))
            _publish(journal, places, suffix)
            state = journal.state
    places.clear()
    return _summary(state, places, resumed_at, time.monotonic() - began)


def _check_places(source: Path, places: Places) -> None:
    if not places.target.parent.is_dir():
        raise InputError(
            f"输出文件夹 {places.target.parent} 不存在，请先建立",
            f"there is no folder {places.target.parent} for the output; make it first",
        )
    if source.resolve() in {p.resolve() for p in (places.target, places.part, places.errors, places.errors_part)}:
        raise InputError("输出不能与输入是同一文件", "the output must not be the input file")


def _stat(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError:
        raise FileUnreadable(f"输入文件 {path} 不存在", f"there is no input file {path}") from None
    return stat.st_size, stat.st_mtime_ns


def _header(engine: Classifier, source: Path, options: Options, rows: Input) -> dict[str, Any]:
    # A version is a name; the manifest with its checksums is the model.
    manifest = json.dumps(engine.manifest.to_json(), sort_keys=True, default=str)
    return {
        "input": fingerprint(source),
        "model": {"version": engine.version, "manifest": hashlib.sha256(manifest.encode()).hexdigest()},
        "options": {**asdict(options), **rows.details},
    }


def _work(
    engine: Classifier,
    source: Input,
    journal: Journal,
    places: Places,
    chunk: int,
    progress: Callable[[Progress], None],
) -> None:
    began, first = time.monotonic(), journal.state.rows
    waiting: Iterator[Item] = islice(source.rows, first, None)
    with ExitStack() as files:
        part = files.enter_context(open_part(places.part, journal.state.part))
        errors = files.enter_context(open_part(places.errors_part, journal.state.errors))
        while items := list(islice(waiting, max(1, chunk))):
            journal.record(_write(_decided(engine, items), journal.state, part, errors))
            state = journal.state
            rate = (state.rows - first) / max(1e-9, time.monotonic() - began)
            progress(Progress(state.rows, state.kept_aside, source.share(), rate))


def _write(
    outcomes: Sequence[tuple[Row, Decision] | Rejected], state: State, part: BinaryIO, errors: BinaryIO
) -> State:
    """Append one chunk and say what the state is then."""
    written = [item for item in outcomes if not isinstance(item, Rejected)]
    aside = [item for item in outcomes if isinstance(item, Rejected)]
    rows, kept = lines_of(output_row(*item) for item in written), lines_of(item.to_json() for item in aside)
    append(part, rows)
    if kept:
        append(errors, kept)
    decisions = [decision for _, decision in written]
    return replace(
        state,
        rows=state.rows + len(outcomes),
        part=state.part + len(rows),
        errors=state.errors + len(kept),
        kept_aside=state.kept_aside + len(aside),
        by_label=_added(state.by_label, [decision.label for decision in decisions]),
        by_route=_added(state.by_route, [decision.route for decision in decisions]),
    )


def _added(counts: Mapping[str, int], names: Sequence[str]) -> dict[str, int]:
    return dict(Counter(counts) + Counter(names))


def _decided(engine: Classifier, items: Sequence[Item]) -> list[tuple[Row, Decision] | Rejected]:
    """Decisions in the order of the rows; where the engine fails on a chunk, row by row.

    Raises:
        ServiceError: it fails on each of them.
    """
    rows = [item for item in items if isinstance(item, Row)]
    found: list[tuple[Row, Decision] | Rejected]
    try:
        found = list(zip(rows, engine.classify([row.text for row in rows]), strict=True)) if rows else []
    except Exception:  # whatever the libraries below raise, one message must not stop the others
        found = [_alone(engine, row) for row in rows]
        if len(rows) > 1 and all(isinstance(item, Rejected) for item in found):
            raise ServiceError(
                f"模型对连续 {len(rows)} 行都失败，请运行 triage check",
                f"the engine failed on {len(rows)} rows in a row; run triage check",
            ) from None
    decided = iter(found)
    return [next(decided) if isinstance(item, Row) else item for item in items]


def _alone(engine: Classifier, row: Row) -> tuple[Row, Decision] | Rejected:
    try:
        return row, engine.classify([row.text])[0]
    except Exception as error:  # as above; its message may hold the text
        return rejected(row.number, "engine_failed", asdict(row), kind=type(error).__name__)


def _publish(journal: Journal, places: Places, suffix: str) -> None:
    """Give the finished files their names; every step may be repeated after a kill."""
    state = journal.state
    if not state.is_published(places.target):
        with open_part(places.part, state.part):
            pass
        finished = places.part
        if suffix != ".jsonl":
            finished = places.converted
            convert(places.part, finished, suffix)
        journal.record(replace(state, published=identity(finished)))
        os.replace(finished, places.target)
    if not state.kept_aside:
        places.errors.unlink(missing_ok=True)
    elif places.errors_part.exists():
        os.replace(places.errors_part, places.errors)
    sync_folder(places.target.parent)


def _summary(state: State, places: Places, resumed_at: int, seconds: float) -> Summary:
    return Summary(
        read=state.rows,
        written=state.rows - state.kept_aside,
        kept_aside=state.kept_aside,
        by_label=dict(state.by_label),
        by_route=dict(state.by_route),
        resumed_at=resumed_at,
        seconds=seconds,
        rate=(state.rows - resumed_at) / max(1e-9, seconds),
        output=places.target,
        errors=places.errors if state.kept_aside else None,
    )
