"""``triage release gate``, beside the library's own ``triage release …``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from training.cli.models import CONFIGS
from training.cli.show import AS_JSON, DATA, stages
from triage.cli import release as library
from triage.cli.release import ModelsOption, VersionArgument, gate_table

EXIT_FAILED = 1

# Of two groups with one name the later one wins; it has the library's commands too.
app = typer.Typer(name="release", help=library.app.info.help, no_args_is_help=True, rich_markup_mode="markdown")
app.registered_commands = list(library.app.registered_commands)


@app.command("gate")
def gate(
    version: VersionArgument,
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="标注文件，默认为门槛文件所列与测试集 / Labelled .jsonl; the policy's and the test split."),
    ] = None,
    policy: Annotated[Path, typer.Option(help="门槛文件 / Policy.")] = CONFIGS / "gate.toml",
    models: ModelsOption = Path("models"),
    data: DATA = Path("data"),
    as_json: AS_JSON = False,
) -> None:
    """把候选版本与当前版本同场比较，逐条核对门槛。 Hold a candidate against the policy and the release that serves.

    `triage release gate 2026.12.1 data/corpus/test.jsonl ours.jsonl`

    结果记入 gates/，供 `triage release promote` 查验；未通过时退出码 1。
    The result is kept in gates/, where `triage release promote` looks for it; exit code 1 when a rule is not kept.
    """
    from training.gate import gate as measure
    from training.rules import files_of, load_policy
    from triage.model.history import record_gate

    with stages() as (_, move):
        record = measure(
            models,
            version,
            policy,
            files or files_of(load_policy(policy), data / "corpus"),
            lambda done, total: move(done, total, version),
        )
    record_gate(models, record)
    if as_json:
        typer.echo(json.dumps(asdict(record), ensure_ascii=False))
    else:
        Console().print(gate_table(record))
    if not record.passed:
        raise typer.Exit(EXIT_FAILED)
