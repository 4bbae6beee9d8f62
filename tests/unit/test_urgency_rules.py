"""Every urgency rule that is shipped: messages that make it speak, messages that its ``unless`` silences."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from triage import policy
from triage.text import Normalizer

LEXICON = Path(__file__).parents[2] / "data" / "lexicon"
ROWS = {row["name"]: row for row in tomllib.loads((LEXICON / "urgency.toml").read_text(encoding="utf-8"))["rule"]}

RAISED = [
    ("open_fire", "fire_hazard", "六栋四楼着火了，快来人"),
    ("open_fire", "fire_hazard", "太可怕了，对面楼着火了"),
    ("open_fire", "fire_hazard", "仓库起火了，里面还有人没出来"),
    ("open_fire", "fire_hazard", "路边那排垃圾桶烧起来了"),
    ("open_fire", "fire_hazard", "窗户里已经看得见火苗"),
    ("open_fire", "fire_hazard", "阳台上有明火，没人在家"),
    ("open_fire", "fire_hazard", "火势往隔壁店铺去了"),
    ("open_fire", "fire_hazard", "电表箱正往外窜火"),
    ("open_fire", "fire_hazard", "厂房顶上冒黑烟，越来越大"),
    ("open_fire", "fire_hazard", "整个楼梯间都是浓烟，下不去"),
    ("open_fire", "fire_hazard", "有辆面包车着了火停在匝道上"),
    ("open_fire", "fire_hazard", "充电的电瓶爆炸了，车棚都在烧"),
    ("open_fire", "fire_hazard", "楼下饭店的气瓶炸了，有人受伤"),
    ("gas_leak", "fire_hazard", "隔壁燃气在漏，楼道里都能闻到"),
    ("gas_leak", "fire_hazard", "一进门好大的煤气味，不敢开灯"),
    ("carbon_monoxide", "fire_hazard", "老两口在屋里烤炭盆，像是一氧化碳中毒，躺着不动"),
    ("carbon_monoxide", "public_safety", "我同事煤气中毒了，脸都发紫，快派救护车"),
    ("money_moving", "telecom_fraud", "我妈正在给对方转账，怎么劝都不听"),
    ("money_moving", "telecom_fraud", "我刚才给他转了两万，现在觉得不对劲"),
    ("money_moving", "telecom_fraud", "钱刚转出去五分钟，能不能追回来"),
    ("money_wanted", "telecom_fraud", "有人冒充公检法打电话，让我把钱转到安全账户"),
    ("money_wanted", "telecom_fraud", "微信上那个主管催我妈先交三千保证金才给提现"),
    ("money_wanted", "telecom_fraud", "车上这位大姐说有警官叫她去取现金，我觉得不对"),
    ("screen_shared", "telecom_fraud", "老人还在跟他屏幕共享，我在旁边拦不下来"),
    ("screen_shared", "telecom_fraud", "我把验证码都告诉了对方，怎么办"),
    ("screen_shared", "telecom_fraud", "我把密码告诉了别人，他说他是银行的"),
    ("violence_now", "public_safety", "夜市口正在打人，一个小伙被按在地上"),
    ("violence_now", "public_safety", "有人拿着菜刀追他老婆，在三单元楼下"),
    ("violence_now", "public_safety", "听见隔壁有女的喊救命"),
    ("violence_now", "public_safety", "楼顶有个姑娘坐在边上要跳楼"),
    ("violence_now", "public_safety", "有个小孩掉进河里了，岸边没人会水"),
    ("violence_now", "public_safety", "室友把自己锁在厕所里割腕了"),
    ("people_hurt", "traffic", "骑车的被撞得满头是血，坐不起来"),
    ("people_hurt", "public_safety", "公园长椅上有个老头昏迷，旁边没有家属"),
    ("people_hurt", "public_safety", "人倒在地上没有呼吸了，谁会急救"),
    ("people_hurt", "public_safety", "隔壁老太太叫不醒，嘴唇发白"),
    ("people_hurt", "traffic", "司机被卡在驾驶室里出不来"),
    ("people_hurt", "fire_hazard", "五楼过道全是烟，孩子困在屋里"),
    ("drunk_driver_moving", "traffic", "一个喝多的男的还在开，车头都撞瘪了"),
    ("drunk_driver_moving", "traffic", "有辆大货车刹车失灵往坡下冲，前面全是车"),
]
SILENCED = [
    ("open_fire", "fire_hazard", "垃圾桶刚才着火了，保安已经扑灭"),
    ("open_fire", "fire_hazard", "楼道全是纸箱，万一烧起来谁跑得掉"),
    ("open_fire", "fire_hazard", "去年这里就起火了一次，线路到现在没换"),
    ("gas_leak", "fire_hazard", "上周燃气漏了，师傅说阀门老化要换"),
    ("gas_leak", "fire_hazard", "液化气罐放在灶台边，我怕煤气泄漏"),
    ("carbon_monoxide", "fire_hazard", "天冷烤火要注意通风，谨防煤气中毒"),
    ("money_moving", "telecom_fraud", "对方催我正在转账，幸好银行的人拦住了"),
    ("money_moving", "telecom_fraud", "客服说在转账页面等他，我还没点"),
    ("money_wanted", "telecom_fraud", "冒充客服的让我转账，我没理就挂了"),
    ("money_wanted", "telecom_fraud", "上个月网上有人叫我先交押金才发货，现在人都找不到"),
    ("screen_shared", "telecom_fraud", "他在屏幕共享里要我念密码，我没给"),
    ("screen_shared", "telecom_fraud", "验证码报给他之前，老伴喊了一句别信，电话就挂了"),
    ("violence_now", "public_safety", "上个月也是这个人，拿着刀在楼下骂街"),
    ("violence_now", "public_safety", "刚才有人掉进河里，已经救上来了"),
    ("people_hurt", "traffic", "路口太险，去年有人被撞得满脸是血"),
    ("people_hurt", "fire_hazard", "消防门锁死了，万一人被困在里面怎么办"),
    ("drunk_driver_moving", "traffic", "他经常喝了酒还开着车到处跑"),
]


@pytest.fixture(scope="module")
def rules() -> dict[str, policy.UrgencyRule]:
    return {rule.name: rule for rule in policy.load_urgency_rules(LEXICON)}


@pytest.fixture(scope="module")
def normalizer() -> Normalizer:
    return Normalizer.load(LEXICON)


@pytest.mark.parametrize(("name", "label", "message"), RAISED, ids=[row[0] for row in RAISED])
def test_a_rule_speaks(
    rules: dict[str, policy.UrgencyRule], normalizer: Normalizer, name: str, label: str, message: str
) -> None:
    assert rules[name].speaks(label, normalizer(message).text)


@pytest.mark.parametrize(("name", "label", "message"), SILENCED, ids=[row[0] for row in SILENCED])
def test_a_rule_is_silenced(
    rules: dict[str, policy.UrgencyRule], normalizer: Normalizer, name: str, label: str, message: str
) -> None:
    rule, text = rules[name], normalizer(message).text
    assert label in rule.labels
    assert rule.when.search(text), "without its unless the rule would speak"
    assert not rule.speaks(label, text)


def test_a_rule_speaks_only_for_its_labels(rules: dict[str, policy.UrgencyRule], normalizer: Normalizer) -> None:
    for name, _, message in RAISED:
        assert not rules[name].speaks("other", normalizer(message).text)


def test_every_rule_every_label_and_every_pattern_has_a_message(normalizer: Normalizer) -> None:
    texts = {name: [normalizer(message).text for rule, _, message in RAISED if rule == name] for name in ROWS}
    bare = [
        (name, pattern)
        for name, row in ROWS.items()
        for pattern in row["when"]
        if not any(re.search(pattern, text) for text in texts[name])
    ]
    assert bare == []
    labels = {(name, label) for name, row in ROWS.items() for label in row["labels"]}
    assert {(name, label) for name, label, _ in RAISED} == labels
    assert {name for name, _, _ in SILENCED} == {name for name, row in ROWS.items() if row.get("unless")}
