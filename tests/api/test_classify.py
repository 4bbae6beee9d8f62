from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest
from driver import TEXT
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from api.schemas import ClassifyResponse
from triage.testing import KeywordEngine

JSON = {"Content-Type": "application/json"}


def post(client: TestClient, body: bytes, **headers: str):
    return client.post("/v1/classify", content=body, headers={**JSON, **headers})


def test_decides_in_the_order_of_the_inputs(client: TestClient) -> None:
    texts = ["小区消防通道被占用", TEXT, "今天天气不错"]
    answer = client.post("/v1/classify", json={"inputs": texts})
    body = ClassifyResponse.model_validate_json(answer.content)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert body.model == "keyword-1"
    assert [item.label for item in body.decisions] == ["fire_hazard", "telecom_fraud", "other"]
    assert [item.unit for item in body.decisions] == ["消防救援大队", "反诈中心", "网格中心登记"]
    assert answer.json()["decisions"] == [item.to_json() for item in KeywordEngine().classify(texts)]


def test_what_holds_nothing_to_read_goes_to_review(client: TestClient) -> None:
    answer = client.post("/v1/classify", json={"inputs": ["", " \n\t", "😀👍"]})
    decisions = answer.json()["decisions"]
    assert [item["route"] for item in decisions] == ["review", "review", "review"]
    assert [item["reasons"] for item in decisions] == [["empty"], ["empty"], ["media_only"]]


def test_takes_sixty_four_texts_and_a_nul(client: TestClient) -> None:
    answer = client.post("/v1/classify", json={"inputs": ["着火\u0000了"] * 64})
    assert answer.status_code == 200
    assert [item["urgency"] for item in answer.json()["decisions"]] == ["emergency"] * 64


def test_a_long_text_is_read_in_windows_and_offsets_are_raw(client: TestClient) -> None:
    text = "啊" * 600 + "着火"
    decision = client.post("/v1/classify", json={"inputs": [text]}).json()["decisions"][0]
    assert decision["read"] == [0, 602]
    assert decision["evidence"] == [{"start": 600, "end": 602, "weight": 1.0}]


def test_a_byte_order_mark_is_no_error(client: TestClient) -> None:
    assert post(client, b"\xef\xbb\xbf" + json.dumps({"inputs": ["a"]}).encode()).status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "malformed_body"),
        (b"{", 400, "malformed_body"),
        (b'{"inputs":["\xff\xfe"]}', 400, "malformed_body"),
        ('{"inputs":["x"]}'.encode("utf-16"), 400, "malformed_body"),
        (b'{"inputs":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400, "malformed_body"),
        (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, 400, "malformed_body"),
        (b'{"inputs":' + b"[" * 100 + b"]" * 100 + b"}", 422, "invalid_request"),
        (b'{"inputs":["ok","\\ud800"]}', 422, "invalid_request"),
        (b'{"inputs":["a"],"\\udfff":1}', 422, "invalid_request"),
        (b'{"inputs":[' + b"9" * 5000 + b"]}", 400, "malformed_body"),
        (b"[]", 422, "invalid_request"),
        (b"null", 422, "invalid_request"),
        (b"{}", 422, "invalid_request"),
        (b'{"inputs":"x"}', 422, "invalid_request"),
        (b'{"inputs":{"0":"x"}}', 422, "invalid_request"),
        (b'{"inputs":[1]}', 422, "invalid_request"),
        (b'{"inputs":[null]}', 422, "invalid_request"),
        (b'{"inputs":[]}', 422, "invalid_request"),
        (json.dumps({"inputs": ["x"] * 65}).encode(), 422, "invalid_request"),
        (b'{"inputs":["x"],"texts":[]}', 422, "invalid_request"),
    ],
)
def test_wrong_bodies(client: TestClient, body: bytes, status: int, code: str) -> None:
    answer = post(client, body)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["status"] == status
    assert problem["type"] == f"urn:tip-triage:problem:{code}"
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert problem["detail_zh"]


@pytest.mark.parametrize(
    ("body", "field", "zh", "en"),
    [
        (b'{"inputs":["a",2]}', "inputs[1]", "inputs[1] 应为字符串", "inputs[1] must be a string"),
        (b'{"inputs":[]}', "inputs", "inputs 至少 1 项", "inputs takes 1 items or more, got 0"),
        (
            json.dumps({"inputs": ["x"] * 65}).encode(),
            "inputs",
            "inputs 至多 64 项，请分批发送",
            "inputs takes at most 64 items; send several requests",
        ),
        (b'{"inputs":["x"],"13800138000":1}', "body", "body 不认识的字段，请删除", "body is unknown; remove it"),
        (
            b'{"inputs":["ok","\\ud800"]}',
            "inputs[1]",
            "inputs[1] 含有不成对的代理项，不是合法的 Unicode",
            "inputs[1] holds a lone surrogate, which is not valid Unicode",
        ),
    ],
)
def test_a_complaint_names_field_and_limit(client: TestClient, body: bytes, field: str, zh: str, en: str) -> None:
    problem = post(client, body).json()
    found = problem["errors"][0]
    assert (found["field"], found["detail_zh"], found["detail"]) == (field, zh, en)
    assert (problem["detail_zh"], problem["detail"]) == (zh, en)


