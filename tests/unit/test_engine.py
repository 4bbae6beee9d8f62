"""The engine on a tiny release: order, batches, routes and reasons, spans of the raw text."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training.build import Job
from triage.decision import Decision
from triage.engine import Triage, merged
from triage.errors import LexiconError, ReleaseCorrupt, ReleaseNotFound
from triage.model.artifact import Calibration, Release, Routing, seal
from triage.model.encoder import Logits
from triage.model.encoding import Window
from triage.taxonomy import Urgency

IDS = ("traffic", "public_safety", "fire_hazard", "telecom_fraud", "other")
OUTPUTS = 12
TEXT = "二楼厨房着火了，快派人来"
# Blank, of one character, of one window, of several, beyond the last.
MIXED = ["", "火", "消防通道被堵了。" * 30, "两车追尾，人没事", "[图片]", "对方让我把钱转到安全账户" * 6, TEXT]


def copy_of(folder: Path, target: Path, **changes: Any) -> Path:
    """A sealed copy of a release with another manifest."""
    shutil.copytree(folder, target)
    seal(target, replace(Release.open(folder).manifest, **changes))
    return target


@pytest.fixture(scope="module")
def plain() -> dict[str, Any]:
    """A manifest's fields without surprises: no calibration, thresholds as a release has them, few windows."""
    routing = Routing(dict.fromkeys(IDS, 0.8), 0.2, {"fire_hazard": 0.3, "telecom_fraud": 0.3})
    return {"calibration": Calibration(), "routing": routing, "max_windows": 3}


@pytest.fixture(scope="module")
def exact(tiny_release: Path, tiny_job: Job, plain: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Triage:
    """The tiny release in fp32."""
    assert tiny_release.is_dir()
    return Triage.load(copy_of(tiny_job.work / "fp32", tmp_path_factory.mktemp("exact") / "tiny-1", **plain))


@pytest.fixture(scope="module")
def rounded(tiny_release: Path, plain: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Triage:
    """The tiny release as it is served, in int8."""
    return Triage.load(copy_of(tiny_release, tmp_path_factory.mktemp("rounded") / "tiny-1", **plain))


def logits(window: Window, label: str = "traffic", strength: float = 9.0, **outputs: float) -> Logits:
    """What an encoder that is sure would say; ``outputs`` sets columns by number, as in ``o6=4.0``."""
    row = np.zeros(OUTPUTS, dtype=np.float32)
    row[9] = 9.0  # routine
    row[IDS.index(label)] = strength
    for name, value in outputs.items():
        row[int(name[1:])] = value
    tokens = np.tile(row[: len(IDS)], (len(window.ids), 1))
    return Logits(row, tokens)


def said(engine: Triage, text: str, labels: Sequence[str] = (), **outputs: float) -> Decision:
    """The decision on a text of which the encoder says these labels, window by window."""
    (prepared,) = engine.prepare([text])
    labels = labels or ["traffic"] * len(prepared.windows)
    found = [logits(window, label, **outputs) for window, label in zip(prepared.windows, labels, strict=True)]
    return engine.interpret(prepared, found)


def test_nothing_gives_nothing(exact: Triage) -> None:
    assert exact.classify([]) == []
    assert exact.prepare([]) == []
    assert exact.infer([]) == []


def test_order_is_kept_over_mixed_lengths(exact: Triage) -> None:
    prepared = exact.prepare(MIXED)
    assert [item.message.raw for item in prepared] == MIXED
    assert [len(item.windows) for item in prepared] == [0, 1, 3, 1, 0, 2, 1]
    windows = [window for item in prepared for window in item.windows]
    alone = [exact.infer([window])[0].outputs for window in windows]
    assert np.ptp(alone, axis=0).max() > 0.01, "windows that all read the same could change places unseen"
    # A budget of one window a batch, and batches of several.
    for budget in (1, 70, 10_000):
        found = exact.infer(windows, budget)
        assert [len(item.tokens) for item in found] == [len(window.ids) for window in windows]
        np.testing.assert_allclose([item.outputs for item in found], alone, atol=1e-4)


@pytest.mark.parametrize("engine", ["exact", "rounded"])
def test_a_batch_says_what_one_by_one_says(engine: str, request: pytest.FixtureRequest) -> None:
    loaded: Triage = request.getfixturevalue(engine)
    for together, text in zip(loaded.classify(MIXED), MIXED, strict=True):
        (alone,) = loaded.classify([text])
        assert together.scores == pytest.approx(alone.scores, abs=1e-3)
        assert (together.entities, together.read, together.truncated) == (alone.entities, alone.read, alone.truncated)
        if engine == "exact":
            assert (together.label, together.route, together.reasons) == (alone.label, alone.route, alone.reasons)
            assert [(s.start, s.end) for s in together.evidence] == [(s.start, s.end) for s in alone.evidence]


def test_workers_change_nothing(tiny_release: Path, exact: Triage) -> None:
    windows = [window for item in exact.prepare(MIXED * 3) for window in item.windows]
    one = Triage.load(tiny_release, workers=1)
    many = Triage.load(tiny_release, workers=4)
    for a, b in zip(one.infer(windows, 70), many.infer(windows, 70), strict=True):
        np.testing.assert_array_equal(a.outputs, b.outputs)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (" \n\t\u3000", "empty"),
        ("\u200b\ufeff", "empty"),
        ("[图片]", "media_only"),
        ("［图片］ [视频]。", "media_only"),
        ("👍👍", "media_only"),
        ("？？？", "media_only"),
    ],
)
def test_what_holds_nothing_to_read_goes_to_an_officer(exact: Triage, text: str, reason: str) -> None:
    (decision,) = exact.classify([text])
    assert (decision.route, decision.reasons, decision.stage) == ("review", (reason,), "rule")
    assert decision.scores == dict.fromkeys(IDS, 0.2)
    assert (decision.label, decision.confidence, decision.unit) == ("other", 0.2, "网格中心登记")
    assert (decision.read, decision.truncated, decision.model) == ((0, len(text)), False, "tiny-1")


