"""Micro-batching in one process: a few threads that take what waits and hand it to the engine.

A thread that is free takes at once whatever waits; nothing is held back for company. Under load windows pile up while
the threads compute, and that is where full batches come from.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import structlog

from api.answers import Answer, settler
from api.errors import ClientGone, Draining, ModelFailed, QueueFull
from api.logs import trace_of
from api.metrics import Metrics
from api.queueing import Message, Slot, Ticket, Work, WorkQueue
from triage.decision import Decision
from triage.engine import Classifier
from triage.errors import DeadlineExceeded, ServiceError

# Tokens per second of one thread until the first batches are measured, and how quickly the measure follows.
FIRST_RATE: Final = 5_000.0
SMOOTHING: Final = 0.1
MAX_RETRY_AFTER: Final = 60
# How long stopping waits for a thread that computes.
JOIN_S: Final = 5.0

log = structlog.get_logger("triage.batching")


class Batcher:
    """Feeds an engine.

    Args:
        engine: its stages must be safe to call from several threads.
        metrics: where everything is counted.
        workers: threads; each runs one batch at a time.
        batch_tokens: tokens in one batch, padding included.
        queue_tokens: tokens that may wait; a request that would exceed it is refused, unless nothing waits.
    """

    def __init__(
        self,
        engine: Classifier,
        metrics: Metrics,
        workers: int = 2,
        batch_tokens: int = 512,
        queue_tokens: int = 32_768,
    ) -> None:
        manifest = engine.manifest
        self._engine = engine
        self._metrics = metrics
        self._queue = WorkQueue(batch_tokens, manifest.max_tokens * manifest.max_windows)
        self._queue_tokens = queue_tokens
        self._rate = FIRST_RATE
        self._accepting = True
        self._stopping = False
        self._changed = threading.Condition()
        self._threads = [threading.Thread(target=self._work, name="triage-worker", daemon=True) for _ in range(workers)]
        metrics.waiting.set_function(lambda: self._queue.waiting)
        metrics.open_requests.set_function(lambda: len(self._queue.tickets))

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    async def classify(
        self, texts: Sequence[str], deadline: float, gone: Callable[[], Coroutine[Any, Any, None]] | None = None
    ) -> Answer:
        """Decide on texts.

        Args:
            texts: raw texts of one request.
            deadline: ``time.monotonic`` until which the answer is wanted.
            gone: returns when the client is gone.

        Raises:
            QueueFull: too much waits already.
            Draining: the service stops.
            DeadlineExceeded, ClientGone: nobody waits any more; what waited was dropped.
            ModelFailed: the engine raised for these texts.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[Decision]] = loop.create_future()
        ticket = Ticket(deadline, settler(loop, future))
        self._submit(ticket, texts)
        watch = loop.create_task(gone()) if gone else None
        awaited: set[asyncio.Future[Any]] = {future, watch} if watch else {future}
        try:
            left = max(0.0, deadline - time.monotonic())
            await asyncio.wait(awaited, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if future.done():
                return Answer(future.result(), ticket.tokens, self._engine.version)
            raise self._given_up(ticket, gone=watch is not None and watch.done())
        finally:
            if watch:
                watch.cancel()
            if ticket.open:  # this coroutine was cancelled
                with self._changed:
                    self._fail(ticket, _draining(), "cancelled")

    async def drain(self, seconds: float) -> None:
        """Refuse what comes, finish what was accepted, fail what is left after ``seconds``, stop the threads."""
        self.refuse()
        until = time.monotonic() + seconds
        while self._queue.tickets and time.monotonic() < until:
            await asyncio.sleep(0.01)
        with self._changed:
            self._stopping = True
            for ticket in list(self._queue.tickets):
                self._fail(ticket, _draining(), "draining")
            self._changed.notify_all()
        await asyncio.to_thread(self._join)

    def refuse(self) -> None:
        """Accept no more requests; safe in a signal handler."""
        self._accepting = False

    def _submit(self, ticket: Ticket, texts: Sequence[str]) -> None:
        if not self._accepting:
            raise _draining()
        with self._changed:
            if self._stopping:
                raise _draining()
            more, waiting = self._queue.estimate(texts), self._queue.waiting
            if waiting and waiting + more > self._queue_tokens:
                self._metrics.dropped.labels("queue_full").inc()
                raise self._full(waiting + more - self._queue_tokens)
            self._queue.add(ticket, texts, time.monotonic())
            self._changed.notify()

    def _given_up(self, ticket: Ticket, gone: bool) -> ServiceError:
        """Drop a request that nobody waits for; the error that says so."""
        error = ClientGone("客户端已断开", "the client is gone") if gone else _late()
        with self._changed:
            self._fail(ticket, error, "client_gone" if gone else "deadline")
        return error

    def _full(self, excess: int) -> QueueFull:
        seconds = math.ceil(excess / (self._rate * len(self._threads)))
        after = min(MAX_RETRY_AFTER, max(1, seconds))
        return QueueFull(
            f"排队已满（上限 {self._queue_tokens} 词元），请在 {after} 秒后重试",
            f"the queue is full (limit {self._queue_tokens} tokens); try again in {after} s",
            after,
        )

    # What follows runs in the worker threads.

    def _work(self) -> None:
        while (work := self._next()) is not None:
            try:
                self._prepare(work.texts)
                self._infer(work.windows)
            except Exception as error:  # a fault of this module: its requests end at their deadlines, the thread lives
                log.error("worker_failed", **trace_of(error))

    def _next(self) -> Work | None:
        with self._changed:
            while not self._stopping:
                for ticket in self._queue.expired(time.monotonic()):
                    self._fail(ticket, _late(), "deadline")
                work = self._queue.take()
                if work is not None:
                    # Each wakes the next, and only while there is something left to do.
                    if self._queue.more:
                        self._changed.notify()
                    return work
                self._changed.wait()
            return None

    def _prepare(self, messages: Sequence[Message]) -> None:
        messages = [message for message in messages if message.ticket.open]
        if not messages:
            return
        try:
            with self._timed("prepare"):
                prepared = self._engine.prepare([message.text for message in messages])
            pairs = list(zip(messages, prepared, strict=True))
        except Exception as error:  # what a text does to the engine must not reach the others
            self._failed(error, "prepare", messages, self._prepare)
            return
        with self._changed:
            blank = [message for message, item in pairs if message.ticket.open and self._queue.prepared(message, item)]
        self._interpret(blank)

    def _infer(self, slots: Sequence[Slot]) -> None:
        slots = [slot for slot in slots if slot.message.ticket.open]
        if not slots:
            return
        lengths = [slot.tokens for slot in slots]
        self._metrics.batch(lengths)
        started = time.perf_counter()
        try:
            with self._timed("infer"):
                logits = self._engine.infer([slot.window for slot in slots])
            pairs = list(zip(slots, logits, strict=True))
        except Exception as error:
            self._failed(error, "infer", slots, self._infer)
            return
        rate = sum(lengths) / max(1e-6, time.perf_counter() - started)
        with self._changed:
            self._rate += SMOOTHING * (rate - self._rate)
            done = [slot.message for slot, item in pairs if self._queue.read(slot, item)]
        self._interpret(done)

    def _interpret(self, messages: Sequence[Message]) -> None:
        for message in messages:
            if message.prepared is None or not message.ticket.open:
                continue
            try:
                with self._timed("interpret"):
                    logits = [item for item in message.logits if item is not None]
                    decision = self._engine.interpret(message.prepared, logits)
            except Exception as error:
                self._failed(error, "interpret", [message], self._interpret)
                continue
            with self._changed:
                last = message.ticket.open and self._queue.decided(message, decision)
            if last:
                self._finish(message.ticket)

    def _finish(self, ticket: Ticket) -> None:
        decisions = [decision for decision in ticket.decisions if decision is not None]
        self._metrics.decisions(decisions)
        with self._changed:
            self._queue.close(ticket)
        ticket.settle(decisions)

    def _failed(self, error: Exception, stage: str, items: Sequence[Any], retry: Callable[[Any], None]) -> None:
        """One item may have spoilt it for the others: run each alone; fail the request of one that fails alone."""
        self._metrics.failures.labels(stage).inc()
        log.error("model_failed", stage=stage, items=len(items), **trace_of(error))
        if len(items) > 1:
            for item in items:
                retry([item])
            return
        message = items[0].message if isinstance(items[0], Slot) else items[0]
        with self._changed:
            self._fail(
                message.ticket,
                ModelFailed(
                    f"模型无法处理 inputs[{message.index}]，请单独重试或转人工",
                    f"the model failed on inputs[{message.index}]; send it alone or pass it to an officer",
                ),
                "model_failed",
            )

    def _fail(self, ticket: Ticket, error: Exception, reason: str = "") -> None:
        if reason and ticket.open:
            self._metrics.dropped.labels(reason).inc()
        self._queue.close(ticket)
        ticket.settle(error)

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self._metrics.stages.labels(stage).observe(time.perf_counter() - started)

    def _join(self) -> None:
        for thread in self._threads:
            if thread.is_alive():
                thread.join(JOIN_S)


def _draining() -> Draining:
    return Draining("服务正在停止，请稍后重试", "the service is stopping; try again later")


def _late() -> DeadlineExceeded:
    return DeadlineExceeded(
        "在请求时限内没有完成，请稍后重试或减少每次的文本", "not done in time; try again later or send fewer texts"
    )