def test_other_media_types_are_refused(client: TestClient) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""):
        answer = post(client, b'{"inputs":["x"]}', **{"Content-Type": kind})
        assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")
    assert post(client, b'{"inputs":["x"]}', **{"Content-Type": "Application/JSON; charset=utf-8"}).status_code == 200


def test_a_text_over_the_limit_is_named(start: Callable[..., TestClient]) -> None:
    client = start(max_text_chars=10)
    assert client.post("/v1/classify", json={"inputs": ["一" * 10]}).status_code == 200
    answer = client.post("/v1/classify", json={"inputs": ["一", "一" * 11]})
    assert (answer.status_code, answer.json()["code"]) == (413, "text_too_long")
    assert answer.json()["detail_zh"] == "inputs[1] 有 11 个字符，上限 10，请拆分后发送"


def test_a_body_over_the_limit_by_its_declared_length(start: Callable[..., TestClient]) -> None:
    client = start(max_body_bytes=1024)
    fits = json.dumps({"inputs": ["x" * (1024 - 16)]}).encode()
    assert len(fits) == 1024
    assert post(client, fits).status_code == 200
    answer = post(client, fits + b" ")
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert answer.headers["connection"] == "close"
    assert "1024" in answer.json()["detail_zh"]


def test_a_wish_for_a_shorter_time_is_kept(start: Callable[..., TestClient]) -> None:
    client = start(KeywordEngine(seconds_per_token=0.01))
    started = time.monotonic()
    answer = client.post("/v1/classify", json={"inputs": ["x" * 200]}, headers={"X-Request-Timeout-Ms": "50"})
    assert time.monotonic() - started < 1.5
    assert (answer.status_code, answer.json()["code"]) == (503, "deadline_exceeded")


def test_a_wish_for_more_time_changes_nothing(client: TestClient) -> None:
    answer = client.post("/v1/classify", json={"inputs": ["x"]}, headers={"X-Request-Timeout-Ms": "9" * 400})
    assert answer.status_code == 200


@pytest.mark.parametrize("value", ["0", "-1", "soon", "9" * 5000, "1.5"])
def test_a_strange_time_is_refused_without_being_repeated(client: TestClient, value: str) -> None:
    answer = client.post("/v1/classify", json={"inputs": ["x"]}, headers={"X-Request-Timeout-Ms": value})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert answer.json()["errors"][0]["field"] == "header.X-Request-Timeout-Ms"


def test_one_poisonous_text_fails_its_own_request_alone(start: Callable[..., TestClient]) -> None:
    client = start(KeywordEngine(poison="毒药"))
    answer = client.post("/v1/classify", json={"inputs": ["着火", "毒药"]})
    assert (answer.status_code, answer.json()["code"]) == (503, "model_failed")
    assert answer.json()["detail"].startswith("the model failed on inputs[1]")
    assert client.post("/v1/classify", json={"inputs": ["着火"]}).status_code == 200


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8) | st.just("inputs"), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(st.lists(st.text(st.characters(exclude_categories=[])), min_size=1, max_size=64))
def test_any_texts(client: TestClient, texts: list[str]) -> None:
    answer = post(client, json.dumps({"inputs": texts}).encode())
    whole = not any("\ud800" <= c <= "\udfff" for c in json.loads(json.dumps("\0".join(texts))))
    assert answer.status_code == (200 if whole else 422)
    if whole:
        for text, decision in zip(texts, answer.json()["decisions"], strict=True):
            assert 0 <= decision["read"][0] <= decision["read"][1] <= len(text)
            assert abs(sum(decision["scores"].values()) - 1) < 1e-4


@given(JSON_VALUES)
@example({"inputs": [float("nan")]})
@example({"inputs": ["\ud800"]})
@example({"\ud800": ["\ud800"]})
def test_any_json(client: TestClient, value: object) -> None:
    assert post(client, json.dumps(value).encode()).status_code in {200, 400, 422}


@given(st.binary(max_size=300))
def test_any_bytes(client: TestClient, body: bytes) -> None:
    assert post(client, body).status_code in {200, 400, 422}


@given(st.binary(max_size=40).filter(lambda b: not set(b) & set(b"\r\n\0")))
def test_any_key(client: TestClient, header: bytes) -> None:
    answer = client.post("/v1/classify", content=b"{}", headers={**JSON, "Authorization": header})
    assert answer.status_code == 401
