"""Micro-batching in one process: a few threads that take what waits and hand it to the engine.

A thread that is free takes at once whatever waits; nothing is held back for company. Under load windows pile up while
the threads compute, and that is where full batches come from.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import structlog

from api.errors import ClientGone, Draining, ModelFailed, QueueFull
from api.logs import trace_of
from api.metrics import Metrics
from api.queueing import Message, Slot, Ticket, Work, WorkQueue
from triage.decision import Decision
from triage.engine import Classifier
from triage.errors import DeadlineExceeded

# Tokens per second of one thread until the first batches are measured, and how quickly the measure follows.
FIRST_RATE: Final = 5_000.0
SMOOTHING: Final = 0.1
MAX_RETRY_AFTER: Final = 60
# How long stopping waits for a thread that computes.
JOIN_S: Final = 5.0

log = structlog.get_logger("triage.batching")


@dataclass(frozen=True, slots=True)
class Answer:
    """Decisions in the order of the texts, and how many tokens were read for them."""

    decisions: Sequence[Decision]
    tokens: int


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
        self._threads = [
            threading.Thread(target=self._work, name=f"triage-worker-{number}", daemon=True) for number in range(workers)
        ]
        metrics.waiting.set_function(lambda: self._queue.waiting)
        metrics.open_requests.set_function(lambda: len(self._queue.tickets))

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    async def classify(
        self, texts: Sequence[str], deadline: float, gone: Callable[[], Awaitable[None]] | None = None
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
        future: asyncio.Future[Sequence[Decision]] = loop.create_future()
        ticket = Ticket(deadline, lambda result: _settle(loop, future, result))
        self._submit(ticket, texts)
        watch = asyncio.ensure_future(gone()) if gone else None
        try:
            left = max(0.0, deadline - time.monotonic())
            await asyncio.wait({future, watch} if watch else {future}, timeout=left, return_when="FIRST_COMPLETED")
            if future.done():
                return Answer(future.result(), ticket.tokens)
            if watch and watch.done():
                self._metrics.dropped.labels("client_gone").inc()
                raise ClientGone("客户端已断开", "the client is gone")
            raise self._late()
        finally:
            if watch:
                watch.cancel()
            with self._changed:
                self._queue.close(ticket)

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
            # One text is one worker's work.
            self._changed.notify(1 if len(texts) == 1 else len(self._threads))

    def _full(self, excess: int) -> QueueFull:
        seconds = math.ceil(excess / (self._rate * len(self._threads)))
        after = min(MAX_RETRY_AFTER, max(1, seconds))
        return QueueFull(
            f"排队已满（上限 {self._queue_tokens} 词元），请在 {after} 秒后重试",
            f"the queue is full (limit {self._queue_tokens} tokens); try again in {after} s",
            after,
        )

    def _late(self) -> DeadlineExceeded:
        self._metrics.dropped.labels("deadline").inc()
        return DeadlineExceeded(
            "在请求时限内没有完成，请稍后重试或减少每次的文本", "not done in time; try again later or send fewer texts"
        )

    # What follows runs in the worker threads.

    def _work(self) -> None:
        while (work := self._next()) is not None:
            if work.texts:
                self._prepare(work.texts)
            else:
                self._infer(work.windows)

    def _next(self) -> Work | None:
        with self._changed:
            while not self._stopping:
                for ticket in self._queue.expired(time.monotonic()):
                    self._fail(ticket, self._late())
                work = self._queue.take()
                if work is not None:
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
        except Exception as error:  # whatever a message does to the engine is that message's affair
            return self._failed(error, "prepare", messages, self._prepare)
        with self._changed:
            pairs = [pair for pair in zip(messages, prepared, strict=True) if pair[0].ticket.open]
            blank = [message for message, item in pairs if self._queue.prepared(message, item)]
            self._changed.notify_all()
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
        except Exception as error:
            return self._failed(error, "infer", slots, self._infer)
        rate = sum(lengths) / max(1e-6, time.perf_counter() - started)
        with self._changed:
            self._rate += SMOOTHING * (rate - self._rate)
            done = [slot.message for slot, item in zip(slots, logits, strict=True) if self._queue.read(slot, item)]
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
        """One item of several may have spoilt it for the others: run them one by one, and fail the one that is alone."""
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


def _settle(
    loop: asyncio.AbstractEventLoop, future: asyncio.Future[Sequence[Decision]], result: Sequence[Decision] | Exception
) -> None:
    """Answer from another thread."""

    def answer() -> None:
        if future.done():
            return
        if isinstance(result, Exception):
            future.set_exception(result)
            # Nobody may be left to hear of it.
            future.exception()
        else:
            future.set_result(result)

    with contextlib.suppress(RuntimeError):  # the loop is closed: so is the connection
        loop.call_soon_threadsafe(answer)


def _draining() -> Draining:
    return Draining("服务正在停止，请稍后重试", "the service is stopping; try again later")
