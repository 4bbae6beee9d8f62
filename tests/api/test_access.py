from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError
from starlette.testclient import TestClient

from api import security
from triage.cases import keys
from triage.cases.store import Store

BODY = {"inputs": ["着火"]}


def statuses(client: TestClient, **headers: str) -> int:
    client.headers.pop("Authorization", None)
    return client.post("/v1/classify", json=BODY, headers=headers).status_code


def test_both_headers_carry_the_key(client: TestClient, key: str) -> None:
    assert statuses(client, Authorization=f"Bearer {key}") == 200
    assert statuses(client, Authorization=f"bearer  {key} ") == 200
    assert statuses(client, **{"X-API-Key": key}) == 200


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer ", "Basic eA==", "Bearer nobody", "nobody"])
def test_without_a_good_key_nothing_goes(client: TestClient, value: str) -> None:
    client.headers.pop("Authorization")
    for method, path in (("POST", "/v1/classify"), ("GET", "/v1/model")):
        answer = client.request(method, path, headers={"Authorization": value})
        assert (answer.status_code, answer.json()["code"]) == (401, "key_missing")
        assert answer.headers["www-authenticate"] == 'Bearer realm="tip-triage"'
        assert "triage keys create" in answer.json()["detail_zh"]


def test_the_key_counts_before_the_body(client: TestClient) -> None:
    client.headers.pop("Authorization")
    assert client.post("/v1/classify", content=b"{" * 10).status_code == 401


def test_a_revoked_key_is_refused(start: Callable[..., TestClient], store: Store) -> None:
    client = start(key_cache_s=0)
    assert client.get("/v1/model").status_code == 200
    with store.write() as session:
        keys.revoke(session, "platform")
    answer = client.get("/v1/model")
    assert (answer.status_code, answer.json()["code"]) == (403, "key_revoked")


def test_a_new_key_works_at_once_and_an_old_copy_serves_until_its_time(
    start: Callable[..., TestClient], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(security, "MIN_AGE_S", 0.0)
    client = start(key_cache_s=300)
    assert client.get("/v1/model").status_code == 200
    with store.write() as session:
        _, second = keys.create(session, "second")
        keys.revoke(session, "platform")
    assert client.get("/v1/model").status_code == 200
    assert client.get("/v1/model", headers={"Authorization": f"Bearer {second}"}).status_code == 200
    assert client.get("/v1/model").status_code == 403


def test_keys_outlive_a_silent_database(
    start: Callable[..., TestClient], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = start(key_cache_s=0)
    assert client.get("/v1/model").status_code == 200

    def silent(*_: Any) -> None:
        raise OperationalError("SELECT", {}, Exception("gone"))

    monkeypatch.setattr(store, "_begin", silent)
    assert client.get("/v1/model").status_code == 200
    monkeypatch.setattr(security, "STALE_S", -1.0)
    answer = client.get("/v1/model")
    assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")


def test_metrics_need_a_key_from_elsewhere(start: Callable[..., TestClient]) -> None:
    for address, headers, status in (
        ("127.0.0.1", {}, 200),
        ("::1", {}, 200),
        ("127.0.0.1", {"X-Forwarded-For": "10.0.0.9"}, 401),
        ("10.0.0.9", {}, 401),
        ("testclient", {}, 401),
    ):
        client = start(address=address)
        held = client.headers.pop("Authorization")
        assert client.get("/metrics", headers=headers).status_code == status
        assert client.get("/metrics", headers={"Authorization": held, **headers}).status_code == 200
    client = start(address="10.0.0.9", metrics_open=True)
    client.headers.pop("Authorization")
    assert client.get("/metrics").status_code == 200


def test_unknown_paths_and_methods(client: TestClient) -> None:
    answer = client.get("/v1/nothing/13800138000")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert "13800138000" not in answer.text
    answer = client.get("/v1/classify")
    assert (answer.status_code, answer.json()["code"], answer.headers["allow"]) == (405, "method_not_allowed", "POST")
    assert answer.json()["detail_zh"] == "此路径只接受 POST"
    assert client.post("/v1/classify/", json=BODY).status_code == 404
    assert client.request("CANARY", "/v1/classify").status_code == 405


def test_a_uuid_is_taken_as_request_id_and_nothing_else(client: TestClient) -> None:
    given = str(uuid.uuid4())
    assert client.get("/health/live", headers={"X-Request-ID": given}).headers["x-request-id"] == given
    for strange in ("13800138000", "x" * 200, f"{given} {given}"):
        made = client.get("/health/live", headers={"X-Request-ID": strange}).headers["x-request-id"]
        assert uuid.UUID(made).version == 4
