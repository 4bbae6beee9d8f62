"""What the running service consists of, and how it comes up and goes down."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TypeVar

import structlog

from api import backlog
from api.backlog import Backlog
from api.batching import Batcher
from api.deciding import Decider
from api.errors import Draining
from api.following import Candidate, Follower
from api.intake import Intake
from api.logs import trace_of
from api.metrics import Metrics
from api.security import KeyRing
from api.settings import Settings
from triage.cases.store import Store
from triage.decision import Decision
from triage.engine import Classifier
from triage.errors import NotReady, TriageError

WARM_TEXT = "有人冒充公检法打电话，让我把钱转到安全账户"

Part = TypeVar("Part")

log = structlog.get_logger("triage.service")


class Service:
    """The parts of one application; routes reach it through ``api.deps``.

    Args:
        settings: how it runs.
        engine: a double; None loads the release that the settings name.
        store: an open database, which stays open; None opens the one that the settings name.

    Attributes:
        loaded_at: when the release that serves was loaded.
        failure: why the release or the database cannot be loaded; None while all is well.
        on_failure: called then.
    """

    def __init__(self, settings: Settings, engine: Classifier | None = None, store: Store | None = None) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.draining = False
        self.loaded_at = datetime.now(UTC)
        self.failure: TriageError | None = None
        self.on_failure: Callable[[], None] = _nothing
        self._engine = engine
        self._follower = Follower(settings.model, self.metrics, self._serve)
        self._retiring: dict[Batcher, asyncio.Task[None]] = {}
        self._store = store
        self._owns_store = store is None
        self._batcher: Batcher | None = None
        self._keys: KeyRing | None = None
        self._intake: Intake | None = None
        self._backlog: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool:
        """Whether requests are answered."""
        return self._batcher is not None and self._keys is not None and not self.draining

    @property
    def candidate(self) -> Candidate | None:
        """A release that was promoted and does not serve, or not yet."""
        return self._follower.candidate

    @property
    def engine(self) -> Classifier:
        """The release that serves.

        Raises:
            NotReady: it is not loaded yet.
        """
        return self._there(self._engine)

    @property
    def batcher(self) -> Batcher:
        """The way to the engine; to be asked for anew for each request, since another release may serve the next.

        Raises:
            NotReady: the engine is not loaded yet.
        """
        return self._there(self._batcher)

    @property
    def keys(self) -> KeyRing:
        """The API keys.

        Raises:
            NotReady: the database is not open yet.
        """
        return self._there(self._keys)

    @property
    def store(self) -> Store:
        """The open database.

        Raises:
            NotReady: it is not open yet.
        """
        return self._there(self._store)

    @property
    def intake(self) -> Intake:
        """Where reports are taken in, with or without a model.

        Raises:
            NotReady: the database is not open yet.
        """
        return self._there(self._intake)

    def require_intake(self) -> None:
        """Raise unless reports are taken in.

        Raises:
            NotReady: the database is not open yet, or the service stops.
        """
        if self._intake is None or self.draining:
            raise self._not_ready()

    def require_ready(self) -> None:
        """Raise unless requests are answered.

        Raises:
            NotReady: the engine or the database is not loaded, or the service stops.
        """
        if not self.ready:
            raise self._not_ready()

    def begin_drain(self) -> None:
        """Refuse new requests from now on; safe in a signal handler."""
        self.draining = True
        if self._batcher is not None:
            self._batcher.refuse()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Load in the background while this context is entered; drain and close at its end."""
        task = asyncio.create_task(self._load_and_follow(), name="triage-load")
        try:
            yield
        finally:
            self.begin_drain()
            if not task.done():
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            self._follower.close()
            await self._stop_backlog()
            await self._drain()
            if self._store is not None and self._owns_store:
                self._store.close()
            log.info("stopped")

    async def _load_and_follow(self) -> None:
        given = self._engine is not None
        await self._load()
        if self.ready and not given:
            await self._follower.follow()

    async def _load(self) -> None:
        started = time.perf_counter()
        try:
            if self._store is None:
                self._store = await asyncio.to_thread(Store.open, self.settings.database)
            self._keys = KeyRing(self._store, self.settings.key_cache_s)
            decider = Decider(self._store, self._decision)
            self._intake = Intake(self._store, self.metrics, decider)
            engine = self._engine
            if engine is None:
                engine = await self._follower.load()
            await asyncio.to_thread(engine.classify, [WARM_TEXT])
        except TriageError as error:
            self._failed(error)
            log.error("load_failed", code=error.code, detail=error.en, detail_zh=error.zh)
        except Exception as error:
            self._failed(TriageError("模型载入失败，请查看日志", "the release cannot be loaded; see the log"))
            log.error("load_failed", **trace_of(error))
        else:
            self._serve(engine)
            self._take_up_backlog(decider)
            log.info("ready", model=engine.version, seconds=round(time.perf_counter() - started, 3))

    def _serve(self, engine: Classifier) -> None:
        """Let a release serve from now on; requests that the one before has accepted it answers itself."""
        settings = self.settings
        batcher = Batcher(engine, self.metrics, settings.infer_workers, settings.batch_tokens, settings.queue_tokens)
        batcher.start()
        self.metrics.model.info({"version": engine.version, "stage": engine.manifest.stage})
        self.loaded_at = datetime.now(UTC)
        before, self._batcher = self._batcher, batcher
        self._engine = engine
        if before is not None:
            # Whatever it has accepted is answered or given up by then.
            task = asyncio.create_task(before.drain(self._backlog_s), name="triage-retire")
            self._retiring[before] = task
            task.add_done_callback(lambda _: self._retiring.pop(before))

    async def _drain(self) -> None:
        """Drain the batcher of the release that serves and those of releases that just served, all at once."""
        batchers = [*self._retiring, *([self._batcher] if self._batcher else [])]
        retiring = list(self._retiring.values())
        await asyncio.gather(*(batcher.drain(self.settings.drain_s) for batcher in batchers), *retiring)

    @property
    def _backlog_s(self) -> float:
        """Seconds for what waits in the backlog; no request has more."""
        return max(backlog.DECIDE_S, self.settings.request_timeout_s)

    def _take_up_backlog(self, decider: Decider) -> None:
        work = Backlog(self.store, self.metrics, decider, self._backlog_s)
        self._backlog = asyncio.create_task(work.run(), name="triage-backlog")

    async def _decision(self, text: str, deadline: float) -> Decision:
        answer = await self.batcher.classify([text], deadline)
        return answer.decisions[0]

    async def _stop_backlog(self) -> None:
        """What it holds comes back when the leases run out."""
        if self._backlog is not None:
            self._backlog.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._backlog

    def _failed(self, error: TriageError) -> None:
        self.failure = error
        self.on_failure()

    def _there(self, part: Part | None) -> Part:
        if part is None:
            raise self._not_ready()
        return part

    def _not_ready(self) -> NotReady:
        if self.draining:
            return Draining("服务正在停止，请稍后重试", "the service is stopping; try again later")
        if self.failure is not None:
            return NotReady(f"模型载入失败：{self.failure.zh}", f"loading failed: {self.failure.en}")
        return NotReady("模型正在载入，请稍后重试", "the model is loading; try again shortly")


def _nothing() -> None:
    """Nobody wants to know."""
