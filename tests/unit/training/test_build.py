"""From a recipe to a sealed release: what is built loads, answers, is measured, and a killed build goes on."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from training import calibrate, cli, corpus
from training.build import Job, build
from training.finetune import Progress
from training.report import FIGURES
from triage import golden
from triage.decision import Decision
from triage.engine import Triage
from triage.errors import TrainingError
from triage.model.artifact import Release
from triage.taxonomy import Urgency


@pytest.fixture(scope="module")
def engine(tiny_release: Path) -> Triage:
    return Triage.load(tiny_release, workers=1)


@pytest.fixture(scope="module")
def texts(tiny_data: Path) -> list[str]:
    return [message.text for message in corpus.load(tiny_data / "corpus" / "test.jsonl")]


def test_the_folder_is_sealed_and_whole(tiny_release: Path, tiny_data: Path) -> None:
    release = Release.open(tiny_release)
    lexicon = {f"lexicon/{file.name}" for file in (tiny_data / "lexicon").iterdir()}
    plots = {"plots/reliability.png", "plots/risk_coverage.png"}
    files = (
        {"model.onnx", "linear.npz", "tokenizer.json", "taxonomy.toml", "golden.jsonl", "README.md"} | lexicon | plots
    )
    assert set(release.manifest.files) == files
    assert (release.version, release.manifest.max_tokens, release.manifest.overlap) == ("tiny-1", 64, 16)


def test_the_manifest_says_how_it_was_made(tiny_release: Path, tiny_job: Job) -> None:
    training = Release.open(tiny_release).manifest.training
    assert training["recipe"] == tiny_job.recipe.model_dump()
    assert training["messages"] == {"train": 50, "validation": 50, "calibration": 50, "test": 50}
    assert len(training["corpus_sha256"]) == 64


def test_every_field_of_a_decision_is_filled(engine: Triage, texts: list[str]) -> None:
    said = engine.classify(texts)
    ids = engine.taxonomy.ids
    assert len({decision.confidence for decision in said}) > 40, "not one answer to everything"
    for text, decision in zip(texts, said, strict=True):
        assert list(decision.scores) == list(ids)
        assert sum(decision.scores.values()) == pytest.approx(1)
        assert decision.confidence == decision.scores[decision.label] == max(decision.scores.values())
        assert decision.unit == engine.taxonomy[decision.label].unit
        assert (decision.route == "auto") == (not decision.reasons)
        assert (decision.model, decision.stage, decision.truncated) == ("tiny-1", "ensemble", False)
        assert decision.read == (0, len(text))
        assert Decision.from_json(json.loads(json.dumps(decision.to_json()))).to_json() == decision.to_json()
        assert set(decision.secondary) <= set(engine.taxonomy.dispatch_ids) - {decision.label}
        assert (decision.urgency is Urgency.ROUTINE) == (not decision.urgency_reasons)
    assert any(decision.evidence for decision in said)
    assert any(decision.entities for decision in said)


def test_golden_outputs_pass_where_they_were_made(tiny_release: Path, engine: Triage, texts: list[str]) -> None:
    rows = golden.load(tiny_release / "golden.jsonl")
    assert [row["text"] for row in rows] == texts
    report = golden.compare(engine, rows)
    assert not report.drifted
    assert report.routes == report.urgencies == report.unfirm_labels == ()


def test_figures_are_those_of_the_release_that_serves(
    tiny_release: Path, engine: Triage, tiny_data: Path, texts: list[str]
) -> None:
    metrics = Release.open(tiny_release).manifest.metrics
    assert set(metrics) == {"validation", "test", "baseline", "int8_agreement", "disguise", "evidence"}
    truth = [message.label for message in corpus.load(tiny_data / "corpus" / "test.jsonl")]
    right = [a == decision.label for a, decision in zip(truth, engine.classify(texts), strict=True)]
    assert metrics["test"]["n"] == 50
    assert metrics["test"]["accuracy"] == pytest.approx(sum(right) / 50)
    assert set(metrics["baseline"]) == set(metrics["int8_agreement"]) == {"validation", "test"}
    assert metrics["int8_agreement"]["test"] >= 0.9


def test_the_card_holds_the_figures(tiny_release: Path) -> None:
    metrics = Release.open(tiny_release).manifest.metrics
    card = (tiny_release / "README.md").read_text(encoding="utf-8")
    assert card.startswith("# Release tiny-1\n")
    for key, name in FIGURES:
        cells = [metrics[part].get(key, "–") for part in ("validation", "test")]
        row = [f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in cells]
        assert f"| {name} | {' | '.join(row)} |" in card
    for row in ("| traffic |", "| jieba + TF-IDF + LR |", "| same label as fp32 |", "| zero_width |"):
        assert row in card
    assert f"falls by {metrics['evidence']['evidence']:.3f}" in card
    pictures = re.findall(r"!\[[^]]+\]\((plots/[a-z_]+\.png)\)", card)
    assert len(pictures) == 2
    assert all((tiny_release / picture).is_file() for picture in pictures)


def test_intermediate_models_stay_out_of_the_release(tiny_release: Path, tiny_job: Job) -> None:
    assert tiny_release == tiny_job.out
    assert {path.name for path in tiny_job.work.iterdir()} == {"fp32.onnx", "fp32", "hf"}
    assert (tiny_job.work / "hf" / "model.safetensors").is_file()


def test_a_killed_build_goes_on_to_the_same_release(
    tiny_release: Path, tiny_job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(at: Progress) -> None:
        if at.step == 5:
            raise KeyboardInterrupt

    job = replace(tiny_job, work=tmp_path / "runs" / "tiny-1", out=tmp_path / "models" / "tiny-1", with_hf=False)
    with pytest.raises(KeyboardInterrupt):
        build(job, progress=kill)
    assert not job.out.exists()

    # The rest through the command line: `--base` takes the place of the recipe's base.
    recipe = tmp_path / "recipe.toml"
    train = "\n".join(f"{key} = {json.dumps(value)}" for key, value in job.recipe.train.model_dump().items())
    recipe.write_text(f'base = "elsewhere"\nmax_tokens = 64\noverlap = 16\n[train]\n{train}\n', encoding="utf-8")
    app = typer.Typer()
    cli.register(app)
    places = ["--data", job.data, "--work", tmp_path / "runs", "--out", tmp_path / "models", "--base", job.recipe.base]
    result = CliRunner().invoke(app, [str(item) for item in ("train", "tiny-1", "--config", recipe, *places)])
    assert result.exit_code == 0, result.output
    steps = [line.split()[1] for line in result.stderr.splitlines() if line.startswith("train ")]
    assert steps == ["5/7", "6/7", "7/7"], "the checkpoint was that of step 4"
    assert "macro-F1" in result.stdout
    steps = [f"  triage release {step} tiny-1 --models {job.out.parent}" for step in ("gate", "promote")]
    assert result.stdout.splitlines()[-3:] == [str(job.out), *steps]
    assert Release.open(job.out).manifest.training["recipe"] == tiny_job.recipe.model_dump()
    assert golden.load(job.out / "golden.jsonl") == golden.load(tiny_release / "golden.jsonl")


@pytest.mark.slow
def test_a_build_killed_after_training_does_not_train_again(tiny_job: Job, tmp_path: Path) -> None:
    def kill(name: str) -> None:
        if name == "measure":
            raise KeyboardInterrupt

    job = replace(tiny_job, work=tmp_path / "runs" / "tiny-1", out=tmp_path / "models" / "tiny-1", with_hf=False)
    with pytest.raises(KeyboardInterrupt):
        build(job, step=kill)
    steps: list[int] = []
    build(job, progress=lambda at: steps.append(at.step))
    assert steps == []
    assert Release.open(job.out).version == "tiny-1"
    assert not (job.work / "checkpoint.pt").exists()


def test_a_finished_release_is_not_overwritten(tiny_release: Path, tiny_job: Job) -> None:
    with pytest.raises(TrainingError, match="tiny-1，不会覆盖"):
        build(tiny_job)
    assert Release.open(tiny_release).version == "tiny-1"


def test_what_holds_nothing_to_read_does_not_stop_the_calibration(engine: Triage, tiny_data: Path) -> None:
    messages = corpus.load(tiny_data / "corpus" / "calibration.jsonl")[:2]
    raw = calibrate.raw_outputs(engine, [messages[0], replace(messages[0], text="👍👍"), messages[1]])
    assert raw.outputs.shape == (2, 12)
    assert [engine.taxonomy.ids[row] for row in raw.label] == [message.label for message in messages]
    assert len(raw.secondary) == len(raw.urgency) == 2
