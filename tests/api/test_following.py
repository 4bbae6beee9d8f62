"""A release is promoted while the service runs: no request fails, and what is not proven never serves."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from driver import TEXT, Got, body_of, running, send
from fastapi import FastAPI
from starlette.testclient import TestClient

from api import following
from api.app import create_app
from api.following import Follower, look_at
from api.metrics import Metrics
from api.settings import Settings
from triage import golden, promotion
from triage.cases.store import Store
from triage.engine import Triage
from triage.errors import TriageError
from triage.model.artifact import Calibration, Manifest, Release, seal
from triage.testing import KeywordEngine, keyword_manifest

TEXTS = [TEXT, "消防通道着火", "今天天气好"]
# The two releases are told apart by what they answer, not by their name alone.
TEMPERATURE = {"a": 1.0, "b": 2.0}
RATE = 50
ROUNDS = 10


def manifest_of(version: str) -> Manifest:
    return replace(keyword_manifest(), version=version, calibration=Calibration(TEMPERATURE.get(version, 1.0)))


def release(models: Path, version: str) -> Path:
    folder = models / version
    folder.mkdir(parents=True)
    rows = golden.record(KeywordEngine(manifest=manifest_of(version)), TEXTS)
    (folder / "golden.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    seal(folder, manifest_of(version))
    return folder


def name(models: Path, version: str) -> None:
    """Write ``CURRENT`` by hand, unchecked."""
    (models / "CURRENT").write_text(version + "\n")


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Folders load as doubles; how often each did."""
    counted: Counter[str] = Counter()

    def load(path: Path, *_: Any, **__: Any) -> KeywordEngine:
        found = Release.open(path)
        counted[found.version] += 1
        return KeywordEngine(seconds_per_token=0.0003, manifest=found.manifest)

    monkeypatch.setattr(Triage, "load", load)
    monkeypatch.setattr(following, "WATCH_S", 0.01)
    return counted


@pytest.fixture
def models(tmp_path: Path, loads: Counter[str]) -> Path:
    folder = tmp_path / "models"
    for version in "ab":
        release(folder, version)
    name(folder, "a")
    return folder


@pytest.fixture
def app(models: Path, store: Store) -> FastAPI:
    return create_app(Settings(model=models / "current", request_timeout_s=120, queue_tokens=2**20), store=store)


@contextmanager
def served(app: FastAPI, key: str) -> Iterator[TestClient]:
    with TestClient(app, headers={"X-API-Key": key}) as client:
        until(lambda: client.get("/health/ready").status_code == 200)
        yield client


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def candidate(client: TestClient) -> dict[str, Any] | None:
    found: dict[str, Any] | None = client.get("/v1/model").json()["candidate"]
    return found


def refused(client: TestClient) -> bool:
    found = candidate(client)
    return found is not None and found["state"] == "refused"


def answers(client: TestClient) -> tuple[str, str]:
    """Which release answers, by its word and by its scores."""
    answer = client.post("/v1/classify", json={"inputs": [TEXT]}).json()
    (decision,) = answer["decisions"]
    assert answer["model"] == decision["model"]
    return answer["model"], "a" if decision["confidence"] > 0.95 else "b"


async def under_load(app: FastAPI, key: str, work: Callable[[], Coroutine[Any, Any, None]]) -> list[Got]:
    """Requests at a steady rate while something happens; on a machine that cannot keep up, at most 300 at once."""
    tasks: list[asyncio.Task[Got]] = []
    room = asyncio.Semaphore(300)

    async def ask() -> Got:
        async with room:
            return await send(app, key, [body_of(TEXT, *TEXTS[: len(tasks) % 3])])

    working = asyncio.create_task(work())
    while not working.done():
        tasks.append(asyncio.create_task(ask()))
        await asyncio.sleep(1 / RATE)
    await working
    return await asyncio.gather(*tasks)


async def serves(app: FastAPI, version: str) -> None:
    while app.state.service.engine.version != version:
        await asyncio.sleep(0.005)


