"""``triage data import`` and ``triage data export``, run as they are typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from training import cli
from training.exchange import Mapping

from .conftest import read


@pytest.fixture(scope="module")
def commands() -> typer.Typer:
    app = typer.Typer()
    cli.register(app)
    return app


def run(commands: typer.Typer, *arguments: str | Path, code: int = 0) -> str:
    result = CliRunner().invoke(commands, ["data", *map(str, arguments)], env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    return result.stdout


def test_a_messy_table_comes_in_and_goes_out_again(commands: typer.Typer, data: Path, tmp_path: Path) -> None:
    lines = ["工单,描述,大类,街道", "1,楼道堆满纸箱打13812345678,消防类,城关", "2,路口闯红灯,内涝,城北"]
    (tmp_path / "工单.csv").write_text("\n".join(lines), encoding="gbk")
    (tmp_path / "labels.toml").write_text('"消防类" = "fire_hazard"\n', encoding="utf-8")
    options = ("--label-column", "大类", "--column", "source_id=工单", "--keep", "街道", "--data", data)
    saved, out = tmp_path / "map.toml", tmp_path / "local.jsonl"
    more = ("--labels", tmp_path / "labels.toml", "--save-map", saved)
    shown = run(commands, "import", tmp_path / "工单.csv", "--out", out, *options, *more, code=3)
    assert "unknown_label 1" in shown
    assert "内涝 1" in shown
    (row,) = read(out)
    assert (row["text"], row["label"], row["source_id"], row["街道"]) == (
        "楼道堆满纸箱打138****5678", "fire_hazard", "1", "城关",
    )  # fmt: skip
    assert Mapping.load(saved).columns == {"text": "描述", "label": "大类", "source_id": "工单"}
    again = ("--map", saved, "--data", data, "--keep-personal-data", "--overwrite", "--json")
    found = json.loads(run(commands, "import", tmp_path / "工单.csv", "--out", out, *again, code=3))
    assert (found["read"], found["written"], found["by_reason"]) == (2, 1, {"unknown_label": 1})
    assert read(out)[0]["text"] == "楼道堆满纸箱打13812345678"
    assert run(commands, "export", out, "--out", tmp_path / "tasks.json", "--format", "label-studio").endswith("rows\n")
    assert json.loads((tmp_path / "tasks.json").read_text(encoding="utf-8"))[0]["data"]["街道"] == "城关"


def test_options_that_make_no_sense_are_refused(commands: typer.Typer, data: Path, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("text,label\na,other\n", encoding="utf-8")
    run(commands, "import", tmp_path / "x.csv", "--out", tmp_path / "o.csv", "--data", data, code=2)
    run(commands, "import", tmp_path / "x.csv", "--out", tmp_path / "o.jsonl", "--column", "urgency", code=2)
    more = ("--out", tmp_path / "o.jsonl", "--save-map", tmp_path / "x.csv", "--data", data)
    run(commands, "import", tmp_path / "x.csv", *more, code=2)
    assert (tmp_path / "x.csv").read_text(encoding="utf-8") == "text,label\na,other\n"
