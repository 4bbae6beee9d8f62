"""``triage data import`` and ``triage data export``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from training.cli.show import AS_JSON, DATA, console
from triage.taxonomy import Taxonomy

if TYPE_CHECKING:
    from training.exchange import Mapping, Summary
    from training.exchange import Progress as Step

EXIT_KEPT_ASIDE = 3
MOST = 12

SOURCE = Annotated[Path, typer.Argument(help=".csv .tsv .xlsx .jsonl .json .parquet, a datasets folder. 文件或文件夹")]
OUT = Annotated[Path, typer.Option("--out", "-o", help="File to write. 输出文件")]
OVERWRITE = Annotated[bool, typer.Option("--overwrite", help="Replace an existing output. 覆盖已有输出")]


def import_data(
    source: SOURCE,
    out: OUT,
    map_file: Annotated[Path | None, typer.Option("--map", help="Saved mapping (TOML). 映射文件")] = None,
    save_map: Annotated[Path | None, typer.Option("--save-map", help="Save the mapping used. 保存映射")] = None,
    text_column: Annotated[str, typer.Option("--text-column", help="Column of the text. 正文列")] = "",
    label_column: Annotated[str, typer.Option("--label-column", help="Column of the label. 标签列")] = "",
    column: Annotated[
        list[str] | None, typer.Option("--column", help="FIELD=COLUMN of another field; FIELD= to leave out. 其他列")
    ] = None,
    keep: Annotated[list[str] | None, typer.Option("--keep", help="Column to carry along, * for all. 保留列")] = None,
    labels: Annotated[Path | None, typer.Option("--labels", help="Label table (TOML). 标签对照表")] = None,
    keep_personal_data: Annotated[
        bool, typer.Option("--keep-personal-data", help="Do not mask numbers, plates, accounts. 不遮盖个人信息")
    ] = False,
    overwrite: OVERWRITE = False,
    data: DATA = Path("data"),
    as_json: AS_JSON = False,
) -> None:
    """Turn labelled files of any kind into a corpus file. 导入已标注的数据

    Reads tables in UTF-8 or GBK, Parquet, `datasets` folders, and exports of Label Studio, Argilla and doccano.
    Label ids and their Chinese and English names are known; a table maps others. What cannot be used is kept in
    OUT.errors.jsonl with file, row, column and reason, exit code 3.

    Example: triage data import 工单.csv --out local.jsonl --label-column 类别 --labels labels.toml
    """
    from training.exchange import Mapping, import_file
    from training.exchange.masking import Masker

    if out.suffix.lower() != ".jsonl":
        raise typer.BadParameter("--out 应为 .jsonl / --out must be .jsonl")
    if save_map and save_map.suffix.lower() != ".toml":  # so that it is never the input or the output
        raise typer.BadParameter("--save-map 应为 .toml / --save-map must be .toml")
    mapping = Mapping.load(map_file) if map_file else Mapping()
    mapping = mapping.with_labels(labels) if labels else mapping
    mapping = _with_options(mapping, text_column, label_column, column or [], keep or [])
    masker = None if keep_personal_data else Masker.load(data)
    with _bar() as moved:
        summary = import_file(
            source, out, Taxonomy.load(data), mapping=mapping, masker=masker, overwrite=overwrite, progress=moved
        )
    if save_map:
        replace(mapping, columns={**summary.columns, **mapping.columns}).save(save_map)
    if as_json:
        typer.echo(json.dumps(summary.to_json(), ensure_ascii=False))
    else:
        Console().print(_summary_table(summary))
    if summary.refused:
        raise typer.Exit(EXIT_KEPT_ASIDE)


def export_data(
    source: Annotated[Path, typer.Argument(help="Labelled .jsonl. 已标注的文件")],
    out: OUT,
    kind: Annotated[
        str, typer.Option("--format", help="label-studio, argilla, doccano or datasets (a folder). 格式")
    ] = "",
    overwrite: OVERWRITE = False,
) -> None:
    """Write a labelled file as csv, tsv, xlsx, json, jsonl, parquet or for a labelling tool. 导出

    Tables are UTF-8 with BOM, no cell is taken for a formula, and every format comes back unchanged by import.

    Example: triage data export local.jsonl --out tasks.json --format label-studio
    """
    from training.exchange import export_file

    rows = export_file(source, out, kind=kind, overwrite=overwrite)
    typer.echo(f"{out}: {rows} 行 rows")


def _with_options(mapping: Mapping, text: str, label: str, others: list[str], keep: list[str]) -> Mapping:
    """A saved mapping with what was said on the command line, which wins."""
    columns = dict(mapping.columns)
    for item in others:
        name, equals, column = item.partition("=")
        if not equals:
            raise typer.BadParameter("--column 应形如 urgency=紧急程度 / --column looks like urgency=紧急程度")
        columns[name.strip()] = column.strip()
    columns.update({name: value for name, value in (("text", text), ("label", label)) if value})
    return replace(mapping, columns=columns, keep=tuple(dict.fromkeys([*mapping.keep, *keep])))


@contextmanager
def _bar() -> Iterator[Callable[[Step], None]]:
    columns = (
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[read]:,} 行，搁置 {task.fields[aside]:,}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=1.0, read=0, aside=0)
        yield lambda step: bar.update(task, completed=step.share, read=step.read, aside=step.refused)


def _summary_table(summary: Summary) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    rows = {
        "读入 read": f"{summary.read:,}",
        "写出 written": f"{summary.written:,}" + (f" → {summary.output}" if summary.output else ""),
        "搁置 kept aside": f"{summary.refused:,}" + (f" → {summary.errors}" if summary.errors else ""),
        "  原因 reasons": _counted(summary.by_reason),
        "  未知的值 unknown": _counted(summary.unknown),
        "标签 labels": _counted(summary.by_label),
        "列 columns": ", ".join(f"{name} ← {column}" for name, column in summary.columns.items()),
        "未读的列 not read": ", ".join(summary.unused[:MOST]),
        "正文重复 repeated": f"{summary.repeated:,}" if summary.repeated else "",
        "遮盖 masked": "否 no" if summary.hidden is None else f"{summary.hidden:,}",
        "用时 time": f"{summary.seconds:.1f} s",
    }
    for name, value in rows.items():
        if value:
            table.add_row(name, escape(value))
    return table


def _counted(counts: object) -> str:
    assert isinstance(counts, dict)
    shown = [f"{name} {count:,}" for name, count in counts.items()]
    return ", ".join(shown[:MOST]) + (f", … (+{len(shown) - MOST})" if len(shown) > MOST else "")