def test_ten_promotions_and_rollbacks_under_load_fail_no_request(app: FastAPI, key: str, models: Path) -> None:
    async def work() -> None:
        for _ in range(ROUNDS):
            await asyncio.to_thread(promotion.promote, models, "b", "test", without_gate="test")
            await serves(app, "b")
            await asyncio.sleep(0.1)
            await asyncio.to_thread(promotion.rollback, models, "test")
            await serves(app, "a")
            await asyncio.sleep(0.1)

    async def scene() -> list[Got]:
        async with running(app):
            return await under_load(app, key, work)

    got = asyncio.run(scene())
    assert len(got) >= 60
    assert [answer.status for answer in got if answer.status != 200] == []
    models_said = Counter(answer.json()["model"] for answer in got)
    assert set(models_said) == {"a", "b"}
    for answer in got:
        said = answer.json()
        sure = said["decisions"][0]["confidence"] > 0.95
        assert {decision["model"] for decision in said["decisions"]} == {said["model"]}
        assert sure == (said["model"] == "a")
    metrics = app.state.service.metrics.registry
    assert metrics.get_sample_value("triage_release_switches_total", {"outcome": "switched"}) == 2 * ROUNDS
    assert metrics.get_sample_value("triage_release_switches_total", {"outcome": "refused"}) == 0
    assert metrics.get_sample_value("triage_model_info", {"version": "a", "stage": "encoder"}) == 1
    assert metrics.get_sample_value("triage_model_info", {"version": "b", "stage": "encoder"}) is None
    names = [thread.name for thread in threading.enumerate()]
    assert "triage-worker" not in names


def test_what_was_accepted_is_answered_by_the_release_that_accepted_it(app: FastAPI, key: str, models: Path) -> None:
    go = threading.Event()

    async def scene() -> tuple[Got, asyncio.Task[Got]]:
        async with running(app):
            engine = app.state.service.engine
            infer = engine.infer
            engine.infer = lambda windows: infer(windows) if go.wait(60) else []
            slow = asyncio.create_task(send(app, key, [body_of(TEXT)]))
            while app.state.service.metrics.registry.get_sample_value("triage_queue_requests") != 1:
                await asyncio.sleep(0.001)
            name(models, "b")
            await serves(app, "b")
            quick = await send(app, key, [body_of(TEXT)])
            assert not slow.done()
            # The service is stopped now and waits for the release that serves no more, too.
            asyncio.get_running_loop().call_later(0.1, go.set)
        return quick, slow

    async def ended() -> list[Any]:
        quick, slow = await scene()
        return [quick.json(), (await slow).json()]

    quick, slow = asyncio.run(ended())
    assert (quick["model"], slow["model"], slow["decisions"][0]["model"]) == ("b", "a", "a")


def corrupt(folder: Path) -> None:
    with (folder / "golden.jsonl").open("ab") as file:
        file.write(b"\n")


