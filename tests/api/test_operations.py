from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from api.app import create_app
from api.errors import STATUS, TITLES, problem, status_of
from api.schemas import EXAMPLE_DECISION, DecisionBody, Problem
from api.settings import Settings
from triage import errors
from triage.cases.store import Store
from triage.decision import Decision
from triage.testing import KeywordEngine


def test_health(client: TestClient) -> None:
    client.headers.pop("Authorization")
    assert client.get("/health/live").json() == {"status": "alive"}
    assert client.get("/health/ready").json() == {"status": "ready"}


def test_alive_but_not_ready_while_the_release_cannot_be_loaded(store: Store, key: str, tmp_path: Path) -> None:
    app = create_app(Settings(model=tmp_path / "none"), store=store)
    failures: list[str] = []
    app.state.service.on_failure = lambda: failures.append("told")
    with TestClient(app, headers={"X-API-Key": key}) as client:
        while not failures:
            assert client.get("/health/live").status_code == 200
        for path in ("/health/ready", "/v1/model"):
            answer = client.get(path)
            assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "not_ready", "5")
        answer = client.post("/v1/classify", json={"inputs": ["x"]})
        assert answer.status_code == 503
        assert "模型载入失败" in answer.json()["detail_zh"]


def test_a_slow_release_does_not_hold_up_the_start(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        asyncio.get_running_loop().slow_callback_duration = 1
        started = asyncio.get_running_loop().time()
        app = create_app(Settings(), KeywordEngine(seconds_per_token=0.01), store)
        async with app.router.lifespan_context(app):
            assert asyncio.get_running_loop().time() - started < 0.2
            assert not app.state.service.ready

    asyncio.run(scene())


def test_model(client: TestClient) -> None:
    body = client.get("/v1/model").json()
    assert body["version"] == "keyword-1"
    assert body["stage"] == "encoder"
    assert [label["name"] for label in body["labels"]] == [
        "道路交通",
        "治安与公共安全",
        "火灾隐患",
        "涉嫌电信网络诈骗",
        "其他/不受理",
    ]
    assert body["labels"][2]["unit"] == "消防救援大队"
    assert body["routing"]["auto"]["traffic"] == 0.8
    assert body["calibration"]["temperature"] == 1.0
    assert body["metrics"] == {"test": {"macro_f1": 0.9}}
    assert body["urgencies"] == {"emergency": "紧急", "urgent": "较急", "routine": "一般"}
    assert body["loaded_at"].endswith("Z")


def test_metrics_count_answers_and_decisions(start: Callable[..., TestClient]) -> None:
    client = start()
    client.post("/v1/classify", json={"inputs": ["着火", "着火", ""]})
    client.post("/v1/classify", content=b"{", headers={"Content-Type": "application/json"})
    client.get("/v1/nothing")
    lines = client.get("/metrics").text.splitlines()
    for line in (
        'triage_http_requests_total{method="POST",route="/v1/classify",status="200"} 1.0',
        'triage_http_requests_total{method="POST",route="/v1/classify",status="400"} 1.0',
        'triage_http_requests_total{method="GET",route="unmatched",status="404"} 1.0',
        'triage_decisions_total{label="fire_hazard",route="auto",urgency="emergency"} 2.0',
        'triage_decisions_total{label="other",route="review",urgency="routine"} 1.0',
        'triage_review_reasons_total{reason="empty"} 1.0',
        'triage_stage_seconds_count{stage="interpret"} 3.0',
        "triage_batch_tokens_sum 8.0",
        "triage_queue_tokens 0.0",
        'triage_model_info{stage="encoder",version="keyword-1"} 1.0',
    ):
        assert line in lines


@pytest.fixture
def document() -> dict[str, Any]:
    app: FastAPI = create_app(Settings(), KeywordEngine())
    return app.openapi()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method} {path}", operation


def chinese(text: str) -> bool:
    return any("\u4e00" <= c <= "\u9fff" for c in text)


def test_every_operation_is_described_in_chinese_with_examples(document: dict[str, Any]) -> None:
    names = [name for name, _ in operations(document)]
    assert names == [
        "post /v1/classify",
        "post /v1/reports",
        "get /v1/reports",
        "post /v1/reports/batch",
        "get /v1/reports/{id}",
        "get /v1/model",
        "get /health/live",
        "get /health/ready",
        "get /metrics",
    ]
    for name, operation in operations(document):
        assert chinese(operation["summary"]), name
        assert chinese(operation["description"]), name
        assert all(chinese(tag) for tag in operation["tags"]), name
        for status, response in operation["responses"].items():
            assert chinese(response["description"]), (name, status)
            for kind, content in response["content"].items():
                assert "example" in content or "$ref" in content["schema"], (name, status, kind)
    body = document["paths"]["/v1/classify"]["post"]["requestBody"]["content"]["application/json"]
    assert body["schema"]["properties"]["inputs"]["maxItems"] == 64
    assert len(body["example"]["inputs"]) == 1


def test_the_document_is_served_without_a_key(client: TestClient, document: dict[str, Any]) -> None:
    client.headers.pop("Authorization")
    assert client.get("/openapi.json").json() == json.loads(json.dumps(document))


def test_every_problem_of_the_document_is_a_problem(document: dict[str, Any]) -> None:
    for _, operation in operations(document):
        for status, response in operation["responses"].items():
            if "application/problem+json" in response["content"]:
                example = Problem.model_validate(response["content"]["application/problem+json"]["example"])
                assert str(example.status) == status
    assert document["components"]["schemas"]["Problem"]["properties"]["detail_zh"]
    assert document["paths"]["/v1/classify"]["post"]["security"] == [{"bearer": []}, {"header": []}]


def test_the_document_describes_what_decisions_are() -> None:
    assert DecisionBody.model_validate(EXAMPLE_DECISION)
    assert Decision.from_json(EXAMPLE_DECISION).to_json() == EXAMPLE_DECISION
    decision = KeywordEngine().classify(["着火，电话13800138000"])[0]
    assert DecisionBody.model_validate_json(json.dumps(decision.to_json())).entities[0].value == "13800138000"


def test_every_error_class_has_one_status_with_a_title() -> None:
    assert set(STATUS.values()) == set(TITLES)
    assert status_of(errors.TextTooLong("", "")) == 413
    assert status_of(errors.RowUnreadable("", "")) == 422
    assert status_of(errors.Overloaded("", "")) == 429
    assert status_of(errors.NotReady("", "")) == 503
    assert status_of(errors.StoreError("", "")) == 503
    assert status_of(errors.ReleaseCorrupt("", "")) == 500
    assert status_of(KeyError()) == 500


def test_an_error_that_nobody_raised_on_purpose_says_nothing_of_itself() -> None:
    for error in (ValueError("13800138000"), errors.ReleaseCorrupt("13800138000", "13800138000")):
        body = problem(error, "an id")
        assert "13800138000" not in json.dumps(body)
        assert body["code"] == "internal_error"
