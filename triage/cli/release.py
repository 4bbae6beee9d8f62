"""``triage release …``: which release serves. What changes it asks no more of a machine than serving does.

``triage release gate`` comes from ``training.cli``, where that part is installed.
"""

from __future__ import annotations

import getpass
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from triage import promotion
from triage.model import history
from triage.model.history import Event, GateRecord
from triage.promotion import Listed

ACTIONS = {"promote": "上线 promote", "rollback": "回退 rollback"}
LAST = 20

VersionArgument = Annotated[str, typer.Argument(help="版本名，如 2026.12.1 / Version, the folder's name.")]
ModelsOption = Annotated[Path, typer.Option("--models", help="版本目录 / Folder of the releases.")]
JsonOption = Annotated[bool, typer.Option("--json", help="输出 JSON / JSON for machines.")]
ByOption = Annotated[str, typer.Option("--by", help="操作人，默认为登录名 / Who; the login name by default.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="原因，记入历史 / Why, for the history.")]

app = typer.Typer(
    name="release",
    help="模型版本：列出、上线、回退。 Releases: list, promote, roll back.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@app.command("list")
def list_(models: ModelsOption = Path("models"), as_json: JsonOption = False) -> None:
    """列出版本与上线历史。 List the releases and which of them served when.

    `triage release list`
    """
    found, past = promotion.releases(models), history.events(models)
    if as_json:
        rows = [_summary(item) for item in found]
        _print_json({"current": history.current(models), "releases": rows, "history": [asdict(e) for e in past]})
        return
    table = Table("", "版本 release", "生成 created", "macro-F1 (test)", "大小 MiB", "门槛检查 gate")
    for item in found:
        row = _summary(item)
        figures = (row["created"] or "", _number(row["macro_f1"], 3), _number(item.size / 2**20, 1))
        cells = ("▶" if item.serves else "", item.version, *figures, _verdict(item.gate))
        table.add_row(*map(Text, cells))
    Console().print(table)
    _print_history(past[-LAST:])


@app.command()
def show(
    version: Annotated[str, typer.Argument(help="版本名，默认为当前版本 / Version; the one that serves.")] = "",
    models: ModelsOption = Path("models"),
    as_json: JsonOption = False,
) -> None:
    """显示一个版本：来历、指标、门槛检查、上线历史。 How a release was made, measured, gated, and when it served.

    `triage release show 2026.12.1`
    """
    version = version or history.current(models)
    promotion.folder_of(models, version)
    (item,) = (item for item in promotion.releases(models) if item.version == version)
    past = [event for event in history.events(models) if version in (event.before, event.after)]
    if as_json:
        gate = asdict(item.gate) if item.gate else None
        manifest = item.manifest.to_json() if item.manifest else None
        _print_json({**_summary(item), "manifest": manifest, "gate": gate, "history": [asdict(e) for e in past]})
        return
    rows = {"版本 release": version, "当前 serves": "是 yes" if item.serves else "否 no", **_facts(item)}
    grid = Table.grid(padding=(0, 2))
    for name, value in rows.items():
        grid.add_row(Text(name, style="dim"), Text(value))
    Console().print(grid)
    if item.gate:
        Console().print(gate_table(item.gate))
    _print_history(past)


@app.command()
def promote(
    version: VersionArgument,
    models: ModelsOption = Path("models"),
    reason: ReasonOption = "",
    by: ByOption = "",
    without_gate: Annotated[
        str, typer.Option("--without-gate", help="不查门槛，写明理由 / Ask for no gate, and say why.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """上线一个版本：校验文件与基准输出，再切换 CURRENT。 Let a release serve, once it is proven.

    `triage release promote 2026.12.1 --reason "九月标注"`

    须先通过 `triage release gate`；正在运行的服务会自行换用新版本，不丢请求。
    It must have passed `triage release gate`; a running service takes it up by itself and drops no request.
    """
    _print_event(promotion.promote(models, version, by or _login(), reason, without_gate), as_json)


@app.command()
def rollback(
    models: ModelsOption = Path("models"),
    to: Annotated[str, typer.Option("--to", help="退回到哪个版本，默认为上一个 / Which; the one before.")] = "",
    reason: ReasonOption = "",
    by: ByOption = "",
    as_json: JsonOption = False,
) -> None:
    """退回到上一个版本。 Let the release serve that served before.

    `triage release rollback --reason "误报增多"`
    """
    _print_event(promotion.rollback(models, by or _login(), reason, to), as_json)


def gate_table(record: GateRecord) -> Table:
    """Each rule of a gate with value, bound and verdict."""
    title = f"{record.candidate} ⟶ {record.against or '（无 none）'}  {record.when}"
    table = Table("规则 rule", "值 value", "界限 bound", "结论 verdict", title=title, title_justify="left")
    for row in record.rules:
        verdict = Text("通过 pass", style="green") if row.passed else Text("不通过 FAIL", style="bold red")
        table.add_row(row.rule, _number(row.value, 4), row.bound, verdict)
    return table


def _summary(item: Listed) -> dict[str, Any]:
    training = item.manifest.training if item.manifest else {}
    metrics = item.manifest.metrics if item.manifest else {}
    return {
        "version": item.version,
        "serves": item.serves,
        "created": training.get("created"),
        "macro_f1": metrics.get("test", {}).get("macro_f1"),
        "bytes": item.size,
        "gate_passed": item.gate.passed if item.gate else None,
    }


def _facts(item: Listed) -> dict[str, str]:
    size = {"大小 size": f"{item.size / 2**20:.1f} MiB"}
    if item.manifest is None:
        return {**size, "清单 manifest": "无法读取 cannot be read"}
    manifest = item.manifest
    measured = {
        f"macro-F1 ({name})": _number(figures["macro_f1"], 3)
        for name, figures in manifest.metrics.items()
        if isinstance(figures, dict) and "macro_f1" in figures
    }
    made = {
        "生成 created": str(manifest.training.get("created", "")),
        "语料 corpus sha256": str(manifest.training.get("corpus_sha256", ""))[:12],
        "判定 stage": manifest.stage,
    }
    return {**made, **size, **measured, "门槛检查 gate": _verdict(item.gate)}


def _verdict(gate: GateRecord | None) -> str:
    return "" if gate is None else f"{'通过 passed' if gate.passed else '不通过 failed'} {gate.when}"


def _number(value: Any, digits: int) -> str:
    return f"{value:.{digits}f}" if isinstance(value, int | float) else "–"


def _print_history(past: Sequence[Event]) -> None:
    if not past:
        return
    table = Table("时间 when", "操作 action", "从 from", "到 to", "操作人 by", "原因 reason", "门槛检查 gate")
    for event in past:
        cells = (event.when, ACTIONS[event.action], event.before, event.after, event.by, event.reason, event.gate)
        table.add_row(*map(Text, cells))
    Console().print(table)


def _print_event(event: Event, as_json: bool) -> None:
    if as_json:
        _print_json(asdict(event))
    else:
        gate = f" ({event.gate})" if event.gate else ""
        typer.echo(f"{ACTIONS[event.action]}: {event.before or '（无 none）'} → {event.after}{gate}")


def _print_json(data: Any) -> None:
    typer.echo(json.dumps(data, ensure_ascii=False).encode("utf-8"))


def _login() -> str:
    # A container may run under a number that has no name.
    with suppress(OSError, KeyError, ImportError):
        return getpass.getuser()
    return "unknown"
