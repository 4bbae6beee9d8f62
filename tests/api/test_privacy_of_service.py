"""A text and a phone number go in everywhere; neither they nor the key come out of logs, errors and metrics."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator

import pytest
import structlog
from sqlalchemy import select, text
from starlette.testclient import TestClient

from api.logs import configure_logs
from triage.cases.models import OutboxRow
from triage.cases.store import Store
from triage.testing import KeywordEngine

TEXT = "我在翠屏山三号楼被骗了"
PHONE = "13987654321"
CANARY = f"{TEXT}，电话{PHONE}"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    stream = io.StringIO()
    configure_logs("json", "debug", stream)
    yield stream
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def leaks(where: str, key: str) -> list[str]:
    spelled = json.dumps(TEXT)[1:-1]
    return [item for item in (TEXT, PHONE, spelled, key, key[10:]) if item in where]


def bad_requests(client: TestClient) -> Iterator[object]:
    body = json.dumps({"inputs": [CANARY]}, ensure_ascii=False).encode()
    post = client.post
    yield post("/v1/classify", content=body[:-2], headers=JSON)
    yield post("/v1/classify", content=body + PHONE.encode(), headers=JSON)
    yield post("/v1/classify", content=body.decode().encode("gb18030"), headers=JSON)
    yield post("/v1/classify", content=body, headers={"Content-Type": f"text/{PHONE}"})
    yield post("/v1/classify", json={"inputs": CANARY})
    yield post("/v1/classify", json={"inputs": [{CANARY: CANARY}]})
    yield post("/v1/classify", json={CANARY: [CANARY]})
    yield post("/v1/classify", json={"inputs": ["x"], CANARY: 1})
    yield post("/v1/classify", json={"inputs": [CANARY] * 65})
    yield post("/v1/classify", json={"inputs": [CANARY * 2000]})
    yield post("/v1/classify", json={"inputs": [CANARY] * 20_000})
    yield post("/v1/classify", content=json.dumps({"inputs": [CANARY + "\ud800"]}).encode(), headers=JSON)
    yield post("/v1/classify", json={"inputs": ["x"]}, headers={"X-Request-Timeout-Ms": PHONE + "x"})
    yield post(f"/v1/classify/{CANARY}?q={CANARY}", json={})
    yield client.get(f"/v1/classify?{PHONE}")
    yield client.request(f"M{PHONE}", f"/{CANARY}", headers={"X-Request-ID": PHONE, "User-Agent": PHONE})
    yield post("/v1/classify", json={"inputs": [CANARY]}, headers={"Authorization": f"Bearer {PHONE}"})
    yield post("/v1/classify", json={"inputs": [CANARY]}, headers={"X-Request-Timeout-Ms": "1"})
    yield post("/v1/classify", json={"inputs": [CANARY + "毒药"]})


def test_nothing_leaks(start: Callable[..., TestClient], lines: io.StringIO, key: str) -> None:
    client = start(KeywordEngine(seconds_per_token=0.001, poison="毒药"))
    good = client.post("/v1/classify", json={"inputs": [CANARY, PHONE]})
    assert good.status_code == 200
    for answer in bad_requests(client):
        assert answer.status_code in {400, 401, 404, 405, 413, 415, 422, 503}, answer.text
        assert answer.json()["detail_zh"]
        assert leaks(answer.text + str(answer.headers), key) == []
    shown = client.get("/metrics").text
    logged = lines.getvalue()
    assert leaks(shown, key) == []
    assert leaks(logged, key) == []
    assert '"event": "model_failed"' in logged


def test_one_line_per_request(start: Callable[..., TestClient], lines: io.StringIO) -> None:
    client = start()
    lines.truncate(0)
    lines.seek(0)
    client.post("/v1/classify", json={"inputs": ["着火", "追尾了"]})
    line = json.loads(lines.getvalue())
    assert {name: line[name] for name in line if name not in ("request_id", "ms", "timestamp")} == {
        "event": "request",
        "level": "info",
        "method": "POST",
        "route": "/v1/classify",
        "status": 200,
        "key": 1,
        "inputs": 2,
        "tokens": 9,
    }
    assert 0 < line["ms"] < 10_000


def test_lines_of_libraries_lose_the_messages_of_their_exceptions(lines: io.StringIO) -> None:
    try:
        raise ValueError(PHONE)
    except ValueError:
        logging.getLogger("uvicorn.error").exception("Exception in ASGI application")
        structlog.get_logger().exception("ours")
    first, second = map(json.loads, lines.getvalue().splitlines())
    assert (first["error"], first["logger"], second["error"]) == ("ValueError", "uvicorn.error", "ValueError")
    assert PHONE not in lines.getvalue()


def test_the_console_form_is_for_people() -> None:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    stream = io.StringIO()
    try:
        configure_logs("console", "warning", stream)
        structlog.get_logger().info("hidden")
        structlog.get_logger().warning("shown", tokens=3)
    finally:
        root.handlers, root.level = handlers, level
        structlog.reset_defaults()
    assert "hidden" not in stream.getvalue()
    assert "tokens=3" in stream.getvalue()


def bad_reports(client: TestClient) -> Iterator[object]:
    good = {"channel": "sms", "grid": "g", "text": "x"}
    for name in (*good, "external_id", "reporter", "time"):
        yield client.post("/v1/reports", json={**good, name: f"{CANARY}\0" * 40})
        yield client.post("/v1/reports", json={**good, name: [CANARY]})
    yield client.post("/v1/reports", json={**good, CANARY: CANARY})
    yield client.post("/v1/reports", json={**good, "attachments": [{"kind": CANARY, "ref": CANARY, CANARY: 1}]})
    yield client.post("/v1/reports", json={**good, "text": CANARY * 2000})
    yield client.post("/v1/reports", json={**good, "text": "另外的话", "external_id": PHONE})
    yield client.post("/v1/reports", json=good, headers={"Idempotency-Key": CANARY.encode()})
    yield client.post("/v1/reports/batch", json={"reports": CANARY})
    yield client.get(f"/v1/reports/{CANARY}")
    yield client.get("/v1/reports", params={"cursor": CANARY, "grid": CANARY, "label": CANARY})
    yield client.get("/v1/reports", params={"status": CANARY})


def test_nothing_of_a_report_leaks(
    start: Callable[..., TestClient], lines: io.StringIO, key: str, store: Store
) -> None:
    """Of a stored one neither: not into the history, the audit chain or the outbox."""
    client = start(KeywordEngine(poison="毒药"))
    media = [{"kind": "image", "ref": CANARY, "name": CANARY}]
    report = {"channel": "sms", "grid": "g", "reporter": CANARY, "external_id": PHONE, "attachments": media}
    sure = client.post("/v1/reports", json={**report, "text": f"{CANARY}，安全账户"})
    assert sure.json()["status"] == "dispatched"
    assert client.post("/v1/reports", json={**report, "external_id": "2", "text": CANARY + "毒药"}).status_code == 201
    for answer in bad_reports(client):
        assert answer.status_code in {404, 409, 413, 422}, answer.text
        assert leaks(answer.text + str(answer.headers), key) == []
    batch = client.post("/v1/reports/batch", json={"reports": [CANARY, {CANARY: 1}, {**report, "text": CANARY * 2000}]})
    assert [item["status"] for item in batch.json()["outcomes"]] == [422, 422, 413]
    shown = batch.text + client.get("/metrics").text + lines.getvalue()
    with store.read() as session:
        told = [row.payload | {"external_id": ""} for row in session.scalars(select(OutboxRow))]
        shown += str(told) + str(session.execute(text("SELECT * FROM events")).all())
    assert len(told) == 1
    assert leaks(shown, key) == []
