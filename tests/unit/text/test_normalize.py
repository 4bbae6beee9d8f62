"""Normalisation: disguises undone, clean text left alone, offsets exact, time linear."""

from __future__ import annotations

import time
import tomllib
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triage.errors import LexiconError
from triage.text import Normalizer

LEXICON = Path(__file__).parents[3] / "data" / "lexicon"
RULES = tomllib.loads((LEXICON / "disguise.toml").read_text(encoding="utf-8"))
TEXT = settings.get_profile("text")

DISGUISED = [
    # Unicode forms
    ("ＡＢＣ１２３，（全角）", "ABC123,(全角)"),
    ("加\u200b微\u200d信\ufeff", "加微信"),
    ("转\u202e账\u2066到\x00这里\ud800", "转账到这里"),
    ("轉\ufe0f账", "转账"),
    ("退\u20e3费\u20e3已\u20e3开\u20e3通", "退费已开通"),
    ("z\u0335\u0321a\u0316\u0301lgo cafe\u0301", "zálgo café"),
    ("②③⑧元 ⓿❶➂", "238元 013"),
    ("⑴⑶⑻⑴⑶⑻", "138138"),
    ("🅰🅱 ᴠx", "AB 微信"),
    ("  前后   空格\t\t与\r\n\r\n换行  ", "前后 空格 与\n换行"),
    # Traditional, odd forms
    ("請轉帳到銀行帳戶", "请转账到银行账户"),
    ("貸歀単", "贷款单"),
    ("樓上著火了，地上乾燥", "楼上着火了,地上干燥"),
    # separators
    ("加-微-信", "加微信"),
    ("转.账给他", "转账给他"),
    ("淘丨宝丨网", "淘宝网"),
    ("您丨的丨积丨分丨可丨兑丨换", "您的积分可兑换"),
    ("跑一男一栏一目组", "跑男栏目组"),
    ("需 要 周 转 找我", "需要周转 找我"),
    ("贷=款=秒=批", "贷款秒批"),
    ("先+薪+后+认+证+金", "先薪后认证金"),
    ("【公·安】通知", "【公安】通知"),
    ("加微🔥信领🎁取", "加微信领🎁取"),
    ("验✨证✨码别给", "验证码别给"),
    ("贷💯款、银👉行", "贷款、银行"),
    # numbers
    ("1 3 8 0 0 0 0 1 2 3 4", "13800001234"),
    ("1-3-8-0-0-0-0-1-2-3-4", "13800001234"),
    ("壹柒零零零零零伍陆壹捌", "17000005618"),
    ("幺三八零零零零一二三四", "13800001234"),
    ("打幺幺零", "打110"),
    ("⑧⑥〇〇〇〇②⑦③", "860000273"),
    ("138OOOO1234", "13800001234"),
    ("壹伍壹OOOO陆贰零叁", "15100006203"),
    ("登 1oo86sc.example", "登 10086sc.example"),
    # split characters
    ("亻言用卡 亻尔好", "信用卡 你好"),
    ("微亻言号", "微信号"),
    ("先车专账", "先转账"),
    ("扌口款", "扣款"),
    ("彳攵亻言", "微信"),
    ("点击钅连接", "点击链接"),
    ("冫东结 忄夬弟辶", "冻结 快递"),
    # WeChat, QQ
    ("加薇❤️ abc0000", "加微信 abc0000"),
    ("加V信", "加微信"),
    ("➕徵❤6h0000", "加微信6h0000"),
    ("加徽信", "加微信"),
    ("加微芯", "加微信"),
    ("加我卫星", "加我微信"),
    ("卫星号：abc0000", "微信号:abc0000"),
    ("卫星同号", "微信同号"),
    ("加威信聊", "加微信聊"),
    ("vx：abc0000", "微信:abc0000"),
    ("加wx", "加微信"),
    ("加vx领红包", "加微信领红包"),
    ("留薇", "留微信"),
    ("来➕🛰️星 abc0000", "来加微信 abc0000"),
    ("加我绿泡泡", "加我微信"),
    ("扣扣 290000176", "QQ 290000176"),
    ("加他企鹅", "加他QQ"),
    ("🐧290000176", "QQ290000176"),
    ("加警官Q 2900001835", "加警官QQ 2900001835"),
    ("进裙领红包", "进群领红包"),
    ("wеixin", "微信"),
    # money
    ("转帐到帐户", "转账到账户"),
    ("贷k 银行ka 蜜码", "贷款 银行卡 密码"),
    ("收☎️卡", "收电话卡"),
]

