from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from starlette.testclient import TestClient

from api.app import create_app
from api.settings import Settings
from triage.cases import keys
from triage.cases.store import Store
from triage.testing import KeywordEngine

# TEST_EXAMPLES=3000, as `make test-slow` sets it, for a longer search.
settings.register_profile(
    "api",
    max_examples=int(os.environ.get("TEST_EXAMPLES", "200")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("api")


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty database: SQLite, or that of a test that uses ``database``."""
    given = "database" in request.fixturenames
    opened = Store.open(request.getfixturevalue("database") if given else f"sqlite:///{tmp_path / 'triage.db'}")
    yield opened
    opened.close()


@pytest.fixture
def key(store: Store) -> str:
    with store.write() as session:
        return keys.create(session, "platform")[1]


@pytest.fixture
def start(store: Store, key: str) -> Iterator[Callable[..., TestClient]]:
    """A function that starts an application with a double and gives a client that holds a key."""
    running = []

    def begin(engine: Any = None, address: str = "testclient", **changes: Any) -> TestClient:
        app = create_app(Settings(**changes), engine or KeywordEngine(), store)
        client = TestClient(
            app, headers={"Authorization": f"Bearer {key}"}, raise_server_exceptions=False, client=(address, 50000)
        )
        client.__enter__()
        running.append(client)
        wait_ready(client)
        return client

    yield begin
    for client in running:
        client.__exit__(None, None, None)


@pytest.fixture
def client(start: Callable[..., TestClient]) -> TestClient:
    return start()


def wait_ready(client: TestClient) -> None:
    for _ in range(500):
        if client.get("/health/ready").status_code == 200:
            return
    raise AssertionError("the application does not become ready")
