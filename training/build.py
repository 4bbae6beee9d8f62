"""From a recipe to a sealed release folder: fine-tune, export, calibrate, measure, write golden outputs and card."""

from __future__ import annotations

import datetime
import hashlib
import json
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedModel

from training import calibrate, corpus, export, plots, report
from training.augment import Augmenter
from training.baseline import measure_baseline
from training.disguise import Disguiser
from training.evaluate import Answered, answer, evaluate_disguised, evaluate_evidence, measure
from training.finetune import CHECKPOINT, Progress, Reader, finetune
from training.linear import fit_linear
from training.network import Heads
from training.quantize import quantize
from training.recipe import Recipe
from triage import golden
from triage.engine import Triage
from triage.errors import TrainingError
from triage.model.artifact import CARD, GOLDEN, LEXICON, LINEAR, Calibration, Manifest, Routing, seal
from triage.model.encoding import Encoding
from triage.taxonomy import FILE as TAXONOMY_FILE
from triage.taxonomy import Taxonomy
from triage.text.normalize import Normalizer
from triage.text.segment import Segmenter

GOLDEN_ROWS = 64
QUANTIZE_ON = 600


@dataclass(frozen=True, slots=True)
class Job:
    """What to build.

    Attributes:
        recipe: every knob of the training.
        data: data folder: taxonomy, lexicon, corpus.
        version: name of the release.
        work: folder for checkpoints and intermediate models.
        out: release folder to write; what a killed build left there is replaced, a finished release never is.
        also: more labelled files to measure on, for the card.
        with_hf: also write ordinary transformers weights under ``hf/`` of the work folder.
    """

    recipe: Recipe
    data: Path
    version: str
    work: Path
    out: Path
    also: tuple[Path, ...] = ()
    with_hf: bool = False


def build(
    job: Job,
    step: Callable[[str], None] = lambda name: None,
    progress: Callable[[Progress], None] = lambda at: None,
) -> Manifest:
    """Train and write a release; what it returns is what was sealed.

    Args:
        job: what to build.
        step: called with the name of each stage as it starts.
        progress: called after every training step.

    Raises:
        TrainingError, CorpusError: the recipe, the base or the data is wrong, or the release is there already.
    """
    if (job.out / CARD).exists():
        raise TrainingError(
            f"{job.out} 已有版本 {job.version}，不会覆盖；请换一个版本名",
            f"{job.out} already holds release {job.version} and is not overwritten; choose another version name",
        )
    taxonomy = Taxonomy.load(job.data)
    splits, read = corpus.load_splits(job.data), corpus_checksum(job.data)
    encoding, pad = load_encoding(job.recipe)
    reader = Reader(Normalizer.load(job.data / LEXICON), encoding, pad)
    augmenter = Augmenter(job.recipe.augment, Disguiser.load(job.data))
    step("train")
    model = finetune(splits["train"], taxonomy, reader, augmenter, job.recipe, job.work, progress)
    step("export")
    lay_out(job, model, reader, augmenter, taxonomy, splits["train"])
    step("calibrate")
    manifest = calibrated(job, splits, read)
    step("measure")
    sealed = finish(job, manifest, splits)
    # Until here a build that is killed need not train again.
    (job.work / CHECKPOINT).unlink()
    return sealed


def load_encoding(recipe: Recipe) -> tuple[Encoding, int]:
    """The base's tokenizer as serving will use it, and its padding id."""
    tokenizer = AutoTokenizer.from_pretrained(recipe.base)
    pad = tokenizer.pad_token_id
    return Encoding(tokenizer.backend_tokenizer, recipe.max_tokens, recipe.overlap), int(pad or 0)


def lay_out(
    job: Job,
    model: PreTrainedModel,
    reader: Reader,
    augmenter: Augmenter,
    taxonomy: Taxonomy,
    messages: Sequence[corpus.Message],
) -> None:
    """Write the folder's parts that do not depend on calibration; fp32 weights stay in the work folder."""
    job.work.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(job.out, ignore_errors=True)
    (job.out / LEXICON).mkdir(parents=True)
    export.export_fp32(model, Heads.of(taxonomy), job.work / "fp32.onnx")
    # Some training messages, to measure activations on.
    chosen = random.Random(job.recipe.seed).sample(messages, min(QUANTIZE_ON, len(messages)))
    quantize(job.work / "fp32.onnx", job.out / "model.onnx", reader.ids([message.text for message in chosen]))
    if job.recipe.linear > 0:
        fit_linear(messages, taxonomy, reader.normalizer, augmenter, job.recipe).save(job.out / LINEAR)
    reader.encoding.tokenizer.save(str(job.out / "tokenizer.json"), pretty=False)
    shutil.copy(job.data / TAXONOMY_FILE, job.out / TAXONOMY_FILE)
    for file in sorted((job.data / LEXICON).iterdir()):
        shutil.copy(file, job.out / LEXICON / file.name)
    if job.with_hf:
        export.export_hf(model, job.recipe.base, job.recipe.max_tokens, job.work / "hf")


