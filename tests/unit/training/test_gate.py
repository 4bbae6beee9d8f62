"""The gate: each rule by itself, both releases in one run, and what promotion makes of its record."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from training import cli
from training.evaluate import Gold
from training.gate import Measured, figures, gate, judged, measured
from training.rules import Rule, files_of, load_policy
from triage import cli as library
from triage import golden, promotion
from triage.decision import Decision
from triage.engine import Triage
from triage.errors import CorpusError, ReleaseNotFound, ReleaseRefused, TrainingError
from triage.model import history
from triage.model.artifact import Release, checksum, seal
from triage.taxonomy import Taxonomy
from triage.testing import KeywordEngine, keyword_manifest

ROOT = Path(__file__).parents[3]
ROWS = [("厨房着火", "fire_hazard"), ("让我刷单", "telecom_fraud"), ("追尾了", "traffic"), ("天气好", "other")] * 10
MEASURED = Measured(
    {"size_mib": 36.0, "speed_ratio": 0.95, "golden_labels": 0.0},
    {"test": {"macro_f1": 0.9, "calibration_error": 0.03}, "sms": {"macro_f1": 0.8}},
)
SERVING = Measured({"size_mib": 30.0}, {"test": {"macro_f1": 0.905, "calibration_error": 0.01}, "sms": {}})


class Deaf(KeywordEngine):
    """A double that takes every fire for something else."""

    def classify(self, texts: Sequence[str]) -> list[Decision]:
        said = super().classify(texts)
        return [replace(d, label="other") if d.label == "fire_hazard" else d for d in said]


def results(mine: Measured = MEASURED, its: Measured | None = SERVING, **rule: Any) -> list[tuple[str, bool]]:
    return [(row.rule, row.passed) for row in judged(Rule(**rule), mine, its)]


def test_bounds_for_the_candidate_alone() -> None:
    assert results(figure="macro_f1", at_least=0.85) == [("macro_f1 (test)", True), ("macro_f1 (sms)", False)]
    assert results(figure="macro_f1", at_least=0.85, files=("test",)) == [("macro_f1 (test)", True)]
    assert results(figure="macro_f1", at_least=0.9, files=("test",)) == [("macro_f1 (test)", True)]
    assert results(figure="calibration_error", at_most=0.03) == [("calibration_error (test)", True)]
    assert results(figure="calibration_error", at_most=0.029) == [("calibration_error (test)", False)]
    assert results(figure="size_mib", at_most=35) == [("size_mib", False)]
    assert results(figure="speed_ratio", at_least=0.9) == [("speed_ratio", True)]
    assert results(figure="golden_labels", at_most=0) == [("golden_labels", True)]


def test_bounds_beside_the_release_that_serves() -> None:
    assert results(figure="macro_f1", worse_by=0.005, files=("test",)) == [("macro_f1 (test)", True)]
    assert results(figure="macro_f1", worse_by=0.004, files=("test",)) == [("macro_f1 (test)", False)]
    assert results(figure="calibration_error", worse_by=0.02) == [("calibration_error (test)", True)]
    assert results(figure="calibration_error", worse_by=0.019) == [("calibration_error (test)", False)]
    assert results(figure="size_mib", worse_by=5) == [("size_mib", False)]
    # Either bound alone suffices to fail.
    assert results(figure="macro_f1", at_least=0.95, worse_by=1, files=("test",)) == [("macro_f1 (test)", False)]
    assert results(figure="macro_f1", at_least=0.5, worse_by=0, files=("test",)) == [("macro_f1 (test)", False)]
    (row,) = judged(Rule(figure="macro_f1", at_least=0.8, worse_by=0.01, files=("test",)), MEASURED, SERVING)
    assert (row.value, row.bound) == (0.9, "≥ 0.8，≥ 0.8950（当前 current 0.9050）")


def test_without_a_release_that_serves_the_other_bounds_hold() -> None:
    assert results(its=None, figure="macro_f1", worse_by=0, files=("test",)) == [("macro_f1 (test)", True)]
    assert results(its=None, figure="macro_f1", at_least=0.95, files=("test",)) == [("macro_f1 (test)", False)]
    assert results(its=None, figure="speed_ratio", at_least=0.9) == [("speed_ratio", True)]


def test_what_no_file_can_answer_is_not_kept() -> None:
    assert results(figure="recall.fire_hazard", at_least=0.5) == [("recall.fire_hazard", False)]
    missing = results(figure="macro_f1", at_least=0.5, files=("another", "third"))
    assert missing == [("macro_f1 (another, third)", False)]
    # One of its files suffices, and nothing is asked of a file that it does not name.
    assert results(figure="macro_f1", at_least=0.85, files=("test", "another")) == [("macro_f1 (test)", True)]
    (row,) = judged(Rule(figure="macro_f1", at_least=0.5, files=("another",)), MEASURED, SERVING)
    assert (row.value, row.bound) == (None, "未给出文件 its files were not given")
    wrong = Measured({"golden_max_difference": float("inf")}, {})
    (row,) = judged(Rule(figure="golden_max_difference", at_most=0.05), wrong, None)
    assert (row.value, row.passed) == (None, False)


@pytest.mark.parametrize(
    "rule",
    [
        "",
        'figure = "macro_f1"',
        'figure = "macro_f2"\nat_least = 1',
        'figure = "recall."\nat_least = 1',
        'figure = "macro_f1"\nat_most = 1',
        'figure = "size_mib"\nat_least = 1',
        'figure = "macro_f1"\nworse_by = -1',
        'figure = "speed_ratio"\nworse_by = 0.1',
        'figure = "macro_f1"\natleast = 1',
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(tmp_path: Path, rule: str) -> None:
    path = tmp_path / "gate.toml"
    path.write_text(f"[[rule]]\n{rule}\n" if rule else "")
    with pytest.raises(TrainingError, match=r"gate.toml 无效"):
        load_policy(path)


def test_the_committed_policy_covers_what_it_must() -> None:
    rules = load_policy(ROOT / "training" / "configs" / "gate.toml").rule
    general = {rule.figure for rule in rules if not rule.files}
    assert general >= {
        "macro_f1",
        "recall.fire_hazard",
        "recall.telecom_fraud",
        "calibration_error",
        "size_mib",
        "speed_ratio",
        "golden_labels",
        "golden_max_difference",
    }
    limits = golden.Limits()
    fixed = {rule.figure: rule.at_most for rule in rules}
    assert fixed["golden_max_difference"] == limits.max_difference
    assert fixed["golden_mean_difference"] == limits.mean_difference


def test_recall_is_counted_by_label() -> None:
    gold = [Gold(text, label, None, None, "") for text, label in ROWS]
    found = figures(gold, Deaf().classify([row.text for row in gold]), KeywordEngine().taxonomy.ids)
    assert found["recall.fire_hazard"] == 0
    assert found["recall.telecom_fraud"] == found["f1.traffic"] == 1
    assert found["macro_f1"] == pytest.approx((0 + 1 + 1 + 2 / 3) / 4)
    assert "recall.public_safety" not in found
    assert figures(gold, KeywordEngine().classify([row.text for row in gold]), ("flood",)) == {}


def test_a_label_that_only_the_candidate_knows_makes_up_for_nothing() -> None:
    narrow = KeywordEngine()
    narrow.taxonomy = Taxonomy(
        tuple(label for label in narrow.taxonomy.labels if label.id != "traffic"), narrow.taxonomy.urgency_names
    )
    gold = {"test": [Gold(text, label, None, None, "") for text, label in ROWS]}
    mine, its = measured(Deaf(), narrow, gold)
    assert its
    assert mine.shared["test"]["macro_f1"] == pytest.approx((0 + 1 + 2 / 3) / 3)
    assert mine.files["test"]["macro_f1"] == pytest.approx((0 + 1 + 1 + 2 / 3) / 4)
    assert its.files["test"]["macro_f1"] == 1
    (row,) = judged(Rule(figure="macro_f1", worse_by=0.3), mine, its)
    assert not row.passed


def test_speed_is_a_ratio_of_one_run() -> None:
    gold = {"test": [Gold(text, label, None, None, "") for text, label in ROWS]}
    seen: list[tuple[int, int]] = []
    slow, quick = KeywordEngine(seconds_per_token=0.002), KeywordEngine(seconds_per_token=0.0005)
    mine, _ = measured(slow, quick, gold, lambda done, total: seen.append((done, total)))
    assert 0.1 < mine.release["speed_ratio"] < 0.6
    assert seen == [(4 * turn, 40) for turn in range(1, 11)]
    assert len(slow.batches) == len(quick.batches) == 10
    assert "speed_ratio" not in measured(quick, None, gold)[0].release


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Release ``a`` serves; ``good`` is as good, ``deaf`` is not. They load as doubles."""
    folder = tmp_path / "models"
    for version in ("a", "good", "deaf"):
        (folder / version).mkdir(parents=True)
        rows = golden.record(KeywordEngine(), ["让我刷单", "天气好"])
        text = "\n".join(map(json.dumps, rows)) + "\n"
        (folder / version / "golden.jsonl").write_text(text, encoding="utf-8")
        seal(folder / version, replace(keyword_manifest(), version=version))
    (folder / "CURRENT").write_text("a\n")

    def load(path: Path, *_: Any, **__: Any) -> KeywordEngine:
        manifest = Release.open(path).manifest
        return (Deaf if manifest.version == "deaf" else KeywordEngine)(manifest=manifest)

    monkeypatch.setattr(Triage, "load", load)
    monkeypatch.setenv("COLUMNS", "160")
    return folder


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    path = tmp_path / "test.jsonl"
    lines = [json.dumps({"text": text, "label": label}) for text, label in ROWS]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """The committed rules but for the speed, which a busy machine may spoil."""
    text = (ROOT / "training" / "configs" / "gate.toml").read_text(encoding="utf-8")
    path = tmp_path / "gate.toml"
    path.write_text(text.replace("at_least = 0.9\n", "at_least = 0.01\n"), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def commands() -> typer.Typer:
    app = typer.Typer(cls=library.Commands)
    app.add_typer(library.release.app)
    cli.register(app)
    return app


def test_a_record_says_what_was_measured_on_what(models: Path, labelled: Path, policy: Path) -> None:
    record = gate(models, "good", policy, [labelled])
    assert (record.candidate, record.against, record.passed) == ("good", "a", True)
    assert record.manifest == history.manifest_checksum(models, "good")
    assert record.against_manifest == history.manifest_checksum(models, "a")
    assert list(record.files) == ["test.jsonl"]
    rows = {row.rule: row for row in record.rules}
    assert rows["recall.fire_hazard (test)"].value == 1
    assert rows["recall.fire_hazard (test)"].bound == "≥ 0.7，≥ 0.9800（当前 current 1.0000）"
    assert rows["golden_labels"].value == 0
    failed = gate(models, "deaf", policy, [labelled])
    assert not failed.passed
    assert {row.rule for row in failed.rules if not row.passed} >= {"macro_f1 (test)", "recall.fire_hazard (test)"}


def test_ones_own_file_alone_does_not_answer_for_the_splits(models: Path, labelled: Path, policy: Path) -> None:
    ours = labelled.rename(labelled.with_name("ours.jsonl"))
    record = gate(models, "good", policy, [ours])
    failed = [row for row in record.rules if not row.passed]
    assert [row.rule for row in failed] == ["macro_f1 (validation, test)", "recall.telecom_fraud (validation, test)"]
    assert [row.value for row in failed] == [None, None]
    assert not record.passed


def test_without_files_those_of_the_policy_are_measured(
    models: Path, labelled: Path, policy: Path, commands: typer.Typer, tmp_path: Path
) -> None:
    corpus = tmp_path / "data" / "corpus"
    corpus.mkdir(parents=True)
    for name in ("validation", "test", "train"):
        shutil.copy(labelled, corpus / f"{name}.jsonl")
    words = ("gate", "good", "--policy", policy, "--models", models, "--data", tmp_path / "data", "--json")
    done = CliRunner().invoke(commands, ["release", *map(str, words)])
    assert (done.exit_code, list(json.loads(done.stdout)["files"])) == (0, ["validation.jsonl", "test.jsonl"])
    (corpus / "validation.jsonl").unlink()
    assert files_of(load_policy(policy), corpus) == [corpus / "test.jsonl"]
    assert {path.stem for path in files_of(load_policy(policy), ROOT / "data" / "corpus")} == {"validation", "test"}


@pytest.mark.parametrize("version", ["good", "a"])
def test_a_release_that_is_replaced_meanwhile_is_refused(
    models: Path, labelled: Path, policy: Path, version: str
) -> None:
    def replaced(done: int, _: int) -> None:
        if done == 20:
            seal(models / version, replace(keyword_manifest(), version=version, metrics={"other": {}}))

    with pytest.raises(ReleaseRefused, match=f"{version} was replaced while it was measured"):
        gate(models, "good", policy, [labelled], replaced)


def test_the_record_holds_what_was_measured_and_not_what_came_later(models: Path, labelled: Path, policy: Path) -> None:
    sums = [checksum(policy), checksum(labelled)]

    def edited(*_: int) -> None:
        policy.write_text("")
        labelled.write_text("")

    record = gate(models, "good", policy, [labelled], edited)
    assert [record.policy, record.files["test.jsonl"]] == sums


def test_what_cannot_be_measured_is_refused(models: Path, labelled: Path, policy: Path, tmp_path: Path) -> None:
    with pytest.raises(ReleaseNotFound):
        gate(models, "none", policy, [labelled])
    with pytest.raises(CorpusError, match="至少一个"):
        gate(models, "good", policy, [])
    with pytest.raises(CorpusError, match="names differ"):
        gate(models, "good", policy, [labelled, labelled])
    bad = tmp_path / "bad.jsonl"
    for content, match in (
        ("", "没有一条标注消息"),
        ('\n{"text": "x", "label": "flood"}', "row 2: the candidate does not know the label flood;"),
        (
            '{"text": "other", "label": "楼上半夜还在装修太吵了睡不着"}',
            "（14 字） .*label of 14 characters;",
        ),
        ('{"text": "x", "label": 3}', "row 1: label is a int"),
    ):
        bad.write_text(content, encoding="utf-8")
        with pytest.raises(CorpusError, match=match) as refused:
            gate(models, "good", policy, [bad])
        assert "半夜" not in str(refused.value)


def test_gate_then_promote_as_they_are_typed(
    models: Path, labelled: Path, policy: Path, commands: typer.Typer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*words: object) -> Any:
        return CliRunner().invoke(commands, ["release", *map(str, words), "--models", str(models)])

    failed = run("gate", "deaf", labelled, "--policy", policy)
    assert failed.exit_code == 1
    assert "recall.fire_hazard (test)" in failed.stdout
    assert "不通过 FAIL" in failed.stdout
    assert "did not pass its gate" in run("promote", "deaf").stderr
    assert history.current(models) == "a"
    passed = run("gate", "good", labelled, "--policy", policy, "--json")
    assert (passed.exit_code, json.loads(passed.stdout)["passed"]) == (0, True)
    # Off a terminal a bar would be rubbish in a log: a line for each twentieth instead.
    assert passed.stderr.splitlines() == [f"good {done}/40" for done in range(4, 41, 4)]
    sums = [checksum(path)[:12] for path in (policy, labelled)]
    what = f"passed: policy {sums[0]}; {labelled.name} {sums[1]}"
    assert run("promote", "good").stdout == f"上线 promote: a → good ({what})\n"
    # The gate was against a release that serves no more.
    assert run("promote", "a").exit_code == 2
    assert run("rollback").stdout == "回退 rollback: good → a\n"


def test_a_real_release_goes_through(tiny_release: Path, tiny_data: Path, tmp_path: Path) -> None:
    models, test = tmp_path / "models", tiny_data / "corpus" / "test.jsonl"
    for version in ("tiny-1", "tiny-2"):
        shutil.copytree(tiny_release, models / version)
    seal(models / "tiny-2", replace(Release.open(tiny_release).manifest, version="tiny-2"))
    (models / "CURRENT").write_text("tiny-1\n")
    same = tmp_path / "same.toml"
    bounds = {"macro_f1": "worse_by", "calibration_error": "worse_by", "golden_max_difference": "at_most"}
    same.write_text("".join(f'[[rule]]\nfigure = "{name}"\n{bound} = 0.0001\n' for name, bound in bounds.items()))
    history.record_gate(models, gate(models, "tiny-2", same, [test]))
    strict = gate(models, "tiny-2", ROOT / "training" / "configs" / "gate.toml", [test])
    assert {row.rule: row.passed for row in strict.rules}["macro_f1 (test)"] is False
    assert promotion.promote(models, "tiny-2", "x").gate.startswith("passed: policy ")
