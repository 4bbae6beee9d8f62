"""Reports over HTTP, on both databases."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from driver import TEXT
from sqlalchemy import func, select
from starlette.testclient import TestClient

from api import backlog, deciding
from api.app import create_app
from api.deciding import Decider
from api.intake import Intake
from api.metrics import Metrics
from api.report_schemas import EXAMPLE_RECEIPT, BatchResponse, CaseBody, PageResponse, ReceiptBody, ReportRequest
from api.settings import Settings
from triage.cases import audit, keys
from triage.cases.models import DecisionRow, OutboxRow, Report
from triage.cases.reports import Draft
from triage.cases.store import Store
from triage.decision import Decision
from triage.testing import KeywordEngine

REPORT = {"channel": "hotline", "grid": "丰城-03", "text": TEXT, "external_id": "e-1"}
URL = "/v1/reports"

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "LOOK_S", 0.02)
    monkeypatch.setattr(deciding, "PAUSE_S", 0.02)


def count(store: Store, model: type[Any]) -> int:
    with store.read() as session:
        return session.scalar(select(func.count()).select_from(model)) or 0


def decided(client: TestClient, uid: str) -> dict[str, Any]:
    """The report once it is decided."""
    for _ in range(500):
        body: dict[str, Any] = client.get(f"{URL}/{uid}").json()
        if body["status"] != "accepted":
            return body
        time.sleep(0.01)
    raise AssertionError("the report stays undecided")


def test_a_sure_report_is_stored_decided_and_dispatched(client: TestClient, store: Store) -> None:
    answer = client.post(URL, json=REPORT)
    body = ReceiptBody.model_validate_json(answer.content)
    assert answer.status_code == 201
    assert answer.headers["location"] == f"{URL}/{body.id}"
    assert (body.status, body.reasons, body.external_id) == ("dispatched", [], "e-1")
    assert answer.json()["decision"] == KeywordEngine().classify([TEXT])[0].to_json()
    assert (count(store, Report), count(store, DecisionRow), count(store, OutboxRow)) == (1, 1, 1)


def test_doubts_go_to_review_with_reasons(client: TestClient, store: Store) -> None:
    media = [{"kind": "image", "ref": "oss://1.jpg"}]
    for text, attachments, reasons in (
        ("说不清", [], ["low_confidence", "ambiguous"]),
        ("", media, ["media_only"]),
        ("😀", [], ["media_only"]),
    ):
        body = client.post(
            URL, json={"channel": "wechat", "grid": "g", "text": text, "attachments": attachments}
        ).json()
        assert (body["status"], body["reasons"]) == ("review", reasons)
    assert count(store, OutboxRow) == 0


def test_a_report_is_read_back_with_its_history(client: TestClient) -> None:
    given = {**REPORT, "reporter": "u-7", "time": "2026-11-28T08:00:00+08:00"}
    given["attachments"] = [{"kind": "audio", "ref": "oss://1.amr", "name": None}]
    uid = client.post(URL, json=given).json()["id"]
    answer = client.get(f"{URL}/{uid}")
    body = answer.json()
    CaseBody.model_validate_json(answer.content)
    assert {name: body[name] for name in given} == {**given, "time": "2026-11-28T00:00:00Z"}
    assert [event["kind"] for event in body["history"]] == ["accepted", "decided", "dispatched"]
    assert [event["actor"] for event in body["history"]] == ["key:1", "model:keyword-1", "system"]
    assert TEXT not in json.dumps(body["history"], ensure_ascii=False)


def test_the_same_request_gets_the_same_bytes(client: TestClient, store: Store) -> None:
    for report, headers in (
        (REPORT, {}),
        ({**REPORT, "external_id": None}, {"Idempotency-Key": "k1"}),
        ({**REPORT, "external_id": "e-2"}, {"Idempotency-Key": "k2"}),
    ):
        before = count(store, Report)
        answers = [client.post(URL, json=report, headers=headers) for _ in range(3)]
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.content for answer in answers}) == 1
        assert count(store, Report) == before + 1
    assert count(store, OutboxRow) == 3


def test_another_body_under_the_same_name_is_409(client: TestClient, store: Store) -> None:
    client.post(URL, json=REPORT, headers={"Idempotency-Key": "k"})
    for report, headers in (
        ({**REPORT, "text": "别的事"}, {}),
        ({**REPORT, "external_id": "e-2"}, {"Idempotency-Key": "k"}),
    ):
        answer = client.post(URL, json=report, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (409, "report_conflict")
    assert count(store, Report) == 1


def test_sixty_four_at_once_make_one_report_and_get_one_answer(start: Callable[..., TestClient], store: Store) -> None:
    client = start(KeywordEngine(seconds_per_token=0.005), request_timeout_s=120)
    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(lambda _: client.post(URL, json=REPORT), range(64)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert answers[0].json()["status"] == "dispatched"
    assert (count(store, Report), count(store, DecisionRow), count(store, OutboxRow)) == (1, 1, 1)


def test_a_sender_in_a_hurry_is_told_accepted_and_nothing_else_later(
    start: Callable[..., TestClient], store: Store
) -> None:
    client = start(KeywordEngine(seconds_per_token=0.02))
    answer = client.post(URL, json=REPORT, headers={"X-Request-Timeout-Ms": "50"})
    body = answer.json()
    assert (answer.status_code, body["status"], body["decision"]) == (201, "accepted", None)
    assert decided(client, body["id"])["status"] == "dispatched"
    assert client.post(URL, json=REPORT).content == answer.content
    assert (count(store, DecisionRow), count(store, OutboxRow)) == (1, 1)


def test_a_lease_begins_when_it_is_written(store: Store, key: str) -> None:
    """Another write takes longer than the sender's patience; still no other process takes the report up at once."""
    left: list[timedelta] = []

    async def classify(text: str, _: float) -> Decision:
        with store.read() as session:
            left.extend(due - datetime.now(UTC) for due in session.scalars(select(Report.due)))
        return KeywordEngine().classify([text])[0]

    intake = Intake(store, Metrics(), Decider(store, classify))
    with ThreadPoolExecutor(1) as pool:
        with store.write():
            taken = intake.submit(1, [Draft("sms", "g", TEXT)], time.monotonic() + 0.5)
            answer = pool.submit(asyncio.run, taken)
            time.sleep(1)
        answer.result()
    assert left[0] > timedelta(0)


