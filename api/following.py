"""Follows ``CURRENT``: a release that is promoted while the service runs is loaded beside the one that serves.

It takes over once it is loaded and answers as its golden outputs say. Until then, and for good where it does not, the
old one keeps serving; what became of the new one stands in ``/v1/model`` and in the metrics. A release that was refused
is tried again when ``CURRENT`` or one of its files changes. A service that was given a release folder and not
``models/current`` follows nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final, Literal

import structlog

from api.logs import trace_of
from api.metrics import Metrics
from triage.engine import Triage
from triage.errors import ReleaseNotFound, TriageError
from triage.golden import load_proven
from triage.model.artifact import MANIFEST, checksum, pointer_of, resolve

# Seconds between two looks. A look reads two small files and what the folder says of the others; asking works on every
# file system, being told does not.
WATCH_S: Final = 1.0

log = structlog.get_logger("triage.following")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A release that ``CURRENT`` names and that does not serve.

    Attributes:
        version: its folder's name; empty where ``CURRENT`` names no release.
        state: whether it is being loaded or was refused.
        error: why it was refused.
        since: when that began.
    """

    version: str
    state: Literal["loading", "refused"]
    error: TriageError | None = None
    since: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look found.

    Attributes:
        folder: the release; None where ``CURRENT`` names none.
        manifest: sha256 of its manifest, which tells one release from another.
        mark: sizes and times of its files, or what stands in ``CURRENT``; as long as it is the same, so is the outcome.
    """

    folder: Path | None
    manifest: str = ""
    mark: tuple[object, ...] = ()


class Follower:
    """Loads what ``CURRENT`` names.

    Args:
        path: a release folder or ``models/current``.
        metrics: where outcomes are counted.
        switch: lets another release serve; called in the event loop.

    Attributes:
        candidate: what ``CURRENT`` names and does not serve; None while all is well.
    """

    def __init__(self, path: Path, metrics: Metrics, switch: Callable[[Triage], None]) -> None:
        self.candidate: Candidate | None = None
        self._path = path
        self._metrics = metrics
        self._switch = switch
        # Always the same thread: each that loads keeps a heap of its own, and the memory of what has left it.
        self._loader = ThreadPoolExecutor(1, "triage-load")
        self._serving = ""
        self._last: Seen | None = None
        self._tried: Seen | None = None

    async def load(self) -> Triage:
        """Load the first release.

        Raises:
            ReleaseNotFound, ReleaseCorrupt: as ``Triage.load`` does.
        """
        seen = await asyncio.to_thread(look_at, self._path)
        load = partial(Triage.load, seen.folder or self._path, workers=1, threads=1)
        engine = await asyncio.get_running_loop().run_in_executor(self._loader, load)
        self._serving = seen.manifest
        return engine

    def close(self) -> None:
        """Load nothing more; what is being loaded is forgotten."""
        self._loader.shutdown(wait=False, cancel_futures=True)

    async def follow(self) -> None:
        """Look again and again, until cancelled."""
        while pointer_of(self._path) is not None:
            await asyncio.sleep(WATCH_S)
            try:
                await self.look()
            except Exception as error:  # a disk that fails for a while must not end the watch
                log.error("watch_failed", **trace_of(error))

    async def look(self) -> None:
        """Look once; load what is new."""
        seen = await asyncio.to_thread(look_at, self._path)
        if seen.manifest and seen.manifest == self._serving:
            self._last = self._tried = None
            self._stand(None)
        elif seen != self._last:
            # Somebody may be writing still: judged once the next look finds it unchanged.
            self._last = seen
        elif seen != self._tried:
            self._tried = seen
            await self._try(seen)

    async def _try(self, seen: Seen) -> None:
        version, started = seen.folder.name if seen.folder else "", time.perf_counter()
        self._stand(Candidate(version, "loading"))
        try:
            load = partial(load_proven, seen.folder or self._path, workers=1)
            engine, _ = await asyncio.get_running_loop().run_in_executor(self._loader, load)
            self._switch(engine)
        except TriageError as error:
            self._refuse(version, error)
            log.error("release_refused", model=version, code=error.code, detail=error.en, detail_zh=error.zh)
        except Exception as error:
            self._refuse(version, TriageError("载入失败，请查看日志", "it cannot be loaded; see the log"))
            log.error("release_refused", model=version, **trace_of(error))
        else:
            self._serving = seen.manifest
            self._metrics.switches.labels("switched").inc()
            self._stand(None)
            log.info("switched", model=engine.version, seconds=round(time.perf_counter() - started, 3))

    def _refuse(self, version: str, error: TriageError) -> None:
        self._metrics.switches.labels("refused").inc()
        self._stand(Candidate(version, "refused", error))

    def _stand(self, candidate: Candidate | None) -> None:
        self.candidate = candidate
        self._metrics.refused.set(candidate is not None and candidate.state == "refused")


def look_at(path: Path) -> Seen:
    """What a path means now, and how it looks.

    Args:
        path: a release folder or ``models/current``.
    """
    try:
        folder = resolve(path)
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        stats = [(file.name, file.stat()) for file in files]
        mark = tuple((name, stat.st_size, stat.st_ctime_ns) for name, stat in stats)
        return Seen(folder, checksum(folder / MANIFEST), mark)
    except (ReleaseNotFound, OSError, UnicodeDecodeError) as error:
        return Seen(None, mark=(str(error),))
