"""Masking, personal data, and what is fictitious."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triage.decision import Entity
from triage.text import EntityFinder, Normalizer, is_fictitious, mask, personal

TEXT = settings.get_profile("text")

MASKED = [
    ("打13800001234吧", "打138****1234吧"),
    ("打1 3 8 0 0 0 0 1 2 3 4吧", "打1 3 8 ******* 1 2 3 4吧"),
    ("壹柒零零零零零伍陆壹捌", "壹柒零****伍陆壹捌"),
    ("电话010-00003319", "电话010-******19"),
    ("证件11010519491231002X", "证件110*************2X"),
    ("卡号6222 0000 0000 8809", "卡号6222 ********* 8809"),
    ("粤B12345跑了", "粤B***45跑了"),
    ("加薇❤ dz0000lm进群", "加薇❤ d*****lm进群"),
    ("QQ 2900008176", "QQ 29******76"),
    ("信箱ab.cd@mail.example", "信箱a****@mail.example"),
    ("点http://u:p@a.example/x?tel=1#f吧", "点http://***@a.example/x?*******吧"),
    ("点http://a.example/x吧，昨晚8点转了3000", "点http://a.example/x吧，昨晚8点转了3000"),
]


@pytest.mark.parametrize(("raw", "expected"), MASKED)
def test_masks(normalizer: Normalizer, finder: EntityFinder, raw: str, expected: str) -> None:
    assert mask(raw, finder.find(normalizer(raw))) == expected


def test_offsets_beyond_the_text_are_passed_over() -> None:
    assert mask("短", [Entity("mobile", 5, 16, "13800001234")]) == "短"


def test_short_values_are_hidden_all_the_same() -> None:
    assert mask("abc", [Entity("wechat", 0, 3, "abc")]) == "a**"


PIECES = [
    *"0123456789 -@.:：号加了，信VQ粤B\u200b",
    "13800001234",
    "卡号",
    "6222000000008809",
    "身份证110105000000001234",
    "薇❤",
    "abc0000",
    "010-00003319",
    "粤B12345",
    "http://u@a.example/?q=1",
    "x@y.example",
]


@TEXT
@given(raw=st.one_of(st.text(max_size=30), st.lists(st.sampled_from(PIECES), max_size=12).map("".join)))
def test_masking_keeps_the_length_and_settles(normalizer: Normalizer, finder: EntityFinder, raw: str) -> None:
    entities = finder.find(normalizer(raw))
    masked = mask(raw, entities)
    assert len(masked) == len(raw)
    assert mask(masked, entities) == masked
    assert mask(masked, finder.find(normalizer(masked))) == masked


def test_personal_kinds(normalizer: Normalizer, finder: EntityFinder) -> None:
    raw = "昨晚8点，13800001234让我在解放路转3000块，点a.example/x和b.example/?id=5，打96110，车牌粤B12345"
    assert [item.kind for item in personal(finder.find(normalizer(raw)))] == ["mobile", "link", "plate"]


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("mobile", "13800001234", True),
        ("mobile", "13812340000", False),
        ("landline", "01000003319", True),
        ("landline", "01088881234", False),
        ("bank_card", "6222000000008809", True),
        ("bank_card", "6222021234567890128", False),
        ("id_number", "110105000000001234", True),
        ("id_number", "11010519491231002X", False),
        ("wechat", "dz0000lm", True),
        ("wechat", "dz1234lm", False),
        ("qq", "2900008176", True),
        ("plate", "粤B00012", True),
        ("plate", "粤B12345", False),
        ("link", "http://u@a.b.example:80/x", True),
        ("link", "shop.example.com/x", True),
        ("link", "x.test", True),
        ("link", "notexample.com", False),
        ("link", "example.org.top/x", False),
        ("link", "http://real.com/?u=a.example", False),
        ("email", "a@b.example", True),
        ("email", "a@qq.com", False),
        ("amount", "3000", False),
    ],
)
def test_fictitious_values(kind: str, value: str, expected: bool) -> None:
    assert is_fictitious(Entity(kind, 0, 1, value)) is expected