def test_reports_are_accepted_before_the_model_is_there(store: Store, key: str) -> None:
    """The engine takes a while to warm up; what came meanwhile is decided afterwards."""

    engine = Gated()
    engine.gate.clear()
    app = create_app(Settings(), engine, store)
    with TestClient(app, headers={"X-API-Key": key}) as client:
        while client.get("/v1/reports").status_code == 503:
            pass
        assert client.get("/health/ready").status_code == 503
        body = client.post(URL, json=REPORT).json()
        assert (body["status"], body["decision"]) == ("accepted", None)
        engine.gate.set()
        assert decided(client, body["id"])["decision"]["label"] == "telecom_fraud"


class Gated(KeywordEngine):
    """Computes when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()

    def infer(self, windows: Any) -> Any:
        self.gate.wait()
        return super().infer(windows)


def test_an_overloaded_model_refuses_no_report(start: Callable[..., TestClient], store: Store) -> None:
    engine = Gated()
    client = start(engine, queue_tokens=64, batch_tokens=64)
    engine.gate.clear()
    given = [{**REPORT, "external_id": f"e-{n}", "text": TEXT * 2} for n in range(20)]
    with ThreadPoolExecutor(20) as pool:
        hurry = {"X-Request-Timeout-Ms": "500"}
        answers = list(pool.map(lambda report: client.post(URL, json=report, headers=hurry), given))
    full = 'triage_dropped_requests_total{reason="queue_full"}'
    engine.gate.set()
    assert {(answer.status_code, answer.json()["status"]) for answer in answers} == {(201, "accepted")}
    assert full in client.get("/metrics").text
    assert {decided(client, answer.json()["id"])["status"] for answer in answers} == {"dispatched"}
    assert (count(store, DecisionRow), count(store, OutboxRow)) == (20, 20)


def test_a_broken_model_is_asked_again_when_it_is_whole(start: Callable[..., TestClient]) -> None:
    engine = KeywordEngine()
    client = start(engine)
    engine.broken = True
    body = client.post(URL, json=REPORT).json()
    assert body["status"] == "accepted"
    engine.broken = False
    assert decided(client, body["id"])["status"] == "dispatched"


def test_a_report_that_no_model_reads_goes_to_review(start: Callable[..., TestClient], store: Store) -> None:
    client = start(KeywordEngine(poison="毒药"))
    first = client.post(URL, json={**REPORT, "text": "毒药"})
    found = decided(client, first.json()["id"])
    assert (found["status"], found["reasons"], found["decision"]) == ("review", ["model_failed"], None)
    assert client.post(URL, json={**REPORT, "text": "毒药"}).content == first.content
    with store.read() as session:
        assert session.scalar(select(Report.attempts)) == deciding.MAX_ATTEMPTS


def test_a_report_that_takes_longer_than_a_request_may_is_decided(start: Callable[..., TestClient]) -> None:
    client = start(KeywordEngine(seconds_per_token=0.02), request_timeout_s=0.1)
    body = client.post(URL, json=REPORT).json()
    assert (body["status"], decided(client, body["id"])["status"]) == ("accepted", "dispatched")


def test_a_report_that_is_never_read_in_time_goes_to_review(
    start: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "DECIDE_S", 0.1)
    engine = Gated()
    client = start(engine, request_timeout_s=0.1)
    engine.gate.clear()
    uid = client.post(URL, json=REPORT).json()["id"]
    body = decided(client, uid)
    engine.gate.set()
    assert (body["status"], body["reasons"], body["decision"]) == ("review", ["model_failed"], None)


def test_a_batch_has_an_outcome_for_each(start: Callable[..., TestClient], store: Store) -> None:
    client = start(max_text_chars=50)
    client.post(URL, json=REPORT)
    items = [
        REPORT,
        {**REPORT, "text": "别的"},
        {**REPORT, "external_id": "b-1", "text": "着火了"},
        {**REPORT, "external_id": "b-1", "text": "着火了"},
        {**REPORT, "external_id": "b-2", "text": "长" * 51},
        {"channel": "sms", "grid": "g"},
        "no report",
        {**REPORT, "external_id": None, "text": "说不清"},
    ]
    answer = client.post(f"{URL}/batch", json={"reports": items})
    assert answer.status_code == 200
    outcomes = answer.json()["outcomes"]
    BatchResponse.model_validate_json(answer.content)
    assert [item["status"] for item in outcomes] == [201, 409, 201, 201, 413, 422, 422, 201]
    assert outcomes[0]["report"] == client.post(URL, json=REPORT).json()
    assert outcomes[2] == outcomes[3]
    assert outcomes[4]["problem"]["detail_zh"] == "reports[4].text 有 51 个字符，上限 50，请拆分后发送"
    assert outcomes[5]["problem"]["errors"][0]["field"] == "reports[5].text"
    assert outcomes[6]["problem"]["detail_zh"] == "reports[6] 应为 JSON 对象"
    assert [outcomes[n]["report"]["status"] for n in (2, 7)] == ["dispatched", "review"]
    assert count(store, Report) == 3


def test_a_batch_repeated_under_its_key_is_the_same(client: TestClient, store: Store) -> None:
    items = [{"channel": "c", "grid": "g", "text": text} for text in ("着火", "着火", "你好")]
    first, second = (
        client.post(f"{URL}/batch", json={"reports": items}, headers={"Idempotency-Key": "k"}) for _ in range(2)
    )
    assert first.content == second.content
    assert count(store, Report) == 3
    changed = client.post(f"{URL}/batch", json={"reports": items[1:]}, headers={"Idempotency-Key": "k"})
    assert [item["status"] for item in changed.json()["outcomes"]] == [201, 409]


def test_a_batch_holds_up_to_two_hundred_and_fifty_six(client: TestClient, store: Store) -> None:
    items = [{"channel": "c", "grid": "g", "text": "着火", "external_id": str(n)} for n in range(257)]
    assert client.post(f"{URL}/batch", json={"reports": items}).status_code == 422
    answer = client.post(f"{URL}/batch", json={"reports": items[:256]})
    assert {item["status"] for item in answer.json()["outcomes"]} == {201}
    assert (count(store, Report), count(store, OutboxRow)) == (256, 256)
    with store.read() as session:
        assert audit.verify(session).number == 3 * 256


def test_pages_and_filters(client: TestClient) -> None:
    for n in range(7):
        client.post(URL, json={**REPORT, "external_id": str(n), "grid": f"g{n % 2}", "text": ["着火", "你好"][n > 3]})
    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        answer = client.get(URL, params={"limit": 3, **({"cursor": cursor} if cursor else {})})
        page = PageResponse.model_validate_json(answer.content)
        found += [str(report.external_id) for report in page.reports]
        cursor = page.next
        client.post(URL, json={**REPORT, "external_id": f"later {len(found)}"})
    assert found == list("6543210")
    query = {"label": "fire_hazard", "grid": "g1", "status": "dispatched", "channel": "hotline"}
    assert [report["external_id"] for report in client.get(URL, params=query).json()["reports"]] == ["3", "1"]
    assert client.get(URL, params={"since": "2099-01-01T00:00:00Z"}).json() == {"reports": [], "next": None}
    assert client.get(URL, params={"until": "2001-01-01T00:00:00+08:00"}).json() == {"reports": [], "next": None}


def test_another_keys_reports_are_not_there(client: TestClient, store: Store) -> None:
    uid = client.post(URL, json=REPORT).json()["id"]
    with store.write() as session:
        other = keys.create(session, "other")[1]
    client.headers["Authorization"] = f"Bearer {other}"
    time.sleep(0.6)  # a key that is newer than the copy of the keys
    answers = [client.get(f"{URL}/{name}") for name in (uid, uid[::-1], "%00")]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(404, "report_not_found")] * 3
    assert client.get(URL).json() == {"reports": [], "next": None}
    assert client.get(URL, params={"cursor": uid}).status_code == 422
    assert client.post(URL, json=REPORT).status_code == 201
    assert count(store, Report) == 2


@pytest.mark.parametrize(
    ("change", "field", "zh"),
    [
        ({"text": None}, "text", "text 应为字符串"),
        ({"text": "着\u0000火"}, "text", "text 含有不允许的字符（如控制字符）"),
        ({"grid": ""}, "grid", "grid 含有不允许的字符（如控制字符）"),
        ({"channel": "c" * 33}, "channel", "channel 至多 32 个字符"),
        ({"time": "2026-11-28T08:00:00"}, "time", "time 须带时区，如 2026-11-28T08:00:00+08:00"),
        ({"time": "昨天"}, "time", "time 应为 ISO 8601 时间"),
        ({"time": "0001-01-01T00:00:00+14:00"}, "time", "time 不能小于 2000-01-01T00:00:00Z"),
        ({"attachments": [{"kind": "exe", "ref": "x"}]}, "attachments[0].kind", None),
        ({"attachments": [{"kind": "image", "ref": "x"}] * 21}, "attachments", "attachments 至多 20 项，请分批发送"),
        ({"status": "dispatched"}, "body", "body 不认识的字段，请删除"),
    ],
)
def test_wrong_reports_are_refused_by_field(client: TestClient, change: dict[str, Any], field: str, zh: str) -> None:
    answer = client.post(URL, json={**REPORT, **change})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    found = answer.json()["errors"][0]
    assert found["field"] == field
    assert zh is None or found["detail_zh"] == zh


@pytest.mark.parametrize(
    "query",
    [
        "status=done",
        "limit=0",
        "limit=201",
        "since=yesterday",
        "cursor=x",
        "cursor=%00",
        "grid=%00",
        "label=" + "x" * 65,
    ],
)
def test_wrong_queries_are_refused(client: TestClient, query: str) -> None:
    answer = client.get(f"{URL}?{query}")
    assert answer.status_code == 422
    assert "x" * 65 not in answer.text


@pytest.mark.parametrize("name", ["", "k" * 129, "two words", "键"])
def test_strange_idempotency_keys_are_refused(client: TestClient, name: str) -> None:
    answer = client.post(URL, json=REPORT, headers={"Idempotency-Key": name.encode()})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "header.Idempotency-Key")


def test_a_stopping_service_takes_nothing_in(client: TestClient, store: Store) -> None:
    client.app.state.service.begin_drain()
    answer = client.post(URL, json=REPORT)
    assert (answer.status_code, answer.json()["code"]) == (503, "draining")
    assert count(store, Report) == 0


def test_a_database_that_is_away_is_a_503(client: TestClient, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    client.post(URL, json=REPORT)

    def away(*_: object, **__: object) -> None:
        from sqlalchemy.exc import OperationalError

        raise OperationalError(TEXT, {}, Exception(TEXT))

    with monkeypatch.context() as patch:
        patch.setattr(store._engine, "connect", away)
        answer = client.post(URL, json={**REPORT, "external_id": "e-2"})
    assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
    assert TEXT not in answer.text
    assert client.post(URL, json={**REPORT, "external_id": "e-2"}).status_code == 201


def test_the_example_is_a_report(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    operation = document["paths"][URL]["post"]["requestBody"]["content"]["application/json"]
    assert ReportRequest.model_validate(operation["example"])
    assert ReceiptBody.model_validate(EXAMPLE_RECEIPT)
    used = {part.split('"')[0] for part in json.dumps(document).split("#/components/schemas/")[1:]}
    assert used <= set(document["components"]["schemas"])
    assert "#/$defs" not in json.dumps(document)


def test_metrics_count_reports(client: TestClient) -> None:
    for text in (TEXT, TEXT, "别的"):
        client.post(URL, json={**REPORT, "text": text})
    lines = client.get("/metrics").text.splitlines()
    for outcome in ("accepted", "repeated", "conflict"):
        assert f'triage_reports_total{{outcome="{outcome}"}} 1.0' in lines


def test_two_services_on_one_database_double_nothing(store: Store, key: str) -> None:
    """Both work off one backlog while both take the same reports in."""

    async def scene() -> None:
        from driver import running, send

        apps = [create_app(Settings(), KeywordEngine(seconds_per_token=0.0005), store) for _ in range(2)]
        async with running(apps[0]), running(apps[1]):
            bodies = [json.dumps({**REPORT, "external_id": str(n % 40)}).encode() for n in range(160)]
            headers = {"x_request_timeout_ms": "30"}
            got = await asyncio.gather(
                *(send(apps[n % 2], key, [body], path=URL, **headers) for n, body in enumerate(bodies))
            )
            assert {item.status for item in got} == {201}
            assert all(len({got[n].body for n in range(start, 160, 40)}) == 1 for start in range(40))
            while any(service_pending(store)):
                await asyncio.sleep(0.02)

    asyncio.run(scene())
    assert (count(store, Report), count(store, DecisionRow), count(store, OutboxRow)) == (40, 40, 40)


def service_pending(store: Store) -> list[int]:
    with store.read() as session:
        return list(session.scalars(select(Report.id).where(Report.status == "accepted")))
