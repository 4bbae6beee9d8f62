"""``triage check``: is a release whole, and does it answer here as it did where it was made?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from triage import golden
from triage.cli.show import report_table
from triage.engine import Triage
from triage.model.artifact import GOLDEN, Release

EXIT_DRIFT = 1

FolderArgument = Annotated[Path, typer.Argument(help="模型文件夹 / Release folder.")]
JsonOption = Annotated[bool, typer.Option("--json", help="输出 JSON / JSON for machines.")]


def check(folder: FolderArgument = Path("models/current"), as_json: JsonOption = False) -> None:
    """检查模型文件夹，并在本机核对基准输出。 Check a release on the machine where it will run.

    `triage check models/current`

    校验布局与校验和，载入，与 golden.jsonl 比较；不一致时退出码 1，文件损坏时 2。
    Verifies layout and checksums, loads, compares with golden.jsonl; exit code 1 on drift, 2 on a damaged folder.
    """
    release = Release.open(folder)
    report = golden.compare(Triage.load(folder), golden.load(release.path(GOLDEN)))
    if as_json:
        data = {**report.to_json(), "files": len(release.manifest.files)}
        typer.echo(json.dumps(data, ensure_ascii=False).encode("utf-8"))
    else:
        Console().print(report_table(report, len(release.manifest.files)))
    if report.drifted:
        raise typer.Exit(EXIT_DRIFT)