CLEAN = [
    "谢谢你🌹们都来搭把手，手机📱电话都行",
    "停车专用，宝贝长大了，代贝先生来过",
    "北斗卫星导航系统坏了，车开到沟里去了",
    "气象卫星显示台风要来，工地脚手架没拆",
    "卫星路和人民路口堵了一个小时",
    "卫星电视的锅要掉下来了",
    "海洋公园企鹅馆门口有人打架",
    "孩子抱着企鹅玩偶走丢了",
    "今天带孩子去看企鹅",
    "队长在群里很有威信",
    "增加威信不能靠骂人",
    "微信支付扣了我两笔钱",
    "微信群里有人卖药",
    "他说稍微心疼一下",
    "微星显卡被快递摔坏了",
    "微波炉冒烟了",
    "蔷薇花开满了墙，挡住了摄像头",
    "薇薇安婚纱店跑路了",
    "扣扣子的时候手机被摸走了",
    "球球走丢了，是只白色的狗",
    "他抠抠搜搜的不肯赔",
    "把手伸进裙底偷拍被我抓住了",
    "蹭到裙子上都是机油",
    "电动车专用车位被汽车占了",
    "停车专区没有灯",
    "灭火包装在柜子里",
    "大宝贝者也是人",
    "弓长岭的路坏了，我姓张，弓长张",
    "乾隆路上有车祸",
    "乾坤大酒店的消防通道锁了",
    "瞭望塔上没有人",
    "哪吒汽车自燃了",
    "著名景点门口拉客",
    "显著位置没有灭火器",
    "他们在草坪上收帐篷",
    "蚊帐上有个洞",
    "走出帐篷就看到火光",
    "东、西、南、北四个门都锁了",
    "一心一意为人民服务",
    "一楼一户一个灭火器",
    "看一看试一试再说",
    "走一走停一停",
    "二〇二四年五月一日早上",
    "一二三四五上山打老虎",
    "取件码6-2-4417，晚上九点半关门",
    "IP是192.168.1.1，版本1.2.3",
    "时间是2024-05-01 12:30:00",
    "A-B-C三栋楼都停电了",
    "3-5个人拿着棍子",
    "支付宝+微信都可以付",
    "电压220V不稳，烧了冰箱",
    "他的微博加V认证了",
    "加VPN才能上的网站",
    "打开wx.example.com看看是不是假的",
    "iPhone12和iPad被偷了",
    "Привет, как дела, 外国人问路",
    "α粒子和μ子，10μm",
    "车牌是粤B12345，白色SUV",
    "Q3季度的物业费又涨了",
    "陶宝路的红绿灯坏了",
    "掏宝贝的地摊占了盲道",
    "左耳只听见一声响，车就翻了",
    "门卫说要加卫生间的灯",
    "今天去动物园看🐧了，开心❤",
    "我爱❤你们，辛苦了👍",
    "🛰发射成功，大家都在看",
    "OK的，LOL，哈哈哈哈哈哈",
    "啊啊啊啊啊啊啊啊救命",
    "——————分割线——————",
    "冇人伤，左边两条线死晒，快啲嚟",
]


def folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


@pytest.mark.parametrize(("raw", "expected"), DISGUISED)
def test_disguises_come_out_plain(normalizer: Normalizer, raw: str, expected: str) -> None:
    assert normalizer(raw).text == expected


@pytest.mark.parametrize("raw", CLEAN)
def test_clean_text_stays(normalizer: Normalizer, raw: str) -> None:
    assert normalizer(raw).text == folded(raw)


@pytest.mark.parametrize("rule", RULES["rule"], ids=lambda rule: rule["name"])
def test_rules_keep_their_own_promises(normalizer: Normalizer, rule: dict[str, list[list[str]]]) -> None:
    for before, after in rule.get("examples", []):
        assert normalizer(before).text == after  # type: ignore[arg-type]
    for sentence in rule.get("keep", []):
        assert normalizer(sentence).text == folded(sentence)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("raw", "part", "expected"),
    [
        ("请加薇❤️：abc", "微信", "薇❤"),
        ("请转\u200b.账给我", "转账", "转\u200b.账"),
        ("打 1 3 8 0 0 0 0 1 2 3 4 吧", "13800001234", "1 3 8 0 0 0 0 1 2 3 4"),
        ("一……二", "......", "……"),
        ("请轉帳", "转账", "轉帳"),
        ("亻言用卡", "信用", "亻言用"),
    ],
)
def test_spans_map_back(normalizer: Normalizer, raw: str, part: str, expected: str) -> None:
    normalized = normalizer(raw)
    at = normalized.text.index(part)
    start, end = normalized.raw_span(at, at + len(part))
    assert raw[start:end] == expected


def test_empty_spans_map_to_empty_spans(normalizer: Normalizer) -> None:
    normalized = normalizer("\u200b转\u200b账")
    assert [normalized.raw_span(at, at) for at in range(3)] == [(1, 1), (3, 3), (4, 4)]


