"""Promote and roll back: what is proven may serve, all else is refused and changes nothing."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from triage import cli, golden, promotion
from triage.engine import Triage
from triage.errors import ReleaseCorrupt, ReleaseDrift, ReleaseNotFound, ReleaseRefused
from triage.model import history
from triage.model.artifact import Release, resolve, seal
from triage.model.history import GateRecord, RuleResult
from triage.testing import KeywordEngine, keyword_manifest

SUMS = {"policy": "ab" * 32, "test.jsonl": "cd" * 32, "ours.jsonl": "ef" * 32}
PASSED = "passed: policy abababababab; test.jsonl cdcdcdcdcdcd, ours.jsonl efefefefefef"
TEXTS = ["让我转到安全账户", "消防通道着火", "今天天气好"]


@pytest.fixture(autouse=True)
def _doubles(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a folder holds loads as a double with the folder's manifest."""

    def load(folder: Path, *_: Any, **__: Any) -> KeywordEngine:
        return KeywordEngine(manifest=Release.open(folder).manifest)

    monkeypatch.setattr(Triage, "load", load)
    monkeypatch.setenv("COLUMNS", "160")


def release(models: Path, version: str) -> Path:
    folder = models / version
    folder.mkdir(parents=True)
    manifest = replace(keyword_manifest(), version=version)
    rows = golden.record(KeywordEngine(manifest=manifest), TEXTS)
    (folder / "golden.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    seal(folder, manifest)
    return folder


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Three releases; the first serves."""
    folder = tmp_path / "models"
    for version in "abc":
        release(folder, version)
    (folder / "CURRENT").write_text("a\n")
    return folder


def gated(models: Path, version: str, against: str = "a", passed: bool = True, manifest: str = "") -> None:
    rules = (RuleResult("macro_f1 (test)", 0.9, "≥ 0.8", True), RuleResult("speed_ratio", 0.5, "≥ 0.9", passed))
    sums = [history.manifest_checksum(models, name) for name in (version, against)]
    policy, *files = SUMS.items()
    record = GateRecord(
        history.now(), version, manifest or sums[0], against, sums[1], policy[1], dict(files), rules, passed
    )
    history.record_gate(models, record)


def triage_(*arguments: str | Path) -> Any:
    return CliRunner().invoke(cli.app, [str(item) for item in arguments])


def test_a_proven_candidate_serves_and_a_rollback_undoes_it(models: Path) -> None:
    gated(models, "b")
    event = promotion.promote(models, "b", "王工", "九月标注")
    assert (event.action, event.before, event.after, event.by, event.reason, event.gate) == (
        "promote",
        "a",
        "b",
        "王工",
        "九月标注",
        PASSED,
    )
    assert event.manifest == history.manifest_checksum(models, "b")
    assert resolve(models / "current") == models / "b"
    undone = promotion.rollback(models, "李工", "误报")
    assert (undone.action, undone.before, undone.after, undone.gate) == ("rollback", "b", "a", "")
    assert resolve(models / "current") == models / "a"
    assert history.events(models) == [event, undone]
    promotion.promote(models, "b", "王工")
    assert history.current(models) == "b"


def test_the_first_release_of_a_folder(models: Path) -> None:
    (models / "CURRENT").unlink()
    gated(models, "b", against="")
    assert promotion.promote(models, "b", "x").before == ""
    with pytest.raises(ReleaseRefused, match="没有更早的版本"):
        promotion.rollback(models, "x")


def refused(models: Path, version: str, error: type[Exception], match: str, **more: str) -> None:
    with pytest.raises(error, match=match):
        promotion.promote(models, version, "x", **more)
    assert history.current(models) == "a"
    assert history.events(models) == []


def test_no_gate_no_promotion(models: Path) -> None:
    refused(models, "b", ReleaseRefused, "没有门槛检查记录；请运行 `triage release gate b`")
    gated(models, "b", passed=False)
    refused(models, "b", ReleaseRefused, r"did not pass its gate \(speed_ratio\)")
    gated(models, "b", against="c")
    refused(models, "b", ReleaseRefused, "against c, but a serves")
    gated(models, "b")
    gated(models, "b", passed=False)
    refused(models, "b", ReleaseRefused, "did not pass")
    refused(models, "b", ReleaseRefused, "did not pass", without_gate="  ")
    gate = promotion.promote(models, "b", "x", without_gate="紧急修复").gate
    assert (gate, history.events(models)[0].gate) == ("skipped: 紧急修复", "skipped: 紧急修复")


def test_the_gate_of_a_namesake_does_not_count(models: Path) -> None:
    gated(models, "b")
    seal(models / "b", replace(keyword_manifest(), version="b", metrics={}))
    refused(models, "b", ReleaseRefused, "没有门槛检查记录")


def test_a_damaged_candidate_is_refused(models: Path) -> None:
    gated(models, "b")
    (models / "b" / "golden.jsonl").write_text("{}\n")
    refused(models, "b", ReleaseCorrupt, "校验和不符")


def test_a_candidate_that_answers_otherwise_is_refused(models: Path) -> None:
    rows = golden.load(models / "b" / "golden.jsonl")
    lines = [json.dumps({**row, "label": "traffic"}) for row in rows]
    (models / "b" / "golden.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    seal(models / "b", replace(keyword_manifest(), version="b"))
    refused(models, "b", ReleaseDrift, "3 条标签不同", without_gate="试")


def test_a_candidate_under_another_name_is_refused(models: Path) -> None:
    shutil.copytree(models / "b", models / "d")
    refused(models, "d", ReleaseCorrupt, "rename the folder to b", without_gate="试")


@pytest.mark.parametrize("version", ["none", "", "..", "../models/b", "b/", "."])
def test_what_is_no_release_is_refused(models: Path, version: str) -> None:
    refused(models, version, ReleaseNotFound, "triage release list", without_gate="试")


def test_what_serves_is_not_promoted_again(models: Path) -> None:
    refused(models, "a", ReleaseRefused, "已经是当前版本", without_gate="试")


def test_a_rollback_to_what_is_damaged_or_gone_is_refused(models: Path) -> None:
    promotion.promote(models, "b", "x", without_gate="试")
    promotion.promote(models, "c", "x", without_gate="试")
    (models / "b" / "golden.jsonl").write_text("{}\n")
    with pytest.raises(ReleaseCorrupt):
        promotion.rollback(models, "x")
    shutil.rmtree(models / "b")
    with pytest.raises(ReleaseNotFound):
        promotion.rollback(models, "x")
    assert history.current(models) == "c"
    assert promotion.rollback(models, "x", to="a").after == "a"


def test_a_rollback_by_name_needs_no_history(models: Path) -> None:
    (models / "HISTORY.jsonl").write_text("broken\n")
    with pytest.raises(ReleaseCorrupt, match="第 1 行"):
        promotion.rollback(models, "x")
    assert promotion.rollback(models, "x", to="b").after == "b"


def test_releases_are_listed_whole_or_not(models: Path) -> None:
    gated(models, "b")
    (models / "c" / "manifest.json").write_text("{")
    (models / "notes").mkdir()
    found = promotion.releases(models)
    assert [(item.version, item.serves, item.manifest is None) for item in found] == [
        ("a", True, False),
        ("b", False, False),
        ("c", False, True),
    ]
    assert found[1].gate
    assert found[0].size == sum(path.stat().st_size for path in (models / "a").iterdir())
    with pytest.raises(ReleaseNotFound, match="--models"):
        promotion.releases(models / "none")


def test_the_commands(models: Path) -> None:
    gated(models, "b")
    done = triage_("release", "promote", "b", "--models", models, "--by", "王工", "--reason", "[bold]九月")
    assert (done.exit_code, done.stdout) == (0, f"上线 promote: a → b ({PASSED})\n")
    shown = triage_("release", "list", "--models", models).stdout
    for part in ("▶", "0.900", "通过 passed", "王工", "[bold]九月", "上线 promote"):
        assert part in shown
    data = json.loads(triage_("release", "list", "--models", models, "--json").stdout)
    assert data["current"] == "b"
    assert [(row["version"], row["serves"], row["gate_passed"]) for row in data["releases"]] == [
        ("a", False, None),
        ("b", True, True),
        ("c", False, None),
    ]
    assert [(row["before"], row["after"], row["by"]) for row in data["history"]] == [("a", "b", "王工")]
    one = triage_("release", "show", "--models", models).stdout
    for part in ("是 yes", "macro_f1 (test)", "≥ 0.9", "通过 pass", "王工"):
        assert part in one
    shown_json = json.loads(triage_("release", "show", "a", "--models", models, "--json").stdout)
    assert (shown_json["manifest"]["version"], shown_json["gate"], len(shown_json["history"])) == ("a", None, 1)
    back = json.loads(triage_("release", "rollback", "--models", models, "--json").stdout)
    assert (back["action"], back["after"], bool(back["by"])) == ("rollback", "a", True)


def test_the_commands_say_why_not(models: Path) -> None:
    result = triage_("release", "promote", "b", "--models", models)
    assert result.exit_code == 2
    assert result.stderr == (
        "错误：b 没有门槛检查记录；请运行 `triage release gate b`，或用 --without-gate 写明理由 / error: b went "
        "through no gate; run `triage release gate b`, or give a reason by --without-gate [release_refused]\n"
    )
    assert triage_("release", "rollback", "--models", models).exit_code == 2
    assert triage_("release", "show", "x", "--models", models).exit_code == 2
    (models / "c" / "manifest.json").write_text("{")
    assert "cannot be read" in triage_("release", "show", "c", "--models", models).stdout