def test_a_picture_with_words_is_read(exact: Triage) -> None:
    (decision,) = exact.classify(["[图片] 着火了"])
    assert decision.stage == "ensemble"


@pytest.mark.parametrize(
    ("text", "foreign"),
    [
        ("There is a fire in the kitchen", True),
        ("Пожар на кухне", True),
        ("火 fire in the kitchen", True),
        ("龘靐齉齾爩鱻麤龗灪", True),  # Chinese, but no token of the vocabulary
        ("台所が火事です、来てください", True),
        ("厨房着火 please come", False),
        ("楼下优の良品着火", False),  # a shop's の makes no Japanese
        ("119 110", False),
        (TEXT, False),
    ],
)
def test_what_is_unlike_anything_learnt_is_out_of_scope(exact: Triage, text: str, foreign: bool) -> None:
    assert said(exact, text).reasons == (("out_of_scope",) if foreign else ())
    assert said(exact, text).route == ("review" if foreign else "auto")


def test_a_sure_decision_goes_out_by_itself(exact: Triage) -> None:
    decision = said(exact, TEXT, ["fire_hazard"])
    assert (decision.label, decision.route, decision.reasons) == ("fire_hazard", "auto", ())
    assert decision.confidence == pytest.approx(1 / (1 + 4 * np.exp(-9)))
    assert (decision.unit, decision.model, decision.stage) == ("消防救援大队", "tiny-1", "ensemble")
    assert decision.read == (0, len(TEXT))


def test_doubts_come_after_the_reasons_of_the_scores(exact: Triage) -> None:
    decision = said(exact, "a fire, come", o3=8.9)
    assert decision.reasons == ("low_confidence", "ambiguous", "fraud_floor", "out_of_scope")


