from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from api.batching import Answer, Batcher
from api.errors import ClientGone, Draining, ModelFailed, QueueFull
from api.metrics import Metrics
from triage.errors import DeadlineExceeded
from triage.testing import KeywordEngine


def play(engine: KeywordEngine, scene: Callable[[Batcher], Coroutine[Any, Any, Any]], **options: int) -> Any:
    async def stage() -> Any:
        batcher = Batcher(engine, Metrics(), **options)
        batcher.start()
        try:
            return await scene(batcher)
        finally:
            await batcher.drain(5)

    return asyncio.run(stage())


def soon(seconds: float = 10) -> float:
    return time.monotonic() + seconds


def count(batcher: Batcher, name: str, **labels: str) -> float:
    return batcher._metrics.registry.get_sample_value(name, labels) or 0.0


def test_decides_as_the_engine_does() -> None:
    texts = ["着火", "", "追尾" + "啊" * 700, "验证码"]

    async def scene(batcher: Batcher) -> Answer:
        return await batcher.classify(texts, soon())

    answer = play(KeywordEngine(), scene)
    assert answer.decisions == KeywordEngine().classify(texts)
    assert answer.tokens == sum(item.tokens for item in KeywordEngine().prepare(texts))


def test_many_requests_share_batches_and_keep_their_own_answers() -> None:
    engine = KeywordEngine(seconds_per_token=0.0001)
    labels = {"着火": "fire_hazard", "追尾": "traffic", "验证码": "telecom_fraud"}

    async def scene(batcher: Batcher) -> None:
        async def ask(number: int) -> None:
            words = [list(labels)[(number + i) % 3] for i in range(number % 4 + 1)]
            answer = await batcher.classify(words, soon())
            assert [item.label for item in answer.decisions] == [labels[word] for word in words]

        await asyncio.gather(*(ask(number) for number in range(200)))

    play(engine, scene)
    assert sum(map(len, engine.batches)) == 500
    assert len(engine.batches) < 60
    assert all(max(batch) * len(batch) <= 512 for batch in engine.batches)


def test_a_free_worker_never_waits_for_company() -> None:
    async def scene(batcher: Batcher) -> float:
        await batcher.classify(["热身"], soon())
        started = time.perf_counter()
        for _ in range(50):
            await batcher.classify(["着火"], soon())
        return (time.perf_counter() - started) / 50

    assert play(KeywordEngine(), scene) < 0.02


def test_two_workers_compute_at_once() -> None:
    engine = KeywordEngine(seconds_per_token=0.001)

    async def scene(batcher: Batcher) -> float:
        started = time.perf_counter()
        await asyncio.gather(*(batcher.classify(["啊" * 98], soon()) for _ in range(4)))
        return time.perf_counter() - started

    assert play(engine, scene, workers=2, batch_tokens=100) < 0.35


def test_a_full_queue_refuses_and_an_empty_one_takes_anything() -> None:
    engine = KeywordEngine(seconds_per_token=0.002)

    async def scene(batcher: Batcher) -> None:
        large = asyncio.create_task(batcher.classify(["啊" * 250] * 4, soon()))
        await asyncio.sleep(0.1)
        with pytest.raises(QueueFull) as refused:
            await batcher.classify(["啊" * 100], soon())
        assert 1 <= refused.value.retry_after <= 60
        assert count(batcher, "triage_dropped_requests_total", reason="queue_full") == 1
        assert len((await large).decisions) == 4

    play(engine, scene, workers=1, batch_tokens=256, queue_tokens=300)


def test_the_wait_is_reckoned_from_the_measured_rate() -> None:
    batcher = Batcher(KeywordEngine(), Metrics(), workers=2)
    batcher._rate = 100.0
    assert batcher._full(1).retry_after == 1
    assert batcher._full(2_000).retry_after == 10
    assert batcher._full(10**9).retry_after == 60


def test_what_is_late_is_dropped_before_it_runs() -> None:
    engine = KeywordEngine(seconds_per_token=0.002)

    async def scene(batcher: Batcher) -> None:
        first = asyncio.create_task(batcher.classify(["啊" * 98], soon()))
        await asyncio.sleep(0.05)
        with pytest.raises(DeadlineExceeded):
            await batcher.classify(["毒" * 50], soon(0.05))
        await first
        assert count(batcher, "triage_dropped_requests_total", reason="deadline") == 1

    play(engine, scene, workers=1)
    assert engine.batches == [(100,)]


