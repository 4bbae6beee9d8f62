"""The data team's commands, run as they are typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from training import cli
from training.disguise import FAMILIES


@pytest.fixture(scope="module")
def commands() -> typer.Typer:
    app = typer.Typer()
    cli.register(app)
    return app


def run(commands: typer.Typer, *arguments: str | Path) -> str:
    result = CliRunner().invoke(commands, [str(argument) for argument in arguments], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_release_is_measured_on_files(commands: typer.Typer, tiny_release: Path, tiny_data: Path) -> None:
    file = tiny_data / "corpus" / "test.jsonl"
    found = json.loads(run(commands, "evaluate", tiny_release, file, "--json"))
    assert found["test"]["n"] == 50
    assert 0 <= found["test"]["macro_f1"] <= 1
    shown = run(commands, "evaluate", tiny_release, file)
    assert "macro-F1" in shown
    assert f"{found['test']['macro_f1']:.3f}" in shown


def test_disguises_are_measured_one_by_one(commands: typer.Typer, tiny_release: Path, tiny_data: Path) -> None:
    file = tiny_data / "corpus" / "test.jsonl"
    arguments = ("evaluate", tiny_release, file, "--disguise", "--data", tiny_data)
    found = json.loads(run(commands, *arguments, "--json"))["test"]
    assert list(found) == ["plain", *FAMILIES]
    shown = run(commands, *arguments)
    assert all(family in shown for family in found)


def test_evidence_is_measured(commands: typer.Typer, tiny_release: Path, tiny_data: Path) -> None:
    file = tiny_data / "corpus" / "train.jsonl"
    arguments = ("evaluate", tiny_release, file, "--evidence", "--data", tiny_data)
    found = json.loads(run(commands, *arguments, "--json"))["train"]
    assert found["margin"] == pytest.approx(found["evidence"] - found["random"])
    assert f"margin {found['margin']:.3f}" in run(commands, *arguments)


def test_one_question_at_a_time(commands: typer.Typer, tiny_release: Path, tiny_data: Path) -> None:
    file = tiny_data / "corpus" / "test.jsonl"
    result = CliRunner().invoke(commands, ["evaluate", str(tiny_release), str(file), "--evidence", "--disguise"])
    assert result.exit_code == 2


def test_the_corpus_is_checked(commands: typer.Typer, tiny_data: Path) -> None:
    assert run(commands, "data", "check", "--data", tiny_data).rstrip().endswith("200 messages, 0 findings")
