"""Entities: kinds, raw offsets, canonical values, order of the rules, linear time."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triage.errors import LexiconError
from triage.text import EntityFinder, Normalizer
from triage.text.amounts import number_of, yuan

TEXT = settings.get_profile("text")

FOUND = [
    ("我手机13800001234打不通", [("mobile", "13800001234", "13800001234")]),
    ("打138-0000-1234问", [("mobile", "138-0000-1234", "13800001234")]),
    ("+86 13800001234", [("mobile", "13800001234", "13800001234")]),
    ("找我1 3 8 0 0 0 0 1 2 3 4", [("mobile", "1 3 8 0 0 0 0 1 2 3 4", "13800001234")]),
    ("壹柒零零零零零伍陆壹捌办证", [("mobile", "壹柒零零零零零伍陆壹捌", "17000005618")]),
    ("幺三八零零零零一二三四", [("mobile", "幺三八零零零零一二三四", "13800001234")]),
    ("１３８００００１２３４", [("mobile", "１３８００００１２３４", "13800001234")]),
    ("电话010-00003319转12", [("landline", "010-00003319", "01000003319")]),
    ("(0571)88880000", [("landline", "(0571)88880000", "057188880000")]),
    ("客服400-0000-617好", [("landline", "400-0000-617", "4000000617")]),
    ("打了110又打96110", [("service_number", "110", "110"), ("service_number", "96110", "96110")]),
    ("95588给我发短信", [("service_number", "95588", "95588")]),
    ("点http://a.example/x?t=1，领", [("link", "http://a.example/x?t=1", "http://a.example/x?t=1")]),
    ("请登录abc.top/x领取", [("link", "abc.top/x", "abc.top/x")]),
    ("登ｗａｐ．ｃｃｂ．example（点）", [("link", "ｗａｐ．ｃｃｂ．example", "wap.ccb.example")]),
    ("1oo86sc.example", [("link", "1oo86sc.example", "1oo86sc.example")]),
    ("写信到a.b@mail.example吧", [("email", "a.b@mail.example", "a.b@mail.example")]),
    ("卡6222021234567890128收", [("bank_card", "6222021234567890128", "6222021234567890128")]),
    ("工行卡号6222 0000 0000 8809", [("bank_card", "6222 0000 0000 8809", "6222000000008809")]),
    ("证件11010519491231002x号", [("id_number", "11010519491231002x", "11010519491231002X")]),
    ("身份证号：110105000000001234", [("id_number", "110105000000001234", "110105000000001234")]),
    ("身份证110105491231002", [("id_number", "110105491231002", "110105491231002")]),
    ("粤B12345撞了川A·D12345", [("plate", "粤B12345", "粤B12345"), ("plate", "川A·D12345", "川AD12345")]),
    ("京A1234警和粤Z1234港", [("plate", "京A1234警", "京A1234警"), ("plate", "粤Z1234港", "粤Z1234港")]),
    ("加薇❤ dz0000lm进群", [("wechat", "dz0000lm", "dz0000lm")]),
    ("V信：dz_0000", [("wechat", "dz_0000", "dz_0000")]),
    ("扣扣 2900008176", [("qq", "2900008176", "2900008176")]),
    ("QQ群：⑧⑥〇〇〇〇②⑦③", [("qq", "⑧⑥〇〇〇〇②⑦③", "860000273")]),
    ("✈️ ka0000z", [("contact_id", "ka0000z", "ka0000z")]),
    ("被骗十二万", [("amount", "十二万", "120000")]),
    ("要3000块，先付￥1,200.5", [("amount", "3000块", "3000"), ("amount", "￥1,200.5", "1200.5")]),
    ("转了两千三", [("amount", "两千三", "2300")]),
    ("要5k，我给1.2w", [("amount", "5k", "5000"), ("amount", "1.2w", "12000")]),
    ("借三万五没还", [("amount", "三万五", "35000")]),
    ("转了3000，三千多块没了", [("amount", "3000", "3000"), ("amount", "三千多块", "3000")]),
    ("下午3点半到现在", [("time", "下午3点半", "下午3点半")]),
    ("昨晚8点被偷", [("time", "昨晚8点", "昨晚8点")]),
    ("11月27日凌晨", [("time", "11月27日凌晨", "11月27日凌晨")]),
    ("2024-05-01报的", [("time", "2024-05-01", "2024-05-01")]),
    ("2024年3月5日下午两点", [("time", "2024年3月5日下午两点", "2024-03-05下午两点")]),
    ("凌晨两点还在吵，22:30也吵", [("time", "凌晨两点", "凌晨两点"), ("time", "22:30", "22:30")]),
    ("在解放路128号门口", [("road", "解放路128号", "解放路128号")]),
    ("我在人民路路口", [("road", "人民路", "人民路")]),
    ("G25高速上，滨湖大道也堵", [("road", "G25高速", "G25高速"), ("road", "滨湖大道", "滨湖大道")]),
    (
        "3栋2单元501室，阳光花园小区",
        [("place", "3栋2单元501室", "3栋2单元501室"), ("place", "阳光花园小区", "阳光花园小区")],
    ),
    ("到人民广场地铁站", [("place", "人民广场地铁站", "人民广场地铁站")]),
]

NOTHING = [
    "住110号，花了120平",
    "对面马路上一条小路，背街小巷",
    "路灯坏了，路面有坑",
    "有一点不好，两点一线",
    "提出3点建议",
    "一万人来看，三千户居民",
    "三块石头挡路",
    "版本1.2.3，比例3:5",
    "快递单号123456789012345678901234",
    "我们小区，这个小区",
    "第一百次",
    "iPhone12 Pro",
]


def found(normalizer: Normalizer, finder: EntityFinder, raw: str) -> list[tuple[str, str, str]]:
    return [(item.kind, raw[item.start : item.end], item.value) for item in finder.find(normalizer(raw))]


@pytest.mark.parametrize(("raw", "expected"), FOUND)
def test_entities_in_raw_offsets(
    normalizer: Normalizer, finder: EntityFinder, raw: str, expected: list[tuple[str, str, str]]
) -> None:
    assert found(normalizer, finder, raw) == expected


@pytest.mark.parametrize("raw", NOTHING)
def test_what_is_no_entity(normalizer: Normalizer, finder: EntityFinder, raw: str) -> None:
    assert found(normalizer, finder, raw) == []


def test_the_first_rule_wins(normalizer: Normalizer, finder: EntityFinder) -> None:
    # Also a QQ number, and part of a link.
    assert found(normalizer, finder, "QQ13800001234") == [("mobile", "13800001234", "13800001234")]
    assert [item[0] for item in found(normalizer, finder, "http://a.example/13800001234")] == ["link"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12万", "120000"),
        ("￥1,200.50", "1200.5"),
        ("1.2w", "12000"),
        ("5K", "5000"),
        ("三百万元", "3000000"),
        ("元", None),
    ],
)
def test_yuan(text: str, value: str | None) -> None:
    assert yuan(text) == value


@pytest.mark.parametrize(
    ("numerals", "value"),
    [
        ("十二万", 120000),
        ("两千三", 2300),
        ("三万五", 35000),
        ("一百零五", 105),
        ("二十三", 23),
        ("三四千", 3000),
        ("一万零三百", 10300),
        ("一亿两千万", 120000000),
        ("五", 5),
        ("一二三", None),
        ("零", None),
    ],
)
def test_numerals(numerals: str, value: int | None) -> None:
    assert number_of(numerals) == value


PIECES = [
    *"0123456789 -.:/@¥万千百元块年月日点号路街小区加粤BV上下午昨天信Q一二三十",
    "http://",
    "13800001234",
    "微信",
    "卡号",
    "abc.top",
]


@TEXT
@given(raw=st.one_of(st.text(max_size=40), st.lists(st.sampled_from(PIECES), max_size=20).map("".join)))
def test_entities_are_ordered_and_apart(normalizer: Normalizer, finder: EntityFinder, raw: str) -> None:
    last = 0
    for entity in finder.find(normalizer(raw)):
        assert last <= entity.start < entity.end <= len(raw)
        assert entity.value
        last = entity.end


@pytest.mark.parametrize(
    "unit", ["1", "a", "a.", "@", "a@", "1,", "万", "路", "昨天", "人民路", "www.", "¥", "2024-", "川A", "1 "]
)
def test_time_is_linear(normalizer: Normalizer, finder: EntityFinder, unit: str) -> None:
    def seconds(length: int) -> float:
        normalized = normalizer((unit * length)[:length])
        start = time.perf_counter()
        finder.find(normalized)
        return time.perf_counter() - start

    short, long = min(seconds(20_000) for _ in range(3)), min(seconds(160_000) for _ in range(3))
    assert long < 24 * max(short, 0.01)


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ('kind="k"\npattern="a"', "group"),
        ('kind="k"\npattern="(?P<x><<nope>>)"', "unknown fragment"),
        ('kind="k"\npattern="(?P<x>a)"\ncheck="nope"', "unknown check"),
        ('kind="k"\npattern="(?P<x>a)"\nvalue="nope"', "unknown value"),
        ('kind="k"\npattern="(?P<x>[a"', "bad pattern"),
        ('pattern="(?P<x>a)"', "kind must be"),
        ('kind="k"\npattern="(?P<x><<loop>>)"', "hold each other"),
    ],
)
def test_bad_rules_are_named(lexicon: Path, tmp_path: Path, rule: str, says: str) -> None:
    (tmp_path / "places.toml").write_bytes((lexicon / "places.toml").read_bytes())
    (tmp_path / "entities.toml").write_text(f'[fragments]\nloop="<<loop>>"\n[[entity]]\n{rule}\n', encoding="utf-8")
    with pytest.raises(LexiconError, match=f"entities.toml.*{says}"):
        EntityFinder.load(tmp_path)
