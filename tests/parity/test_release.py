"""The release that is shipped: whole, small, described, consistent with data/ and with training, and right."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast
from typer.testing import CliRunner

from training import corpus
from training.evaluate import evaluate
from training.finetune import Reader
from training.report import FIGURES
from triage import cli
from triage.engine import Triage
from triage.model.artifact import CARD, Release
from triage.model.encoding import Encoding
from triage.text import Normalizer

ROOT = Path(__file__).parents[2]

MAX_MB = 40

# Nobody who reads these would hesitate.
CLEAR = [
    ("traffic", "人民路和建设街路口两辆车追尾了，占着左转道，后面全堵死了"),
    ("traffic", "学校门口那条路的红绿灯不亮了，车子乱开，请派人来修"),
    ("traffic", "有辆货车在高架上逆行，太危险了"),
    ("traffic", "渣土车一路掉石子，还闯红灯，麻烦查一下"),
    ("traffic", "电动车闯红灯跟小轿车撞了，人坐在地上喊腿疼"),
    ("traffic", "有人酒后开车，从饭店停车场歪歪扭扭地上了马路"),
    ("public_safety", "昨天夜里我家的电瓶车在楼下被人偷走了"),
    ("public_safety", "烧烤摊那边有一群人打架，酒瓶子都砸了"),
    ("public_safety", "有个男的一直尾随我回家，我很害怕"),
    ("public_safety", "棋牌室里天天聚众赌博，一晚上输赢好几万"),
    ("public_safety", "我爸有老年痴呆，早上出门买菜到现在没回来，找不到人了"),
    ("public_safety", "楼上有人往下扔啤酒瓶，差点砸到孩子"),
    ("fire_hazard", "三楼阳台着火了，正在往外冒黑烟"),
    ("fire_hazard", "楼道里堆满了纸箱和旧家具，消防通道都走不了人"),
    ("fire_hazard", "有人把电动车推进电梯，带回家里充电"),
    ("fire_hazard", "屋里一股很浓的煤气味，阀门好像漏了"),
    ("fire_hazard", "商场的安全出口被铁链锁住了，万一起火跑不出去"),
    ("fire_hazard", "楼里的灭火器过期两年了，消防栓也没有水"),
    ("telecom_fraud", "有人打电话自称公安局，说我涉嫌洗钱，让我把钱转到安全账户"),
    ("telecom_fraud", "群里让我刷单返利，先垫了三千块，现在提不出来了"),
    ("telecom_fraud", "冒充快递客服说包裹丢了要赔我钱，叫我开屏幕共享"),
    ("telecom_fraud", "网上认识的男朋友带我在平台上投资，现在账户不让提现"),
    ("telecom_fraud", "您的银行积分即将过期，请点击 http://jf.bank.example/a 兑换现金"),
    ("telecom_fraud", "办贷款的让我先交五千块解冻费才肯放款，交了又说银行卡号填错了"),
    ("other", "请问办理居住证需要带哪些材料"),
    ("other", "小区停水两天了，什么时候能来水"),
    ("other", "感谢社区王师傅帮我家修好了水管，特意来表扬"),
    ("other", "公司拖欠了我们三个月的工资，去哪里投诉"),
    ("other", "您的快递已放在菜鸟驿站，请凭取件码8-2-3014领取"),
    ("other", "晚上回家吃饭吗，我炖了排骨汤"),
]


@pytest.fixture(scope="module")
def release(shipped: Path) -> Release:
    return Release.open(shipped)


@pytest.fixture(scope="module")
def splits(data: Path) -> dict[str, list[corpus.Message]]:
    return corpus.load_splits(data)


def test_the_check_passes_here(shipped: Path) -> None:
    result = CliRunner().invoke(cli.app, ["check", str(shipped), "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["drifted"] is False
    assert report["rows"] >= 50


def test_it_is_small_enough_for_a_repository(release: Release) -> None:
    size = sum(path.stat().st_size for path in release.folder.rglob("*") if path.is_file())
    assert size < MAX_MB * 1e6


def test_one_release_is_shipped(release: Release) -> None:
    # What the data team trains here is its own affair; what is committed goes to everybody.
    listed = subprocess.run(["git", "ls-files", "models"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {line.split("/")[1] for line in listed.splitlines()} - {"CURRENT"} == {release.version}
    assert release.folder.name == release.version


def test_the_card_shows_every_group_of_figures(release: Release) -> None:
    metrics = release.manifest.metrics
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in release.path(CARD).read_text(encoding="utf-8").splitlines()
        if line.startswith("| ")
    ]
    # The table of disguises has heads of its own.
    heads = [row[1:3] for row in rows if row[0] == "" and row[1] != "fraud recall"]
    shown = {row[0]: row[1:3] for row in rows}
    assert heads
    assert heads == [["validation", "test"]] * len(heads)
    by_row = {title: [metrics[name][key] for name in ("validation", "test")] for key, title in FIGURES}
    # The card has a second row for macro-F1's comparison; its name is the model's, not the figure's.
    by_row["jieba + TF-IDF + LR"] = [metrics["baseline"][name]["macro_f1"] for name in ("validation", "test")]
    by_row["same label as fp32"] = [metrics["int8_agreement"][name] for name in ("validation", "test")]
    for title, values in by_row.items():
        assert shown[title] == [f"{value:.3f}" if isinstance(value, float) else str(value) for value in values], title


def test_it_beats_the_baseline_on_every_set(release: Release) -> None:
    metrics = release.manifest.metrics
    assert all(metrics[name]["macro_f1"] > found["macro_f1"] for name, found in metrics["baseline"].items())


def test_taxonomy_and_lexicon_are_those_of_the_data_folder(release: Release, data: Path) -> None:
    def contents(folder: Path) -> dict[str, bytes]:
        files = [folder / "taxonomy.toml", *(folder / "lexicon").iterdir()]
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}

    ours, theirs = contents(release.folder), contents(data)
    assert sorted(ours) == sorted(theirs)
    assert [name for name in ours if ours[name] != theirs[name]] == []


def test_training_and_serving_read_the_same_ids(
    release: Release, served: Triage, data: Path, splits: dict[str, list[corpus.Message]]
) -> None:
    manifest = release.manifest
    everything = [message.text for part in splits.values() for message in part]
    texts = sorted(everything, key=len)[-50:] + everything[:: len(everything) // 249][:250]
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(release.path("tokenizer.json"))).backend_tokenizer
    encoding = Encoding(tokenizer, manifest.max_tokens, manifest.overlap)
    reader = Reader(Normalizer.load(data / "lexicon"), encoding, pad=1)
    prepared = served.prepare(texts)
    assert len(texts) == 300
    assert [item.windows[0].ids for item in prepared] == reader.ids(texts)
    assert any(len(item.windows) > 1 for item in prepared)


def test_clear_messages_get_their_label(served: Triage) -> None:
    said = served.classify([text for _, text in CLEAR])
    wrong = [text for (label, text), decision in zip(CLEAR, said, strict=True) if decision.label != label]
    # One miss in thirty is a model; two are a release that should not go out.
    assert len(wrong) <= len(CLEAR) // 30, wrong


def test_the_clear_messages_are_none_of_the_corpus(splits: dict[str, list[corpus.Message]]) -> None:
    known = {message.id for part in splits.values() for message in part}
    assert not known & {corpus.message_id(text) for _, text in CLEAR}


def test_a_label_does_not_depend_on_what_else_is_in_the_batch(
    served: Triage, splits: dict[str, list[corpus.Message]]
) -> None:
    texts = [message.text for message in splits["test"][:100]]
    together = served.classify(texts)
    alone = [served.classify([text])[0] for text in texts]
    assert [a.label for a in together] == [b.label for b in alone]
    assert [a.confidence for a in together] == pytest.approx([b.confidence for b in alone], abs=1e-3)


def test_the_figure_of_the_manifest_can_be_measured_again(release: Release, served: Triage, data: Path) -> None:
    found = evaluate(served, data / "corpus" / "validation.jsonl")
    assert found["macro_f1"] == pytest.approx(release.manifest.metrics["validation"]["macro_f1"], abs=0.02)