def test_a_deadline_in_the_past_runs_nothing() -> None:
    engine = KeywordEngine()

    async def scene(batcher: Batcher) -> None:
        with pytest.raises(DeadlineExceeded):
            await batcher.classify(["着火"], soon(-1))

    play(engine, scene)
    assert engine.batches == []


def test_a_client_that_leaves_or_a_cancelled_task_frees_its_place() -> None:
    engine = KeywordEngine(seconds_per_token=0.002)

    async def scene(batcher: Batcher) -> None:
        first = asyncio.create_task(batcher.classify(["啊" * 98], soon()))
        await asyncio.sleep(0.05)
        cancelled = asyncio.create_task(batcher.classify(["毒" * 50], soon()))
        await asyncio.sleep(0.01)
        cancelled.cancel()
        with pytest.raises(ClientGone):
            await batcher.classify(["毒" * 60], soon(), lambda: asyncio.sleep(0.01))
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        await first
        for reason in ("client_gone", "cancelled"):
            assert count(batcher, "triage_dropped_requests_total", reason=reason) == 1

    play(engine, scene, workers=1)
    assert engine.batches == [(100,)]


def test_one_poisonous_text_fails_alone() -> None:
    engine = KeywordEngine(seconds_per_token=0.0005, poison="毒")

    async def scene(batcher: Batcher) -> list[Any]:
        first = asyncio.create_task(batcher.classify(["啊" * 98], soon()))
        await asyncio.sleep(0.01)
        asked = (["着火"], ["着火", "毒药"], ["追尾"], ["逆行"])
        rest = await asyncio.gather(*(batcher.classify(texts, soon()) for texts in asked), return_exceptions=True)
        await first
        return rest

    fire, poisoned, crash, wrong_way = play(engine, scene, workers=1)
    assert fire.decisions[0].label == "fire_hazard"
    assert (crash.decisions[0].label, wrong_way.decisions[0].label) == ("traffic", "traffic")
    assert isinstance(poisoned, ModelFailed)
    assert "inputs[1]" in poisoned.en
    assert "毒" not in f"{poisoned}"


@pytest.mark.parametrize("stage", ["prepare", "infer", "interpret"])
def test_a_failure_of_any_stage_fails_the_request_and_not_the_worker(stage: str) -> None:
    engine = KeywordEngine()
    good = getattr(engine, stage)

    def bad(*_: Any) -> Any:
        raise ValueError("13800138000")

    async def scene(batcher: Batcher) -> None:
        setattr(engine, stage, bad)
        for _ in range(5):
            with pytest.raises(ModelFailed):
                await batcher.classify(["着火", "追尾"], soon())
        assert count(batcher, "triage_model_failures_total", stage=stage) >= 5
        assert count(batcher, "triage_dropped_requests_total", reason="model_failed") == 5
        setattr(engine, stage, good)
        assert len((await batcher.classify(["着火", "追尾"], soon())).decisions) == 2

    play(engine, scene)


def test_an_engine_that_gives_too_few_answers_is_a_failure() -> None:
    engine = KeywordEngine()
    engine.infer = lambda windows: []  # type: ignore[method-assign]

    async def scene(batcher: Batcher) -> None:
        with pytest.raises(ModelFailed):
            await batcher.classify(["着火"], soon())

    play(engine, scene)


def test_draining_finishes_what_was_accepted() -> None:
    engine = KeywordEngine(seconds_per_token=0.002)

    async def scene(batcher: Batcher) -> None:
        accepted = [asyncio.create_task(batcher.classify(["啊" * 30], soon())) for _ in range(5)]
        await asyncio.sleep(0.01)
        stopping = asyncio.create_task(batcher.drain(5))
        await asyncio.sleep(0)
        with pytest.raises(Draining):
            await batcher.classify(["着火"], soon())
        await stopping
        assert [len((await task).decisions) for task in accepted] == [1] * 5
        assert not any(thread.is_alive() for thread in batcher._threads)

    play(engine, scene, workers=1)


def test_the_longest_drain_is_kept() -> None:
    engine = KeywordEngine(seconds_per_token=0.002)

    async def scene(batcher: Batcher) -> None:
        accepted = [asyncio.create_task(batcher.classify(["啊" * 98], soon())) for _ in range(5)]
        await asyncio.sleep(0.05)
        started = time.monotonic()
        await batcher.drain(0.1)
        assert time.monotonic() - started < 1
        found = await asyncio.gather(*accepted, return_exceptions=True)
        assert sum(isinstance(item, Draining) for item in found) >= 4

    play(engine, scene, workers=1, batch_tokens=100)
