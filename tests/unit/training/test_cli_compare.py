"""``triage compare`` and ``triage evaluate --report`` as they are typed, on two tiny releases."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from training import cli
from triage.model.artifact import Release, seal


@pytest.fixture(scope="module")
def commands() -> typer.Typer:
    app = typer.Typer()
    cli.register(app)
    return app


@pytest.fixture(scope="module")
def other_release(tiny_release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny release with its calibration bent towards fraud."""
    out = tmp_path_factory.mktemp("models") / "tiny-2"
    shutil.copytree(tiny_release, out)
    manifest = Release.open(out).manifest
    seal(out, replace(manifest, version="tiny-2", calibration=replace(manifest.calibration, bias=(0, 0, 0, 2.0, 0))))
    return out


@pytest.fixture(scope="module")
def labelled(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Messages with a grid and a time, as a city's have them."""
    rows = [json.loads(line) for line in (tiny_data / "corpus" / "test.jsonl").read_text(encoding="utf-8").splitlines()]
    for number, row in enumerate(rows):
        row |= {"grid": f"[b]东{number % 3}", "time": f"2026-1{number % 2}-01T08:00"}
    file = tmp_path_factory.mktemp("labelled") / "city.jsonl"
    file.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    return file


def invoke(commands: typer.Typer, *arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(commands, [str(argument) for argument in arguments], env={"COLUMNS": "220"})
    return result.exit_code, result.stdout, result.stderr


def test_two_releases_are_compared(
    commands: typer.Typer, tiny_release: Path, other_release: Path, labelled: Path, tmp_path: Path
) -> None:
    report = tmp_path / "out.html"
    pair = ("compare", tiny_release, other_release, labelled)
    code, stdout, _ = invoke(commands, *pair, "--json", "--report", report)
    assert code == 0
    found = json.loads(stdout)["city"]
    assert found["releases"] == {"a": "tiny-1", "b": "tiny-2"}
    assert found["n"] == 50
    whole = found["parts"][0]
    # So much bias finds frauds that were missed and calls others fraud.
    assert whole["b"]["fraud_recall"] > whole["a"]["fraud_recall"]
    fixed, broken = whole["mcnemar"]["fixed"], whole["mcnemar"]["broken"]
    assert fixed > 0
    assert broken > 0
    assert len(found["changes"]) == fixed + broken
    assert {part["by"] for part in found["parts"]} == {"all", "label", "register", "month", "grid", "length"}
    texts = [json.loads(line)["text"] for line in labelled.read_text(encoding="utf-8").splitlines()]
    changed = [texts[change["row"] - 1] for change in found["changes"]]
    assert not any(text[:12] in stdout + report.read_text(encoding="utf-8") for text in changed)
    code, shown, _ = invoke(commands, *pair, "--report", report, "--with-texts")
    assert code == 0
    assert f"fixed {fixed}, broken {broken}" in shown
    # A column's brackets are no markup of the terminal's.
    assert "[b]东1" in shown
    assert all(str(change["id"]) in shown for change in found["changes"][:40])
    assert not any(text[:12] in shown for text in changed)
    assert all(text[:6] in report.read_text(encoding="utf-8") for text in changed)


def test_a_release_with_itself(commands: typer.Typer, tiny_release: Path, labelled: Path) -> None:
    code, stdout, _ = invoke(commands, "compare", tiny_release, tiny_release, labelled, "--json")
    assert code == 0
    found = json.loads(stdout)["city"]
    assert found["changes"] == []
    assert found["parts"][0]["mcnemar"] == {"fixed": 0, "broken": 0, "p": 1.0, "p_adjusted": 1.0}
    for key in ("accuracy", "macro_f1", "fraud_recall", "calibration_error", "auto_share"):
        assert found["parts"][0]["difference"][key] == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_what_cannot_work_is_said_before_anything_is_read(
    commands: typer.Typer, tiny_release: Path, labelled: Path, tmp_path: Path
) -> None:
    pair = ("compare", tiny_release, tiny_release, labelled)
    code, _, stderr = invoke(commands, *pair, "--with-texts")
    assert (code, "--with-texts goes with --report" in stderr) == (2, True)
    code, _, stderr = invoke(commands, *pair, "--report", tmp_path / "nowhere" / "out.html")
    assert (code, "nowhere" in stderr) == (2, True)
    code, _, _ = invoke(commands, *pair, "--by", "sorce")
    assert code == 1
    code, _, _ = invoke(commands, "evaluate", tiny_release, labelled, "--evidence", "--report", tmp_path / "out.html")
    assert code == 2


def test_an_evaluation_has_a_report_too(
    commands: typer.Typer, tiny_release: Path, labelled: Path, tmp_path: Path
) -> None:
    report = tmp_path / "out.html"
    code, stdout, _ = invoke(commands, "evaluate", tiny_release, labelled, "--json", "--report", report)
    assert code == 0
    assert json.loads(stdout) == json.loads(invoke(commands, "evaluate", tiny_release, labelled, "--json")[1])
    assert f"{json.loads(stdout)['city']['macro_f1']:.3f}" in report.read_text(encoding="utf-8")


def test_files_of_one_name_are_measured_each(
    commands: typer.Typer, tiny_release: Path, labelled: Path, tmp_path: Path
) -> None:
    other, report = tmp_path / labelled.name, tmp_path / "out.html"
    other.write_text("\n".join(labelled.read_text(encoding="utf-8").splitlines()[:20]), encoding="utf-8")
    both = ("evaluate", tiny_release, labelled, other, "--json")
    code, stdout, _ = invoke(commands, *both)
    assert code == 0
    assert {name: row["n"] for name, row in json.loads(stdout).items()} == {str(labelled): 50, str(other): 20}
    assert json.loads(invoke(commands, *both, "--report", report)[1]) == json.loads(stdout)
    assert all(str(file) in report.read_text(encoding="utf-8") for file in (labelled, other))


def test_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    from training.cli.show import named

    files = [tmp_path / "a" / "test.jsonl", tmp_path / "b" / "test.jsonl", tmp_path / "other.jsonl"]
    assert list(named(files)) == [str(files[0]), str(files[1]), "other"]
    assert list(named(files).values()) == files