def test_secondary_labels_and_urgency_come_from_their_own_outputs(exact: Triage) -> None:
    decision = said(exact, "两车追尾", o5=5.0, o6=1.0, o7=2.0, o8=-3.0, o11=12.0)
    assert decision.secondary == ("fire_hazard", "public_safety")
    assert (decision.urgency, decision.urgency_reasons) == (Urgency.EMERGENCY, ("model",))
    assert said(exact, "两车追尾", o10=12.0).urgency is Urgency.URGENT
    assert said(exact, "两车追尾").urgency is Urgency.ROUTINE
    assert said(exact, "两车追尾", ["other"], o5=5.0, o11=12.0).secondary == ()


def test_a_long_text_is_read_to_its_end(exact: Triage) -> None:
    text = "  " + "消防通道被堵了。" * 15 + "\n"
    (prepared,) = exact.prepare([text])
    assert [window.read for window in prepared.windows] == [(2, 64), (48, 110), (94, 122)]
    assert prepared.tokens == sum(len(window.ids) for window in prepared.windows) == 64 + 64 + 30
    decision = said(exact, text)
    assert (decision.read, decision.truncated, decision.reasons) == ((2, 122), False, ())


def test_what_lies_beyond_the_last_window_is_told(exact: Triage) -> None:
    (decision,) = exact.classify(["消防通道被堵了。" * 30])
    assert decision.truncated
    assert decision.read == (0, 62 + 46 + 46)
    assert (decision.route, decision.reasons[-1]) == ("review", "truncated")


LONG = "消防通道被堵了" * 16


def test_windows_that_disagree_go_to_an_officer(exact: Triage) -> None:
    decision = said(exact, LONG, ["traffic", "traffic", "fire_hazard"])
    assert decision.label == "traffic"
    assert (decision.route, decision.reasons[-1]) == ("review", "windows_disagree")


def test_a_label_that_is_never_dispatched_can_speak_against_one_that_is(
    tiny_release: Path, plain: dict[str, Any], tmp_path: Path
) -> None:
    routing = Routing(dict.fromkeys(IDS, 0.8) | {"fire_hazard": 1.1}, 0.2)
    engine = Triage.load(copy_of(tiny_release, tmp_path / "tiny-1", **plain | {"routing": routing}))
    decision = said(engine, LONG, ["traffic", "traffic", "fire_hazard"])
    assert (decision.label, decision.route) == ("traffic", "review")
    assert "windows_disagree" in decision.reasons


@pytest.mark.parametrize(
    ("labels", "strength"),
    [
        (["traffic", "traffic", "traffic"], 9.0),
        (["traffic", "traffic", "other"], 9.0),  # small talk at the end says nothing against the report
        (["traffic", "traffic", "fire_hazard"], 2.0),  # a window that is not sure
    ],
)
def test_windows_that_do_not_contradict_raise_no_doubt(exact: Triage, labels: list[str], strength: float) -> None:
    decision = said(exact, LONG, labels, strength=strength)
    assert decision.label == "traffic"
    assert "windows_disagree" not in decision.reasons


def test_windows_count_by_their_tokens() -> None:
    windows = [Window((0,) * 30, ((0, 0),) * 30), Window((0,) * 10, ((0, 0),) * 10)]
    found = merged(windows, [logits(windows[0], "traffic", 4.0), logits(windows[1], "other", 4.0)])
    assert found[[0, 4]].tolist() == [3.0, 1.0]


def test_entities_and_evidence_stand_in_the_raw_text(exact: Triage) -> None:
    text = "\u200b ＡＰＰ里加薇\u200d❤信，转１２０００元，电话１３８-0013-8000"
    (prepared,) = exact.prepare([text])
    (window,) = prepared.windows
    found = logits(window, "telecom_fraud", 0.0)
    hot = [i for i, (start, end) in enumerate(window.spans) if start < end and text[start] in "薇信"]
    found.tokens[hot, 3] = 5.0
    decision = exact.interpret(prepared, [Logits(logits(window, "telecom_fraud").outputs, found.tokens)])
    assert [text[span.start : span.end] for span in decision.evidence] == ["薇\u200d❤信"]
    assert decision.evidence[0].weight == pytest.approx(1)
    named = {entity.kind: (text[entity.start : entity.end], entity.value) for entity in decision.entities}
    assert named["mobile"] == ("１３８-0013-8000", "13800138000")
    assert named["amount"] == ("１２０００元", "12000")


