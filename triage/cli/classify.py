"""``triage classify``: a few messages on the screen, or a whole file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from triage.bulk import Options, Rejected, Summary, classify_file
from triage.bulk import Progress as Step
from triage.bulk.rows import checked
from triage.bulk.writers import decision_json, json_line
from triage.cli.show import decision_panel, summary_table
from triage.engine import DEFAULT_WORKERS, Classifier, Triage
from triage.errors import InputError

MODEL = Path("models/current")
EXIT_KEPT_ASIDE = 3
EXIT_INTERRUPTED = 130

TextsArgument = Annotated[list[str] | None, typer.Argument(help="线索正文；- 逐行读标准输入 / Messages; - for stdin.")]
InputOption = Annotated[Path | None, typer.Option("--input", "-i", help=".jsonl .csv .tsv .xlsx")]
OutputOption = Annotated[Path | None, typer.Option("--output", "-o", help=".jsonl .csv .xlsx")]
ModelOption = Annotated[Path, typer.Option("--model", "-m", help="模型文件夹 / Release folder.")]
JsonOption = Annotated[bool, typer.Option("--json", help="每行一个 JSON / JSON, one object a line.")]
TextColumnOption = Annotated[str, typer.Option("--text-column", help="正文列名，默认自动识别 / Column of the text.")]
IdColumnOption = Annotated[str, typer.Option("--id-column", help="编号列名，默认自动识别 / Column of the id.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="覆盖已有输出 / Replace an existing output.")]
RestartOption = Annotated[bool, typer.Option("--restart", help="放弃未完成的结果重做 / Forget an unfinished run.")]
WorkersOption = Annotated[int, typer.Option("--workers", "-w", min=1, help="同时推理的批数 / Batches run at once.")]


def classify(
    texts: TextsArgument = None,
    source: InputOption = None,
    target: OutputOption = None,
    model: ModelOption = MODEL,
    as_json: JsonOption = False,
    text_column: TextColumnOption = "",
    id_column: IdColumnOption = "",
    overwrite: OverwriteOption = False,
    restart: RestartOption = False,
    workers: WorkersOption = DEFAULT_WORKERS,
) -> None:
    """判断线索的类别、去向与紧急程度。 Say what messages are, who acts and how soon.

    `triage classify "消防通道被堵了" "有人打架"`

    `triage classify --input 线索.csv --output 结果.xlsx --text-column 诉求内容`

    中断后以同一命令续做；读不了的行另存为 OUTPUT.errors.jsonl，退出码 3。
    After a stop the same command goes on; rows that cannot be read are kept in OUTPUT.errors.jsonl, exit code 3.
    """
    _check_arguments(texts, source, target)
    engine = Triage.load(model, workers=workers)
    if source is None or target is None:
        raise typer.Exit(_classify_texts(engine, texts or [], as_json))
    try:
        with _progress_bar() as moved:
            options = Options(text_column, id_column)
            summary = classify_file(
                engine, source, target, options=options, overwrite=overwrite, restart=restart, progress=moved
            )
    except KeyboardInterrupt:
        typer.echo(
            "已中断，完成的部分已保存；再次运行同一命令即可续做 / "
            "stopped; what is done is kept, run the same command to go on",
            err=True,
        )
        raise typer.Exit(EXIT_INTERRUPTED) from None
    raise typer.Exit(_show_summary(summary, engine, as_json))


def _check_arguments(texts: Sequence[str] | None, source: Path | None, target: Path | None) -> None:
    if bool(texts) == bool(source) or bool(source) != bool(target):
        raise InputError(
            '请给出正文（triage classify "…"），或同时给出 --input 与 --output',
            'give messages (triage classify "…"), or both --input and --output',
        )


def _show_summary(summary: Summary, engine: Classifier, as_json: bool) -> int:
    if as_json:
        typer.echo(json.dumps(summary.to_json(), ensure_ascii=False).encode("utf-8"))
    else:
        Console().print(summary_table(summary, engine.taxonomy))
    return EXIT_KEPT_ASIDE if summary.kept_aside else 0


def _classify_texts(engine: Classifier, texts: Sequence[str], as_json: bool) -> int:
    """Print a decision for each message as soon as it is there; return the exit code."""
    console, code = Console(), 0
    for number, text in enumerate(_stdin_lines() if list(texts) == ["-"] else texts, 1):
        row = checked(number, None, text, text, Options())
        if isinstance(row, Rejected):
            typer.echo(f"第 {number} 条：{row.zh} / message {number}: {row.en} [{row.code}]", err=True)
            code = EXIT_KEPT_ASIDE
            continue
        (decision,) = engine.classify([text])
        if as_json:
            typer.echo(json_line(decision_json(text, decision)), nl=False)
        else:
            console.print(decision_panel(text, decision, engine.taxonomy))
    return code


def _stdin_lines() -> Iterator[str]:
    for line in typer.get_binary_stream("stdin"):
        text = line.decode("utf-8", "surrogateescape").rstrip("\r\n")
        if text.strip():
            yield text


@contextmanager
def _progress_bar() -> Iterator[Callable[[Step], None]]:
    columns = (
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[read]:,} 条，{task.fields[rate]:,.0f} 条/秒，搁置 {task.fields[aside]:,}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    # Standard error: what a command prints for machines stays clean.
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=1.0, read=0, rate=0.0, aside=0)

        def moved(step: Step) -> None:
            bar.update(task, completed=step.share, read=step.read, rate=step.rate, aside=step.kept_aside)

        yield moved
