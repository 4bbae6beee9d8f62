"""The model card: what a release is, how it was made, every figure that was measured, where it is weak."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from triage.model.artifact import Manifest
from triage.taxonomy import Taxonomy

Row = Sequence[object]
# The base that `triage base` builds.
OWN = "models/base"


def table(head: Row, rows: Sequence[Row]) -> str:
    """A Markdown table; floats with three digits."""
    lines = [_line(head), _line(["---"] * len(head)), *(_line(row) for row in rows)]
    return "\n".join(lines)


def _line(cells: Row) -> str:
    return "| " + " | ".join(f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in cells) + " |"


FIGURES = (
    ("n", "messages"),
    ("accuracy", "accuracy"),
    ("macro_f1", "macro-F1"),
    ("calibration_error", "calibration error (ECE)"),
    ("auto_share", "auto share"),
    ("auto_error", "error among auto"),
    ("fraud_recall", "fraud recall"),
    ("fraud_found_or_reviewed", "fraud found or reviewed"),
    ("fraud_false_alarm", "fraud false alarms"),
    ("urgency_accuracy", "urgency accuracy"),
    ("emergency_recall", "emergency recall"),
    ("emergency_precision", "emergency precision"),
    ("secondary_f1", "secondary labels, micro-F1"),
)

DISGUISE = {
    "fraud_recall": "fraud recall",
    "fraud_found_or_reviewed": "found or reviewed",
    "lost": "recall lost",
}

# Pictures that the card shows; ``training.plots`` draws them.
RELIABILITY = "plots/reliability.png"
RISK_COVERAGE = "plots/risk_coverage.png"


def card(manifest: Manifest, taxonomy: Taxonomy) -> str:
    """Markdown of the model card.

    Args:
        manifest: with ``metrics`` by data set, as ``training.evaluate.measure`` gives them; ``baseline``,
            ``int8_agreement``, ``disguise`` and ``evidence`` beside them where they were measured.
        taxonomy: names of the labels.
    """
    metrics: Mapping[str, Any] = manifest.metrics
    sets = [name for name, value in metrics.items() if isinstance(value, Mapping) and "macro_f1" in value]
    parts = [
        f"# Release {manifest.version}",
        _what(manifest, taxonomy),
        "## Figures",
        "Measured through `triage.Triage` on this folder (int8), as `triage evaluate` prints them. `validation` and "
        "`test` are splits of the project's corpus by author: no voice of theirs was trained on. The other sets are "
        "not in the repository; no message of theirs was trained on, and the corpus card (`data/README.md`) says which "
        "were looked at.",
        table(
            ["", *sets],
            [[name, *(metrics[s].get(key, "–") for s in sets)] for key, name in FIGURES],
        ),
        "F1 by label:",
        table(
            ["", *sets],
            [[label.id, *(metrics[s]["f1"].get(label.id, "–") for s in sets)] for label in taxonomy.labels],
        ),
        *_registers(metrics, sets),
        *_comparisons(metrics, sets),
        *_disguise(metrics),
        *_evidence(metrics),
        _decisions(manifest, taxonomy),
        *_curves(metrics, sets),
        _limits(),
    ]
    return "\n\n".join(parts) + "\n"


def _what(manifest: Manifest, taxonomy: Taxonomy) -> str:
    training = manifest.training
    recipe: Mapping[str, Any] = training.get("recipe", {})
    messages: Mapping[str, int] = training.get("messages", {})
    base = str(recipe.get("base"))
    origin = " (intfloat/multilingual-e5-small, MIT, cut to the Chinese vocabulary; see NOTICE)" if base == OWN else ""
    counts = ", ".join(f"{name} {count}" for name, count in messages.items())
    beside = ""
    if manifest.stage == "ensemble":
        beside = "A logistic regression on hashed character n-grams (`linear.npz`) is read beside it. "
    names = "、".join(f"`{label.id}` {label.name}" for label in taxonomy.labels)
    return (
        f"Sorts the tips of a Chinese city: {names}; secondary labels, urgency and evidence beside. Base: "
        f"`{base}`{origin}, "
        f"fine-tuned on messages written for this project ({counts}; corpus sha256 "
        f"`{str(training.get('corpus_sha256'))[:12]}`), exported to ONNX with int8 weights per channel. {beside}Made "
        f"{training.get('created')} by `triage train`; the whole recipe is in `manifest.json`."
    )


def _registers(metrics: Mapping[str, Any], sets: Sequence[str]) -> list[str]:
    with_register = [s for s in sets if "accuracy_by_register" in metrics[s]]
    names = sorted({name for s in with_register for name in metrics[s]["accuracy_by_register"]})
    if not names:
        return []
    rows = [[name, *(metrics[s]["accuracy_by_register"].get(name, "–") for s in with_register)] for name in names]
    return ["Accuracy by register:", table(["", *with_register], rows)]


def _comparisons(metrics: Mapping[str, Any], sets: Sequence[str]) -> list[str]:
    parts = []
    baseline: Mapping[str, Any] = metrics.get("baseline", {})
    if baseline:
        rows = [["jieba + TF-IDF + LR", *(baseline.get(s, {}).get("macro_f1", "–") for s in sets)]]
        rows.append(["this release", *(metrics[s]["macro_f1"] for s in sets)])
        parts += [
            "Macro-F1 against the linear baseline on the same split (`triage baseline`):",
            table(["", *sets], rows),
        ]
    agreement: Mapping[str, float] = metrics.get("int8_agreement", {})
    if agreement:
        rows = [["same label as fp32", *(agreement.get(s, "–") for s in sets)]]
        parts += ["int8 against the same network in fp32:", table(["", *sets], rows)]
    return parts


def _disguise(metrics: Mapping[str, Any]) -> list[str]:
    found: Mapping[str, Mapping[str, float]] = metrics.get("disguise", {})
    if not found:
        return []
    rows = [[family, *(row[key] for key in DISGUISE)] for family, row in found.items()]
    return [
        "The fraud of `test`, disguised one family at a time (`triage evaluate models/current data/corpus/test.jsonl "
        "--disguise`):",
        table(["", *DISGUISE.values()], rows),
    ]


def _evidence(metrics: Mapping[str, Any]) -> list[str]:
    found: Mapping[str, float] = metrics.get("evidence", {})
    if not found:
        return []
    return [
        f"Evidence, by deletion on {found['messages']} messages of `test`: without the words that the decision "
        f"shows, the label's score falls by {found['evidence']:.3f}; without as many random other words by "
        f"{found['random']:.3f} (`triage evaluate models/current data/corpus/test.jsonl --evidence`)."
    ]


def _decisions(manifest: Manifest, taxonomy: Taxonomy) -> str:
    calibration, routing = manifest.calibration, manifest.routing
    bias = " and a bias by label" if any(calibration.bias) else ""
    linear = f", the linear stage with weight {calibration.linear:.2f}" if manifest.stage == "ensemble" else ""
    rows = [
        [
            label.id,
            routing.auto.get(label.id, "never") if routing.auto.get(label.id, 2) <= 1 else "never",
            routing.floors.get(label.id, "–"),
            calibration.secondary.get(label.id, "–"),
        ]
        for label in taxonomy.labels
    ]
    return (
        "## From scores to decisions\n\n"
        f"Calibrated on the calibration split by temperature ({calibration.temperature:.3f}{bias}{linear}). A "
        f"message is dispatched without an officer from the confidence below on, chosen so that the error among such "
        f"messages of the calibration split's kind stays under {routing.alpha:.0%} with probability "
        f"{1 - routing.delta:.0%}, over all and in each register with enough of them to tell (Clopper–Pearson bound "
        f"by label, fixed-sequence testing); the two best scores must lie {routing.margin} apart; a floor sends a "
        "message to review although another label won.\n\n"
        + table(["label", "auto from", "floor", "secondary from"], rows)
        + f"\n\nUrgency: emergency from {calibration.emergency}, at least urgent from {calibration.urgent}; lexical "
        "rules (`lexicon/urgency.toml`) may raise it, never lower it."
    )


def _curves(metrics: Mapping[str, Any], sets: Sequence[str]) -> list[str]:
    if not any("reliability" in metrics[s] for s in sets):
        return []
    return [
        f"![Reliability: how often it is right at each confidence]({RELIABILITY})\n"
        f"![Risk and coverage: the error among the surest messages]({RISK_COVERAGE})"
    ]


def _limits() -> str:
    return (
        "## Limits\n\n"
        "The guarantee on `auto` holds for messages like the calibration split's; on another city's it must be "
        "measured again. The corpus was written by few hands, however many voices they took on. Long letters that "
        "mention danger in passing are the hardest. Run `triage check` on the machine that will serve. Not for "
        "deciding about persons: it sorts messages for people who decide."
    )