def test_tokens_that_windows_share_count_once_as_evidence(exact: Triage) -> None:
    # Two words of like weight, one of them where two windows overlap.
    text = "着火" + "，" * 2 + "的，" * 22 + "爆炸" + "，的" * 20
    (prepared,) = exact.prepare([text])
    assert len(prepared.windows) == 2
    found = []
    for window in prepared.windows:
        item = logits(window, "fire_hazard")
        item.tokens[:] = 0
        item.tokens[[i for i, (start, _) in enumerate(window.spans) if text[start] in "着火爆炸" and i], 2] = 1.0
        found.append(item)
    overlapped = prepared.windows[1].read[0]
    assert overlapped <= text.index("爆炸") < prepared.windows[0].read[1]
    decision = exact.interpret(prepared, found)
    assert {text[s.start : s.end]: round(s.weight, 6) for s in decision.evidence} == {"着火": 0.5, "爆炸": 0.5}


def test_evidence_of_every_message_is_sorted_and_inside_the_text(rounded: Triage) -> None:
    for text, decision in zip(MIXED, rounded.classify(MIXED), strict=True):
        weights = [span.weight for span in decision.evidence]
        assert weights == sorted(weights, reverse=True)
        assert sum(weights) <= 1 + 1e-9
        assert all(0 <= span.start < span.end <= len(text) for span in decision.evidence)
        assert all(text[span.start : span.end].strip("，。 []") for span in decision.evidence)


def test_a_damaged_release_does_not_load(tiny_release: Path, tmp_path: Path) -> None:
    folder = copy_of(tiny_release, tmp_path / "tiny-1")
    (folder / "lexicon" / "urgency.toml").write_text("", encoding="utf-8")
    with pytest.raises(ReleaseCorrupt, match=r"lexicon/urgency.toml 校验和不符"):
        Triage.load(folder)
    seal(folder, Release.open(tiny_release).manifest)
    with pytest.raises(LexiconError):
        Triage.load(folder)
    (folder / "model.onnx").unlink()
    seal(folder, Release.open(tiny_release).manifest)
    with pytest.raises(ReleaseCorrupt, match=r"缺少 model.onnx"):
        Triage.load(folder)
    with pytest.raises(ReleaseNotFound):
        Triage.load(tmp_path / "none")


def test_a_manifest_with_a_window_too_short_does_not_load(tiny_release: Path, tmp_path: Path) -> None:
    with pytest.raises(ReleaseCorrupt, match="max_tokens=4"):
        Triage.load(copy_of(tiny_release, tmp_path / "tiny-1", max_tokens=4))


def test_the_linear_stage_is_heard_by_its_weight(tiny_release: Path, plain: dict[str, Any], tmp_path: Path) -> None:
    """It says fire of a text of which the encoder says traffic: its weight decides."""
    engines = [
        Triage.load(copy_of(tiny_release, tmp_path / f"w{weight}" / "tiny-1", **plain | {"calibration": heard}))
        for weight, heard in ((weight, Calibration(linear=weight)) for weight in (0.0, 50.0))
    ]
    (prepared,) = engines[0].prepare([TEXT])
    assert prepared.linear is not None
    assert IDS[int(prepared.linear.argmax())] == "fire_hazard"
    assert [said(engine, TEXT).label for engine in engines] == ["traffic", "fire_hazard"]


def test_without_a_linear_stage_the_encoder_decides_alone(
    tiny_release: Path, plain: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "tiny-1"
    shutil.copytree(tiny_release, folder)
    (folder / "linear.npz").unlink()
    seal(folder, replace(Release.open(tiny_release).manifest, stage="encoder", **plain))
    engine = Triage.load(folder)
    (decision,) = engine.classify([TEXT])
    assert decision.stage == "encoder"
    assert engine.prepare([TEXT])[0].linear is None