def drift(folder: Path) -> None:
    rows = golden.load(folder / "golden.jsonl")
    lines = [json.dumps({**row, "label": "traffic"}) for row in rows]
    (folder / "golden.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    seal(folder, manifest_of("b"))


def rename(folder: Path) -> None:
    seal(folder, manifest_of("c"))


@pytest.mark.parametrize(
    ("damage", "version", "code", "detail"),
    [
        (corrupt, "b", "release_corrupt", "checksum of b/golden.jsonl differs"),
        (drift, "b", "release_drift", "3 labels differ"),
        (rename, "b", "release_corrupt", "folder b holds release c"),
        (shutil.rmtree, "", "release_not_found", "names 'b', which is not a release"),
    ],
)
def test_what_is_not_proven_never_serves(
    app: FastAPI, key: str, models: Path, damage: Callable[[Path], None], version: str, code: str, detail: str
) -> None:
    damage(models / "b")
    with served(app, key) as client:
        assert (client.get("/v1/model").json()["version"], candidate(client)) == ("a", None)
        name(models, "b")
        until(lambda: refused(client))
        found = candidate(client)
        assert found
        assert (found["version"], found["code"]) == (version, code)
        assert detail in found["detail"]
        assert any("\u4e00" <= c <= "\u9fff" for c in found["detail_zh"])
        assert client.get("/v1/model").json()["version"] == "a"
        assert answers(client) == ("a", "a")
        assert client.get("/health/ready").status_code == 200
        lines = client.get("/metrics").text.splitlines()
        assert "triage_release_refused 1.0" in lines
        assert 'triage_release_switches_total{outcome="refused"} 1.0' in lines
        # Mended, it is tried again without a word.
        shutil.rmtree(models / "b", ignore_errors=True)
        release(models, "b")
        until(lambda: client.get("/v1/model").json()["version"] == "b")
        assert candidate(client) is None
        assert answers(client) == ("b", "b")
        assert "triage_release_refused 0.0" in client.get("/metrics").text.splitlines()


def test_a_refused_release_is_tried_once_and_forgotten_with_a_rollback(
    app: FastAPI, key: str, models: Path, loads: Counter[str]
) -> None:
    drift(models / "b")
    with served(app, key) as client:
        name(models, "b")
        until(lambda: refused(client))
        time.sleep(0.2)
        assert loads["b"] == 1
        name(models, "a")
        until(lambda: candidate(client) is None)
        assert answers(client) == ("a", "a")
        name(models, "b")
        until(lambda: loads["b"] == 2)
        assert loads["a"] == 1


def test_while_it_loads_the_old_one_serves(
    app: FastAPI, key: str, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()
    load = Triage.load

    def slow(path: Path, *rest: Any, **more: Any) -> Any:
        assert path.name != "b" or go.wait(60)
        return load(path, *rest, **more)

    monkeypatch.setattr(Triage, "load", slow)
    with served(app, key) as client:
        name(models, "b")
        until(lambda: (candidate(client) or {}).get("state") == "loading")
        assert answers(client) == ("a", "a")
        go.set()
        until(lambda: answers(client) == ("b", "b"))


def test_what_nobody_raised_on_purpose_says_nothing_of_itself(
    app: FastAPI, key: str, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = Triage.load

    def fail(path: Path, *rest: Any, **more: Any) -> Any:
        if path.name == "b":
            raise RuntimeError("13800138000")
        return load(path, *rest, **more)

    monkeypatch.setattr(Triage, "load", fail)
    with served(app, key) as client:
        name(models, "b")
        until(lambda: refused(client))
        assert "13800138000" not in client.get("/v1/model").text
        assert (candidate(client) or {})["code"] == TriageError.code
        assert answers(client) == ("a", "a")


def test_a_look_that_fails_does_not_end_the_watch(
    app: FastAPI, key: str, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(app, key) as client:
        failed = threading.Event()

        def fail(_: Path) -> Any:
            failed.set()
            raise RuntimeError("the disk is away")

        with monkeypatch.context() as patch:
            patch.setattr(following, "look_at", fail)
            name(models, "b")
            assert failed.wait(60)
            assert answers(client) == ("a", "a")
        until(lambda: answers(client) == ("b", "b"))


def test_a_switch_that_fails_leaves_the_old_one_and_says_so(models: Path) -> None:
    def switch(_: Triage) -> None:
        raise RuntimeError("no thread can be started")

    follower = Follower(models / "current", Metrics(), switch)

    async def promoted() -> None:
        await follower.load()
        name(models, "b")
        for _ in range(4):
            await follower.look()

    asyncio.run(promoted())
    follower.close()
    assert follower.candidate is not None
    assert (follower.candidate.version, follower.candidate.state) == ("b", "refused")


def test_a_folder_that_was_named_itself_is_not_followed(store: Store, key: str, models: Path) -> None:
    app = create_app(Settings(model=models / "a"), store=store)
    with served(app, key) as client:
        name(models, "b")
        time.sleep(0.2)
        assert answers(client) == ("a", "a")
        assert candidate(client) is None


def test_a_look_tells_apart_what_matters(models: Path) -> None:
    seen = look_at(models / "current")
    assert (seen, seen.folder) == (look_at(models / "a"), models / "a")
    name(models, "b")
    assert look_at(models).manifest != seen.manifest
    corrupt(models / "a")
    assert look_at(models / "a").manifest == seen.manifest
    assert look_at(models / "a") != seen
    (models / "CURRENT").write_bytes(b"\xff")
    assert look_at(models / "current").folder is None
    assert look_at(models / "none").folder is None


def test_real_releases_take_turns(
    tiny_release: Path, store: Store, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = tmp_path / "models"
    for version in ("tiny-1", "tiny-2"):
        shutil.copytree(tiny_release, models / version)
    seal(models / "tiny-2", replace(Release.open(tiny_release).manifest, version="tiny-2"))
    name(models, "tiny-1")
    monkeypatch.setattr(following, "WATCH_S", 0.05)
    app = create_app(Settings(model=models / "current", request_timeout_s=120, queue_tokens=2**20), store=store)

    async def work() -> None:
        await asyncio.to_thread(promotion.promote, models, "tiny-2", "test", without_gate="test")
        await serves(app, "tiny-2")
        await asyncio.to_thread(promotion.rollback, models, "test")
        await serves(app, "tiny-1")

    async def scene() -> list[Got]:
        async with running(app):
            return await under_load(app, key, work)

    got = asyncio.run(scene())
    assert {answer.status for answer in got} == {200}
    assert {answer.json()["model"] for answer in got} == {"tiny-1", "tiny-2"}
