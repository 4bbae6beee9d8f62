"""``triage data …``: the labelled corpus."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Column, Table

from training.cli.show import AS_JSON, DATA, figure
from triage.taxonomy import Taxonomy

app = typer.Typer(help="The labelled corpus. 语料", no_args_is_help=True)


@app.command("check")
def check(data: DATA = Path("data"), as_json: AS_JSON = False) -> None:
    """Check the corpus: schema, codebook, duplicates, leakage, personal data. 检查语料

    Exit code 1 when something is wrong.
    """
    from training import corpus

    splits = corpus.load_splits(data)
    findings = corpus.validate(splits, data)
    if as_json:
        rows = [{"code": f.code, "row": f.row, "message": f.message} for f in findings]
        typer.echo(json.dumps(rows, ensure_ascii=False))
    else:
        for finding in findings:
            typer.echo(f"{finding.code}  {finding.row}  {finding.message}")
        _print_counts(splits, Taxonomy.load(data))
        typer.echo(f"{sum(map(len, splits.values()))} messages, {len(findings)} findings")
    if findings:
        raise typer.Exit(1)


@app.command("coverage")
def coverage(data: DATA = Path("data"), as_json: AS_JSON = False) -> None:
    """Show what of the codebook the corpus covers, by the scenario matrix. 语料覆盖情况

    Exit code 1 when a cell falls short.
    """
    from training import corpus
    from training.coverage import coverage as measure
    from training.coverage import load_matrix

    splits = corpus.load_splits(data)
    found = measure([m for part in splits.values() for m in part], corpus.load_topics(data), load_matrix(data))
    if as_json:
        typer.echo(json.dumps(asdict(found), ensure_ascii=False))
    else:
        # A narrow terminal folds the heads, never the topics. Where a table of topics ends, a line is drawn.
        counted = [Column(name, overflow="fold") for name in (*corpus.REGISTERS, "voices", "hard", "plain")]
        table = Table(Column("topic", no_wrap=True), *counted)
        for row, below in zip(found.rows, [*found.rows[1:], None], strict=True):
            cells = [*row.registers.values(), row.voices, row.hard, row.plain]
            ends = below is None or below.table != row.table
            table.add_row(row.topic, *map(str, cells), end_section=ends)
        Console().print(table)
        typer.echo("minimal pairs: " + ", ".join(f"{name} {count}" for name, count in found.pairs.items()))
        for text in found.missing:
            typer.echo(f"short  {text}")
    if found.missing:
        raise typer.Exit(1)


@app.command("agreement")
def agreement(data: DATA = Path("data"), as_json: AS_JSON = False) -> None:
    """Compare the corpus's labels with the blind second reading beside it. 两次标注的一致程度"""
    from training import agreement as reading
    from training import corpus

    found = reading.agreement(corpus.load_splits(data), reading.load_readings(data / reading.FILE))
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    table = Table("", "messages", "agreement", "kappa")
    rows = {"all": found, **found["by_split"], **found["by_register"], **found["by_label"]}
    for name, row in rows.items():
        table.add_row(name, str(row["n"]), f"{row['agreement']:.3f}", figure(row.get("kappa")))
    Console().print(table)
    typer.echo(f"urgency, where both name the same report label: {found['urgency_agreement']:.3f}")
    typer.echo("; ".join(f"{name} {count}" for name, count in found["changed"].items()))


def _print_counts(splits: dict[str, list[Any]], taxonomy: Taxonomy) -> None:
    table = Table("", *taxonomy.ids, "all")
    for name, part in splits.items():
        counts = [sum(m.label == key for m in part) for key in taxonomy.ids]
        table.add_row(name, *map(str, counts), str(len(part)))
    Console().print(table)
