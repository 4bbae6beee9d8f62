"""The server is killed with reports in every state; a second one takes over. Nothing is lost, nothing is doubled."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import func, select

from triage.cases import audit
from triage.cases.models import DecisionRow, Event, OutboxRow, Report
from triage.cases.reports import ACCEPTED
from triage.cases.store import Store
from triage.testing import KeywordEngine

ROOT: Final = Path(__file__).parents[2]
SERVER: Final = """
import sys
from api.cli import run
from api.settings import load_settings
from triage.testing import KeywordEngine
settings = load_settings({}, port=0, database_url=sys.argv[1], request_timeout_s=float(sys.argv[3]))
engine = KeywordEngine(seconds_per_token=float(sys.argv[2]))
import api.backlog
api.backlog.DECIDE_S = 2.0  # what died with a lease must come back while the test lasts
import api.cli as cli
listen = cli._listen
def told(host, port):
    found = listen(host, port)
    print(found.getsockname()[1], flush=True)
    return found
cli._listen = told
sys.exit(run(settings, print, engine))
"""
# The double sleeps so long for each token of a report: never, or longer than the test lasts.
QUICK, STUCK = 0.0, 60.0
TEXTS: Final = ("着火", "刷单", "说不清", "")


@contextmanager
def serving(database: str, log: Path, seconds_per_token: float, timeout: float = 2.0) -> Iterator[tuple[Any, int]]:
    with log.open("a") as stderr:
        command = [sys.executable, "-W", "error", "-c", SERVER, database, str(seconds_per_token), str(timeout)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=stderr, text=True)
    assert process.stdout
    try:
        yield process, int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def post(port: int, key: str, number: int, patience_ms: int = 60_000) -> dict[str, Any]:
    """Send report ``number`` and read its answer.

    Raises:
        OSError, HTTPException: the server died.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    report = {"channel": "sms", "grid": "g", "external_id": str(number), "text": TEXTS[number % len(TEXTS)]}
    headers = {"X-API-Key": key, "Content-Type": "application/json", "X-Request-Timeout-Ms": str(patience_ms)}
    try:
        connection.request("POST", "/v1/reports", json.dumps(report), headers)
        answer = connection.getresponse()
        body: dict[str, Any] = json.loads(answer.read())
        assert answer.status in (201, 503), body
        return body if answer.status == 201 else {}
    finally:
        connection.close()


def patiently(port: int, key: str, number: int) -> dict[str, Any]:
    """The same, while the server may still be starting."""
    for _ in range(3000):
        if body := post(port, key, number, 50):
            return body
        time.sleep(0.02)
    raise AssertionError("the server takes nothing in")


def wait_until_decided(store: Store) -> None:
    for _ in range(6000):
        with store.read() as session:
            if not session.scalar(select(func.count()).select_from(Report).where(Report.status == ACCEPTED)):
                return
        time.sleep(0.02)
    raise AssertionError("reports stay undecided")


def assert_nothing_lost_or_doubled(store: Store, acknowledged: dict[int, str]) -> None:
    """Every acknowledged report is there under its id, decided once, dispatched once if sure; the chain is whole."""
    with store.read() as session:
        rows = {int(row.external_id or -1): row for row in session.scalars(select(Report))}
        decided = set(session.scalars(select(DecisionRow.report_id)))
        sent = list(session.scalars(select(OutboxRow.report_id)))
        events = list(session.execute(select(Event.report_id, Event.kind)))
        assert audit.verify(session).number == len(events)
        assert session.scalar(select(func.count()).select_from(Report)) == len(rows)
    assert {number: rows[number].uid for number in acknowledged} == acknowledged
    assert decided == {row.id for row in rows.values()}
    assert sorted(sent) == sorted(row.id for number, row in rows.items() if number % len(TEXTS) < 2)
    assert sorted(events) == sorted(
        (row.id, kind)
        for row in rows.values()
        for kind in ("accepted", "decided", "dispatched" if row.status == "dispatched" else "queued")
    )
    for number, row in rows.items():
        assert row.label == KeywordEngine().classify([TEXTS[number % len(TEXTS)]])[0].label


def test_killed_between_accepting_and_deciding(store: Store, key: str, database: str, tmp_path: Path) -> None:
    """The model hangs, so that every report with words is stored and undecided when the process dies."""
    log = tmp_path / "log"
    with serving(database, log, STUCK) as (process, port):
        first = {number: patiently(port, key, number) for number in range(8)}
        waiting = threading.Thread(target=_until_it_dies, args=(port, key, 8))
        waiting.start()
        while _count(store) < 9:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        waiting.join()
    assert {body["status"] for body in first.values()} <= {"accepted", "review"}
    with store.read() as session:
        assert session.scalar(select(func.count()).select_from(OutboxRow)) == 0
    with serving(database, log, QUICK) as (_, port):
        again = patiently(port, key, 8)
        wait_until_decided(store)
        repeated = {number: post(port, key, number) for number in range(9)}
    assert repeated == {**first, 8: again}
    assert_nothing_lost_or_doubled(store, {number: body["id"] for number, body in repeated.items()})


def _until_it_dies(port: int, key: str, number: int) -> None:
    with contextlib.suppress(OSError, http.client.HTTPException):  # on a slow machine it may be answered just before
        post(port, key, number)


def _count(store: Store) -> int:
    with store.read() as session:
        return session.scalar(select(func.count()).select_from(Report)) or 0


def kill_at_random(store: Store, key: str, database: str, log: Path, rounds: int) -> None:
    """Clients send while servers die under them, each after a random number of answers; what failed is sent again."""
    draw = random.Random(5)
    acknowledged: dict[int, str] = {}
    for start in range(rounds):
        with serving(database, log, 0.001) as (process, port):
            patiently(port, key, start * 100)
            numbers = range(start * 100, start * 100 + 12)
            enough = threading.Semaphore(0)

            def send(share: range, port: int = port, enough: threading.Semaphore = enough) -> None:
                for number in share:
                    try:
                        body = post(port, key, number, draw.choice((5, 60_000)))
                    except (OSError, http.client.HTTPException):
                        continue
                    finally:
                        enough.release()
                    if body:
                        assert acknowledged.setdefault(number, body["id"]) == body["id"]

            clients = [threading.Thread(target=send, args=(numbers[n::4],)) for n in range(4)]
            for client in clients:
                client.start()
            for _ in range(draw.randint(1, 10)):
                enough.acquire()
            time.sleep(draw.random() * 0.02)
            process.send_signal(signal.SIGKILL)
            for client in clients:
                client.join()
    with serving(database, log, QUICK) as (_, port):
        for number in (n for start in range(rounds) for n in range(start * 100, start * 100 + 12)):
            body = patiently(port, key, number)
            assert acknowledged.setdefault(number, body["id"]) == body["id"]
        wait_until_decided(store)
    assert len(acknowledged) == rounds * 12
    assert_nothing_lost_or_doubled(store, acknowledged)


def test_killed_at_random(store: Store, key: str, database: str, tmp_path: Path) -> None:
    kill_at_random(store, key, database, tmp_path / "log", 2)


@pytest.mark.slow
def test_killed_at_twenty_random_points(store: Store, key: str, database: str, tmp_path: Path) -> None:
    kill_at_random(store, key, database, tmp_path / "log", 20)