def calibrated(job: Job, splits: Mapping[str, list[corpus.Message]], read: str) -> Manifest:
    """Calibrate on the calibration split through the exported graph.

    Args:
        job: what to build.
        splits: messages by split.
        read: checksum of the corpus that was trained on.
    """
    blank = Manifest(
        version=job.version,
        stage="ensemble" if job.recipe.linear > 0 else "encoder",
        calibration=Calibration(),
        routing=Routing(auto={}),
        max_tokens=job.recipe.max_tokens,
        overlap=job.recipe.overlap,
        training={
            "recipe": job.recipe.model_dump(),
            "corpus_sha256": read,
            "messages": {name: len(part) for name, part in splits.items()},
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        },
    )
    seal(job.out, blank)
    engine = Triage.load(job.out)
    raw = calibrate.raw_outputs(engine, splits["calibration"])
    calibration = calibrate.calibrate(raw, engine.taxonomy, job.recipe.label_bias)
    routing = calibrate.route_thresholds(raw, calibration, engine.taxonomy, job.recipe.route)
    return replace(blank, calibration=calibration, routing=routing)


def finish(job: Job, manifest: Manifest, splits: Mapping[str, list[corpus.Message]]) -> Manifest:
    """Measure, record golden outputs, draw the plots, write the card, seal."""
    seal(job.out, manifest)
    engine = Triage.load(job.out)
    files = [job.data / "corpus" / f"{name}.jsonl" for name in ("validation", "test")] + list(job.also)
    answered = {file.stem: answer(engine, file) for file in files}
    metrics: dict[str, object] = {
        name: measure(part.gold, part.said, engine.taxonomy.ids) for name, part in answered.items()
    }
    metrics["baseline"] = measure_baseline(splits["train"], files, job.data)
    metrics["int8_agreement"] = int8_agreement(job, manifest, answered)
    metrics["disguise"] = evaluate_disguised(engine, files[1], Disguiser.load(job.data))
    normalizer, segmenter = Normalizer.load(job.out / LEXICON), Segmenter.load(job.out / LEXICON)
    metrics["evidence"] = evaluate_evidence(engine, answered["test"], normalizer, segmenter)
    step = max(1, len(splits["test"]) // GOLDEN_ROWS)
    rows = golden.record(engine, [message.text for message in splits["test"][::step][:GOLDEN_ROWS]])
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    (job.out / GOLDEN).write_text("\n".join(lines) + "\n", encoding="utf-8")
    manifest = replace(manifest, metrics=metrics)
    plots.draw(metrics, job.out)
    (job.out / CARD).write_text(report.card(manifest, engine.taxonomy), encoding="utf-8")
    return seal(job.out, manifest)


def int8_agreement(job: Job, manifest: Manifest, answered: Mapping[str, Answered]) -> dict[str, float]:
    """Share of messages that get the same label from the int8 graph and from the fp32 one, by file stem."""
    exact = job.work / "fp32"
    shutil.rmtree(exact, ignore_errors=True)
    shutil.copytree(job.out, exact)
    shutil.copy(job.work / "fp32.onnx", exact / "model.onnx")
    seal(exact, manifest)
    reference = Triage.load(exact)
    found = {}
    for name, part in answered.items():
        pairs = zip(part.said, reference.classify([gold.text for gold in part.gold]), strict=True)
        found[name] = sum(a.label == b.label for a, b in pairs) / len(part.said)
    return found


def corpus_checksum(data: Path) -> str:
    """sha256 over the four split files, in order."""
    digest = hashlib.sha256()
    for name in corpus.SPLITS:
        digest.update((data / "corpus" / f"{name}.jsonl").read_bytes())
    return digest.hexdigest()
