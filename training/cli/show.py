"""What the commands share: options, a progress bar, tables of figures."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Protocol

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

DATA = Annotated[Path, typer.Option("--data", help="Data folder: taxonomy.toml, lexicon/, corpus/. 数据文件夹")]
AS_JSON = Annotated[bool, typer.Option("--json", help="Print JSON for machines. 输出 JSON")]

# Standard error: what a command prints for machines stays clean.
console = Console(stderr=True)


class Move(Protocol):
    """Moves the bar of a long stage: what is done, of how much, the stage's name, and what else there is to say."""

    def __call__(self, done: int, total: int, name: str, note: str = "") -> None: ...


@contextmanager
def stages() -> Iterator[tuple[Callable[[str], None], Move]]:
    """A progress bar: one function names the stage, the other moves the bar of a long one.

    Where nobody watches (a log file), a line for each stage and for each twentieth of a long one.
    """
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("…", total=None)
        twentieth = 0

        def step(name: str) -> None:
            bar.update(task, description=name, total=None, completed=0)
            if bar.disable:
                console.print(name)

        def move(done: int, total: int, name: str, note: str = "") -> None:
            nonlocal twentieth
            bar.update(task, total=total, completed=done, description=f"{name}  {note}".rstrip())
            before, twentieth = twentieth, done * 20 // total
            if bar.disable and twentieth > before:
                console.print(f"{name} {done}/{total}  {note}".rstrip())

        yield step, move


def named(files: Sequence[Path]) -> dict[str, Path]:
    """Files by stem, or by path where two stems are the same."""
    stems = Counter(file.stem for file in files)
    return {file.stem if stems[file.stem] == 1 else str(file): file for file in files}


def output(found: dict[str, Any], as_json: bool, show: Callable[[dict[str, Any]], None]) -> None:
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
    else:
        show(found)


def show_figures(found: dict[str, Any]) -> None:
    from training.report import FIGURES

    names: Sequence[str] = list(found)
    table = Table("", *names)
    for key, title in FIGURES:
        if any(key in found[name] for name in names):
            table.add_row(title, *(figure(found[name].get(key)) for name in names))
    for label in next(iter(found.values()))["f1"] if found else ():
        table.add_row(f"F1 {label}", *(figure(found[name]["f1"].get(label)) for name in names))
    Console().print(table)


def figure(value: object) -> str:
    return "–" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
