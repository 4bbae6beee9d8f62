"""The shipped release behind the application: what is bad is refused or reviewed, and nothing is ever a 5xx."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from triage.engine import Triage

FEW = settings(max_examples=int(os.environ.get("TEST_EXAMPLES", "30")))
FIRE = "三楼阳台着火了，正在往外冒黑烟"
MEGABYTE = 1_000_000


def body(*texts: object) -> bytes:
    return json.dumps({"inputs": texts}).encode()


REFUSED: dict[str, tuple[bytes, int, str]] = {
    "nothing": (b"", 400, "malformed_body"),
    "cut off": (b'{"inputs":["a"', 400, "malformed_body"),
    "invalid UTF-8": (b'{"inputs":["\xc3\x28\xff"]}', 400, "malformed_body"),
    "GBK": (b'{"inputs":["' + FIRE.encode("gbk") + b'"]}', 400, "malformed_body"),
    "UTF-16": (('{"inputs":["' + FIRE + '"]}').encode("utf-16"), 400, "malformed_body"),
    "a bare NUL": (b'{"inputs":["a\x00b"]}', 400, "malformed_body"),
    "100k brackets": (b'{"inputs":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400, "malformed_body"),
    "100k open brackets": (b"[" * 100_000, 400, "malformed_body"),
    "100k braces": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, 400, "malformed_body"),
    "a number of 5,000 digits": (b'{"inputs":[' + b"9" * 5000 + b"]}", 400, "malformed_body"),
    "a lone high surrogate": (b'{"inputs":["\\ud800"]}', 422, "invalid_request"),
    "a lone low surrogate": (b'{"inputs":["a\\udfffb"]}', 422, "invalid_request"),
    "surrogates the wrong way round": (b'{"inputs":["\\ude00\\ud83d"]}', 422, "invalid_request"),
    "a lone surrogate as a name": (b'{"inputs":["a"],"\\ud800":1}', 422, "invalid_request"),
    "no inputs": (body(), 422, "invalid_request"),
    "65 inputs": (body(*["x"] * 65), 422, "invalid_request"),
    "a number": (body(1), 422, "invalid_request"),
    "null": (body(None), 422, "invalid_request"),
    "a list in the list": (body(["x"]), 422, "invalid_request"),
    "an object in the list": (body({"text": "x"}), 422, "invalid_request"),
    "a string for the list": (b'{"inputs":"x"}', 422, "invalid_request"),
    "a list for the object": (b'["x"]', 422, "invalid_request"),
    "another field": (b'{"inputs":["x"],"model":"y"}', 422, "invalid_request"),
    "a megabyte of Latin": (body("x" * MEGABYTE), 413, "text_too_long"),
    "a megabyte of Chinese": (json.dumps({"inputs": ["啊" * MEGABYTE]}).encode(), 413, "body_too_large"),
    "a megabyte of zero-width spaces": (
        json.dumps({"inputs": ["\u200b" * 300_000]}, ensure_ascii=False).encode(),
        413,
        "text_too_long",
    ),
}

REVIEWED: dict[str, tuple[str, str]] = {
    "nothing": ("", "empty"),
    "blanks": (" \t\r\n ", "empty"),
    "wide blanks": ("\u3000\u00a0\u2003", "empty"),
    "a NUL": ("\0", "empty"),
    "emoji": ("😀👍🏻🔥👨‍👩‍👧", "media_only"),
    "a picture": ("[图片]", "media_only"),
    "punctuation": ("？！……。。。", "media_only"),
    "20,000 zero-width spaces": ("\u200b\u200d" * 10_000, "empty"),
    "20,000 combining marks": ("\u0301" * 20_000, "empty"),
    "English": ("A car ran into a cyclist at the crossing, the rider cannot stand up.", "out_of_scope"),
    "Japanese": ("駅前の交差点で車と自転車がぶつかりました。けが人がいるようです。", "out_of_scope"),
    "Japanese with many Chinese characters": (
        "昨夜、駅前の交差点で乗用車二台が衝突し、運転手が病院に搬送された。",
        "out_of_scope",
    ),
    "katakana": ("マンションノカイダンデヒガデテイマス", "out_of_scope"),
    "Korean": ("어젯밤에 아파트 계단에서 불이 났습니다", "out_of_scope"),
    "Arabic": ("سيارة اصطدمت بدراجة عند التقاطع والسائق مصاب", "out_of_scope"),
    "Russian": ("На лестнице пожар, вызовите пожарных", "out_of_scope"),
    "20,000 Latin letters": ("x" * 20_000, "out_of_scope"),
}


@pytest.fixture
def client(start: Callable[..., TestClient], served: Triage) -> TestClient:
    return start(served)


def post(client: TestClient, content: bytes, **headers: str) -> Any:
    return client.post("/v1/classify", content=content, headers={"Content-Type": "application/json", **headers})


def sound(decision: dict[str, Any], text: str, engine: Triage) -> None:
    """What must hold of every decision."""
    assert decision["label"] in engine.taxonomy.ids
    assert sum(decision["scores"].values()) == pytest.approx(1, abs=1e-4)
    assert bool(decision["reasons"]) == (decision["route"] == "review")
    assert 0 <= decision["read"][0] <= decision["read"][1] <= len(text)
    for span in (*decision["evidence"], *decision["entities"]):
        assert 0 <= span["start"] < span["end"] <= len(text)


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_body_is_refused_with_its_reason(client: TestClient, name: str) -> None:
    content, status, code = REFUSED[name]
    answer = post(client, content)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail_zh"]


@pytest.mark.parametrize("name", REVIEWED)
def test_what_is_no_chinese_message_goes_to_an_officer(client: TestClient, served: Triage, name: str) -> None:
    text, reason = REVIEWED[name]
    answer = post(client, body(text))
    assert answer.status_code == 200
    (decision,) = answer.json()["decisions"]
    sound(decision, text, served)
    assert decision["route"] == "review"
    assert reason in decision["reasons"]


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer "}, {"Authorization": "Bearer triage_wrong"}])
def test_a_missing_or_wrong_key_is_refused(client: TestClient, headers: dict[str, str]) -> None:
    client.headers.pop("Authorization")
    answer = post(client, body(FIRE), **headers)
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")


def test_another_media_type_is_refused(client: TestClient) -> None:
    assert post(client, body(FIRE), **{"Content-Type": "text/plain"}).json()["code"] == "unsupported_media_type"


def test_what_cannot_be_seen_changes_no_label(client: TestClient, served: Triage) -> None:
    texts = [FIRE, "\u200b" * 10_000 + FIRE, "\u200b\ufeff".join(FIRE), FIRE.replace("着", "\0着")]
    answer = post(client, body(*texts))
    assert answer.status_code == 200
    for text, decision in zip(texts, answer.json()["decisions"], strict=True):
        sound(decision, text, served)
        assert (decision["label"], decision["urgency"]) == ("fire_hazard", "emergency")


def test_the_longest_text_is_answered_and_says_what_was_left_out(client: TestClient, served: Triage) -> None:
    text = "楼道里堆满纸箱。" * 2500
    answer = post(client, body(text))
    assert answer.status_code == 200
    (decision,) = answer.json()["decisions"]
    sound(decision, text, served)
    assert decision["truncated"]
    assert "truncated" in decision["reasons"]
    assert decision["read"][1] < len(text)


def test_sixty_four_texts_are_answered_in_order(client: TestClient) -> None:
    answer = post(client, body(*[FIRE, ""] * 32))
    assert [item["label"] for item in answer.json()["decisions"]] == ["fire_hazard", "other"] * 32


ANY_TEXT = st.text(st.characters(exclude_categories=[]), max_size=80)
CHINESE = st.text(st.sampled_from("着火了转账验证码车撞人打架的，。！\u200b\0😀A1 \n"), max_size=80)


@FEW
@given(texts=st.lists(ANY_TEXT | CHINESE, min_size=1, max_size=4))
@example(texts=["\U0010ffff", "\ufffe", "\u202e着火了"])
def test_any_texts_are_decided_on(client: TestClient, served: Triage, texts: list[str]) -> None:
    answer = post(client, body(*texts))
    # Two escapes that make a pair are one character to every reader of JSON.
    read = json.loads(json.dumps(texts))
    if any("\ud800" <= c <= "\udfff" for text in read for c in text):
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
        return
    assert answer.status_code == 200
    for text, decision in zip(read, answer.json()["decisions"], strict=True):
        sound(decision, text, served)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.just("inputs") | ANY_TEXT, inner, max_size=3),
    max_leaves=10,
)


@FEW
@given(content=st.binary(max_size=200) | JSON_VALUES.map(lambda value: json.dumps(value).encode()))
@example(content=b'{"inputs":["\\ud83d\\ude00"]}')
def test_any_body_is_answered_or_refused(client: TestClient, content: bytes) -> None:
    answer = post(client, content)
    assert answer.status_code in {200, 400, 422}
    kind = "application/json" if answer.status_code == 200 else "application/problem+json"
    assert answer.headers["content-type"] == kind
