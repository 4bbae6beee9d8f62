"""Bodies in pieces, clients that leave, full queues, stopping: with the whole application, without a network."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from driver import Got, body_of, running, send
from fastapi import FastAPI

from api.app import create_app
from api.settings import Settings
from triage.cases.store import Store
from triage.testing import KeywordEngine


class Held(KeywordEngine):
    """Computes only while ``go`` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.go.set()

    def infer(self, windows: Any) -> Any:
        self.go.wait(10)
        return super().infer(windows)


def play(store: Store, scene: Callable[[FastAPI, Held], Coroutine[Any, Any, None]], **changes: Any) -> Held:
    engine = Held()

    async def stage() -> None:
        app = create_app(Settings(**changes), engine, store)
        async with running(app):
            engine.batches.clear()
            await scene(app, engine)

    asyncio.run(stage())
    return engine


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


def dropped(app: FastAPI, reason: str) -> float:
    value = app.state.service.metrics.registry.get_sample_value("triage_dropped_requests_total", {"reason": reason})
    return value or 0.0


def waiting(app: FastAPI) -> float:
    value = app.state.service.metrics.registry.get_sample_value("triage_queue_tokens")
    assert value is not None
    return value


def test_a_body_in_pieces_is_counted_as_it_comes(store: Store, key: str) -> None:
    async def scene(app: FastAPI, engine: Held) -> None:
        good = body_of("着火")
        got = await send(app, key, [good[:5], b"", good[5:]])
        assert (got.status, got.json()["decisions"][0]["label"]) == (200, "fire_hazard")
        got = await send(app, key, [b"x" * 500] * 100)
        assert (got.status, got.json()["code"]) == (413, "body_too_large")
        assert got.read == 3  # 1,024 bytes are over after the third piece, and the rest is not read
        got = await send(app, key, [b"{}"], content_length="99999999999")
        assert (got.status, got.read) == (413, 0)

    play(store, scene, max_body_bytes=1024)


def test_a_body_that_never_ends(store: Store, key: str) -> None:
    async def scene(app: FastAPI, engine: Held) -> None:
        got = await send(app, key, [b"{"], more=True)
        assert (got.status, got.json()["code"], got.headers["connection"]) == (408, "body_timeout", "close")

    play(store, scene, request_timeout_s=0.05)


def test_a_client_that_leaves_while_it_sends(store: Store, key: str) -> None:
    async def scene(app: FastAPI, engine: Held) -> None:
        leave = asyncio.Event()
        leave.set()
        assert (await send(app, key, [b"{"], leave, more=True)).status == 499

    play(store, scene)


def test_the_work_of_a_client_that_leaves_is_dropped(store: Store, key: str) -> None:
    async def scene(app: FastAPI, engine: Held) -> None:
        engine.go.clear()
        first = asyncio.create_task(send(app, key, [body_of("着火")]))
        await until(lambda: waiting(app) == 0 and len(app.state.service.batcher._queue.tickets) == 1)
        leave = asyncio.Event()
        second = asyncio.create_task(send(app, key, [body_of("毒" * 77)], leave))
        await until(lambda: waiting(app) == 79)
        leave.set()
        assert (await second).status == 499
        assert (waiting(app), dropped(app, "client_gone")) == (0, 1)
        engine.go.set()
        assert (await first).status == 200

    engine = play(store, scene, infer_workers=1)
    assert engine.batches == [(4,)]


def test_a_full_queue_says_when_to_come_back(store: Store, key: str) -> None:
    async def scene(app: FastAPI, engine: Held) -> None:
        engine.go.clear()
        first = asyncio.create_task(send(app, key, [body_of("一" * 60)]))
        await until(lambda: waiting(app) == 0 and len(app.state.service.batcher._queue.tickets) == 1)
        rest = [asyncio.create_task(send(app, key, [body_of("二" * 98)])) for _ in range(10)]
        await until(lambda: waiting(app) == 1000)
        got = await send(app, key, [body_of("三" * 98)])
        assert (got.status, got.json()["code"]) == (429, "overloaded")
        assert 1 <= int(got.headers["retry-after"]) <= 60
        assert "1024" in got.json()["detail_zh"]
        assert dropped(app, "queue_full") == 1
        assert (await send(app, key, [b"{"])).status == 400
        engine.go.set()
        assert [(await task).status for task in (first, *rest)] == [200] * 11
        assert (await send(app, key, [body_of("三" * 98)])).status == 200

    play(store, scene, infer_workers=1, queue_tokens=1024)


def test_stopping_finishes_what_was_accepted_and_refuses_what_comes(store: Store, key: str) -> None:
    answers: list[Got] = []

    async def scene(app: FastAPI, engine: Held) -> None:
        engine.go.clear()
        accepted = asyncio.create_task(send(app, key, [body_of("着火")]))
        await until(lambda: len(app.state.service.batcher._queue.tickets) == 1)
        app.state.service.begin_drain()
        refused = await send(app, key, [body_of("着火")])
        assert (refused.status, refused.json()["code"]) == (503, "draining")
        assert (refused.headers["retry-after"], refused.headers["connection"]) == ("5", "close")
        accepted.add_done_callback(lambda task: answers.append(task.result()))
        engine.go.set()

    play(store, scene)
    assert [answer.status for answer in answers] == [200]


def test_stopping_does_not_wait_for_ever(store: Store, key: str) -> None:
    answers: list[Got] = []

    async def scene(app: FastAPI, engine: Held) -> None:
        engine.go.clear()
        task = asyncio.create_task(send(app, key, [body_of("着火")]))
        task.add_done_callback(lambda task: answers.append(task.result()))
        await until(lambda: len(app.state.service.batcher._queue.tickets) == 1)
        asyncio.get_running_loop().call_later(0.3, engine.go.set)

    play(store, scene, drain_s=0.05)
    assert [(answer.status, answer.json()["code"]) for answer in answers] == [(503, "draining")]


def test_a_crash_is_a_problem_without_its_message(store: Store, key: str) -> None:
    async def scene(app: FastAPI, engine: Held) -> None:
        def crash(*_: Any) -> None:
            raise ValueError("13800138000")

        app.state.service.batcher.classify = crash
        got = await send(app, key, [body_of("着火")])
        assert (got.status, got.json()["code"]) == (500, "internal_error")
        assert b"13800138000" not in got.body
        assert got.headers["x-request-id"] == got.json()["request_id"]

    play(store, scene)
