"""``triage compare``, and the report of ``triage evaluate``."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from training.cli.show import AS_JSON, console, figure, named, output, stages

if TYPE_CHECKING:
    from training.compare import Comparison, Part
    from triage import Triage

# The screen shows so many messages that changed sides; JSON and the report have them all.
SHOWN = 40
MARKS = {"better": "▲", "worse": "▼", "": ""}

REPORT = Annotated[
    Path | None, typer.Option("--report", dir_okay=False, help="Also write an HTML report that opens offline. 报告")
]
BY = Annotated[list[str] | None, typer.Option("--by", help="Also slice by this column of the file. 另按此列分组")]


def compare(
    a: Annotated[Path, typer.Argument(help="Release folder, e.g. models/current. 现用版本")],
    b: Annotated[Path, typer.Argument(help="Release folder to compare with it. 候选版本")],
    files: Annotated[list[Path], typer.Argument(help="Labelled .jsonl files. 评测文件")],
    by: BY = None,
    report: REPORT = None,
    with_texts: Annotated[
        bool, typer.Option("--with-texts", help="Put the texts that changed sides into the report. 报告含正文")
    ] = False,
    as_json: AS_JSON = False,
) -> None:
    """Compare two releases on labelled files: what differs, how surely, who changed sides. 比较两个版本

    Example: triage compare models/current models/2026.12.1 data/corpus/test.jsonl --report compare.html
    """
    from training.compare import check
    from training.compare import compare as compared
    from training.evaluate import answer, load_gold
    from triage import Triage

    if with_texts and report is None:
        raise typer.BadParameter("--with-texts 要与 --report 同用 / --with-texts goes with --report")
    writable(report)
    engines = [Triage.load(folder) for folder in (a, b)]
    ids = list(dict.fromkeys(label for engine in engines for label in engine.taxonomy.ids))
    for file in files:
        check(load_gold(file), ids, by or ())
    found: dict[str, Comparison] = {}
    texts: dict[str, dict[int, str]] = {}
    with stages() as (step, _):
        for name, file in named(files).items():
            step(name)
            before, after = (answer(engine, file) for engine in engines)
            found[name] = compared(before, after, ids, by or ())
            texts[name] = {g.row: g.text for g in before.gold}
    if report:
        write(report, found, engines, texts if with_texts else None)
    output({name: one.to_json() for name, one in found.items()}, as_json, lambda _: _print(found))


def assessed(engine: Triage, file: Path) -> Comparison:
    """One release on one file, for the report."""
    from training.compare import assess
    from training.evaluate import answer

    return assess(answer(engine, file), engine.taxonomy.ids)


def write(
    report: Path,
    found: Mapping[str, Comparison],
    engines: Sequence[Triage],
    texts: Mapping[str, Mapping[int, str]] | None = None,
) -> None:
    """Write the HTML report; see ``training.html.render``."""
    from training.html import render

    names = {label.id: label.name for engine in reversed(engines) for label in engine.taxonomy.labels}
    page = render(found, names, datetime.date.today().isoformat(), texts)
    # A lone surrogate, which JSON may hold and UTF-8 may not, must not cost the whole report.
    report.write_text(page, encoding="utf-8", errors="xmlcharrefreplace")
    console.print(str(report), markup=False)


def writable(report: Path | None) -> None:
    """Refuse a report that cannot be written before anything has taken its time."""
    if report and not report.absolute().parent.is_dir():
        raise typer.BadParameter(
            f"文件夹 {report.parent} 不存在，请先建立 / there is no folder {report.parent}; make it"
        )


def _print(found: Mapping[str, Comparison]) -> None:
    for name, one in found.items():
        before, after = one.releases
        _table([name, f"A  {before}", f"B  {after}", "B−A", f"{one.resampling.level:.0%} interval"], _whole(one))
        test = one.whole.mcnemar
        if test:
            typer.echo(
                f"{one.whole.n} messages, {one.same_label} with the same label from both; fixed {test.fixed}, "
                f"broken {test.broken}; McNemar p = {test.p:.4f}"
            )
        for way, parts in one.ways().items():
            _table([way, "n", *parts[0].estimates, "fixed", "broken", "p (BH)"], map(_cells, parts))
        _print_changes(one)
    typer.echo("A→B; ▲ better, ▼ worse: the interval of the difference leaves out 0. Intervals: --json, --report")


def _whole(one: Comparison) -> Iterator[list[str]]:
    from training.compare import verdict
    from training.report import FIGURES

    before, after = one.whole.figures
    titles = dict(FIGURES)
    for key, difference in one.whole.estimates.items():
        bounds = f"{difference.low:+.3f} … {difference.high:+.3f}" if difference.low is not None else "–"
        mark = MARKS[verdict(key, difference)]
        change = f"{difference.value:+.3f}{mark}" if difference.value is not None else "–"
        yield [titles[key], figure(before[key]), figure(after[key]), change, bounds]


def _cells(part: Part) -> list[str]:
    from training.compare import verdict

    before, after = part.figures
    cells = [
        f"{figure(before[key])}→{figure(after[key])}{MARKS[verdict(key, difference)]}"
        for key, difference in part.estimates.items()
    ]
    tests = [part.mcnemar.fixed, part.mcnemar.broken, round(part.mcnemar.p_adjusted, 4)] if part.mcnemar else []
    return [part.name, str(part.n), *cells, *map(str, tests)]


def _print_changes(one: Comparison) -> None:
    rows = [
        [
            change.side,
            str(change.row),
            change.id,
            change.label,
            *(f"{said.label} {said.confidence:.3f} {said.route}" for said in (change.before, change.after)),
        ]
        for change in one.changes
    ]
    if rows:
        _table(["side", "row", "id", "truth", "A", "B"], rows[:SHOWN])
    if len(rows) > SHOWN:
        typer.echo(f"{len(rows) - SHOWN} more changed sides: --json or --report lists them all")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    # As text: what stands in square brackets in a file's id or column is no markup. A narrow terminal folds cells: half
    # a figure is none.
    table = Table(*(Column(Text(name), overflow="fold") for name in head))
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)