@pytest.mark.parametrize(("start", "end"), [(-1, 1), (1, 0), (0, 3)])
def test_spans_outside_the_text_are_refused(normalizer: Normalizer, start: int, end: int) -> None:
    with pytest.raises(ValueError, match="outside a text of 2 characters"):
        normalizer("转账").raw_span(start, end)


@pytest.mark.parametrize("raw", ["", " \n\t ", "\u200b\ufeff", "\u0301\u0301", "\ud800"])
def test_nothing_readable_gives_an_empty_text(normalizer: Normalizer, raw: str) -> None:
    normalized = normalizer(raw)
    assert (normalized.text, normalized.raw, list(normalized.starts)) == ("", raw, [])


FRAGMENTS = [
    *RULES["literals"],
    *"加留添➕+：: 号同群\n.-丨/()❤一壹贰零〇oOlI0123456789①⑴vVxXqQ微薇卫星威信企鹅扣裙🐧🛰☎✈帐账转款著乾徵Аа",
    "\u200b",
    "\u0301",
    "\ud800",
    "abc0000",
    "13800001234",
    "微 信",
]
MIXED = st.one_of(
    st.text(max_size=40),
    st.text(st.characters(), max_size=20),
    st.lists(st.sampled_from(FRAGMENTS), max_size=16).map("".join),
)


@TEXT
@given(raw=MIXED)
def test_normalising_twice_changes_nothing(normalizer: Normalizer, raw: str) -> None:
    once = normalizer(raw).text
    assert normalizer(once).text == once


@TEXT
@given(raw=MIXED)
def test_the_map_is_monotone_and_covers(normalizer: Normalizer, raw: str) -> None:
    normalized = normalizer(raw)
    starts, ends = list(normalized.starts), list(normalized.ends)
    assert len(starts) == len(ends) == len(normalized.text)
    assert starts == sorted(starts)
    assert ends == sorted(ends)
    assert all(0 <= start < end <= len(raw) for start, end in zip(starts, ends, strict=True))


@pytest.mark.parametrize(
    "unit",
    [
        "一",
        "1",
        "a",
        " ",
        "\n",
        "-",
        "微",
        "\u0301",
        "a\u0301\u0316",
        "1-",
        "转.",
        "需 ",
        "跑一",
        "(1)",
        "加V",
        "\ud800",
        "ﷺ",
    ],
)
def test_time_is_linear(normalizer: Normalizer, unit: str) -> None:
    def seconds(length: int) -> float:
        text = (unit * length)[:length]
        start = time.perf_counter()
        normalizer(text)
        return time.perf_counter() - start

    short, long = min(seconds(20_000) for _ in range(3)), min(seconds(160_000) for _ in range(3))
    # Eight times the length: linear is 8, quadratic 64. The floor keeps noise of a busy machine out.
    assert long < 24 * max(short, 0.01)


def copied(lexicon: Path, to: Path, name: str, text: str | None) -> Path:
    for file in lexicon.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    if text is None:
        (to / name).unlink()
    else:
        (to / name).write_text(text, encoding="utf-8")
    return to


BAD_RULE = '[literals]\n"甲"="乙"\n[[rule]]\nname="r1"\nnear="a"\n'


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("disguise.toml", None, "disguise.toml"),
        ("disguise.toml", "not toml", "disguise.toml"),
        ("disguise.toml", BAD_RULE + 'pattern="(?P<x>a"\nto="b"', "r1.*bad pattern"),
        ("disguise.toml", BAD_RULE + 'pattern="a"\nto="b"', "r1.*group"),
        ("disguise.toml", BAD_RULE + 'pattern="(?P<x>a*)"\nto="b"', "r1.*empty string"),
        ("disguise.toml", BAD_RULE + 'pattern="(?P<x>a)"', "r1.*to must be"),
        ("disguise.toml", BAD_RULE + 'pattern="(?P<x>a)"\nto="b"\nextra=1', "unknown keys"),
        ("disguise.toml", 'rule=[]\n[literals]\n"甲"="乙甲"', "replaced again"),
        ("separators.toml", 'separators="-"', "separators.toml"),
        ("numerals.toml", 'spoken="幺"\n[numerals]\n"一"="x"\n[letters]', "one digit"),
        ("characters.toml", "keep_traditional=[]\nmarks=[]\ndrop=[]\n", "characters.toml"),
    ],
)
def test_bad_rule_files_name_file_and_rule(
    lexicon: Path, tmp_path: Path, name: str, text: str | None, says: str
) -> None:
    folder = copied(lexicon, tmp_path, name, text)
    with pytest.raises(LexiconError, match=says) as caught:
        Normalizer.load(folder)
    assert caught.value.code == "bad_lexicon"
    assert "规则文件" in caught.value.zh
