"""What a release is worth on labelled messages: always through ``triage.Triage`` on the exported folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, f1_score

from training.disguise import FAMILIES, Disguiser
from triage.decision import Decision
from triage.engine import Classifier
from triage.errors import CorpusError
from triage.text.normalize import Normalizer
from triage.text.segment import Segmenter

FRAUD = "telecom_fraud"


@dataclass(frozen=True, slots=True)
class Gold:
    """A labelled message as far as evaluation needs it.

    Attributes:
        text, label: the message and its true primary label.
        secondary, urgency: None where the file has none.
        register: empty where the file has none.
        row: its line in the file, from 1; nought where it came from no file.
        columns: every other field of the row that is a word or a number, such as ``id``, ``grid`` or ``time``.
    """

    text: str
    label: str
    secondary: tuple[str, ...] | None
    urgency: str | None
    register: str
    row: int = 0
    columns: Mapping[str, str] = field(default_factory=dict)


_READ = ("text", "label", "secondary", "urgency", "register")


@dataclass(frozen=True, slots=True)
class Answered:
    """A labelled file and what a release says of it, in the same order."""

    gold: Sequence[Gold]
    said: Sequence[Decision]


def load_gold(path: Path) -> list[Gold]:
    """Read labelled messages from ``.jsonl`` with at least ``text`` and ``label``.

    Raises:
        CorpusError: a row lacks text or label or has one that is no string, or there is no row.
    """
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            found.append(_gold(row, number))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CorpusError(
                f"{path.name} 第 {number} 行缺少 text 或 label", f"{path.name} row {number} lacks text or label"
            ) from error
        for name in ("text", "label"):
            if not isinstance(row[name], str):
                kind = type(row[name]).__name__
                raise CorpusError(
                    f"{path.name} 第 {number} 行的 {name} 类型是 {kind}，应为文字；请改为字符串",
                    f"{path.name} row {number}: {name} is a {kind}; make it a string",
                )
    if not found:
        raise CorpusError(
            f"{path.name} 没有一条标注消息；每行应为一个含 text 与 label 的 JSON 对象",
            f"{path.name} holds no labelled message; every line must be a JSON object with text and label",
        )
    return found


def _gold(row: Mapping[str, Any], number: int) -> Gold:
    """A row as a message; null means that the row does not have the field, as ``training.corpus.load`` has it."""
    secondary = tuple(row["secondary"]) if row.get("secondary") is not None else None
    columns = {
        key: str(value) for key, value in row.items() if key not in _READ and isinstance(value, str | int | float)
    }
    return Gold(row["text"], row["label"], secondary, row.get("urgency"), row.get("register") or "", number, columns)


def reliability(confidence: NDArray[np.float64], right: NDArray[np.bool_], bins: int = 10) -> list[list[float]]:
    """Bins of equal count, the least sure first: [mean confidence, share that is right, messages] of each."""
    parts = np.array_split(np.argsort(confidence, kind="stable"), bins)
    return [[float(confidence[p].mean()), float(right[p].mean()), float(len(p))] for p in parts if len(p)]


def calibration_error(confidence: NDArray[np.float64], right: NDArray[np.bool_], bins: int = 10) -> float:
    """Expected calibration error over bins of equal count, in [0, 1]."""
    rows = reliability(confidence, right, bins)
    return sum(count * abs(said - true) for said, true, count in rows) / max(1, len(confidence))


def risk_coverage(confidence: NDArray[np.float64], right: NDArray[np.bool_], points: int = 20) -> list[list[float]]:
    """If only the surest share of the messages were answered: [that share, the error among them], rising.

    Messages that are equally sure come in the order given.
    """
    order = np.argsort(-confidence, kind="stable")
    taken = [-(-len(order) * part // points) for part in range(1, points + 1)]
    return [[count / len(order), float((~right)[order[:count]].mean())] for count in taken if count]


def measure(gold: Sequence[Gold], said: Sequence[Decision], ids: Sequence[str]) -> dict[str, object]:
    """Every figure of one data set.

    Args:
        gold: the truth.
        said: decisions, in the same order.
        ids: label ids in taxonomy order; labels absent from the truth are left out of the means.

    Returns:
        n, accuracy, macro_f1, f1 by label, calibration_error, reliability, risk_coverage, auto_share, confusion (rows:
        truth), and where there are any: auto_error, fraud_recall, fraud_found_or_reviewed, fraud_false_alarm,
        urgency_accuracy, emergency_recall, emergency_precision, secondary_f1, accuracy_by_register.
    """
    truth, label = [g.label for g in gold], [d.label for d in said]
    present = [key for key in ids if key in truth]
    right = np.array([a == b for a, b in zip(truth, label, strict=True)])
    auto = np.array([d.route == "auto" for d in said])
    confidence = np.array([d.confidence for d in said])
    f1 = f1_score(truth, label, labels=present, average=None, zero_division=0)
    result: dict[str, object] = {
        "n": len(gold),
        "accuracy": float(right.mean()),
        "macro_f1": float(f1.mean()),
        "f1": dict(zip(present, map(float, f1), strict=True)),
        "calibration_error": calibration_error(confidence, right),
        "reliability": reliability(confidence, right),
        "risk_coverage": risk_coverage(confidence, right),
        "auto_share": float(auto.mean()),
        "confusion": confusion_matrix(truth, label, labels=list(ids)).tolist(),
    }
    if auto.any():
        result["auto_error"] = float((~right)[auto].mean())
    result.update(_fraud(truth, said))
    result.update(_urgency(gold, said))
    result.update(_secondary(gold, said))
    registers = sorted({g.register for g in gold} - {""})
    if registers:
        rows = {name: np.array([g.register == name for g in gold]) for name in registers}
        result["accuracy_by_register"] = {name: float(right[row].mean()) for name, row in rows.items()}
    return result


def _fraud(truth: Sequence[str], said: Sequence[Decision]) -> Mapping[str, float]:
    fraud = [d for g, d in zip(truth, said, strict=True) if g == FRAUD]
    plain = [d for g, d in zip(truth, said, strict=True) if g != FRAUD]
    found: dict[str, float] = {}
    if fraud:
        found["fraud_recall"] = sum(d.label == FRAUD for d in fraud) / len(fraud)
        found["fraud_found_or_reviewed"] = sum(d.label == FRAUD or d.route == "review" for d in fraud) / len(fraud)
    if plain:
        found["fraud_false_alarm"] = sum(d.label == FRAUD for d in plain) / len(plain)
    return found


def _urgency(gold: Sequence[Gold], said: Sequence[Decision]) -> Mapping[str, float]:
    pairs = [(g.urgency, d.urgency.value) for g, d in zip(gold, said, strict=True) if g.urgency is not None]
    if not pairs:
        return {}
    emergencies = [b for a, b in pairs if a == "emergency"]
    found = {"urgency_accuracy": sum(a == b for a, b in pairs) / len(pairs)}
    if emergencies:
        found["emergency_recall"] = sum(b == "emergency" for b in emergencies) / len(emergencies)
    said_so = [a for a, b in pairs if b == "emergency"]
    if said_so:
        found["emergency_precision"] = sum(a == "emergency" for a in said_so) / len(said_so)
    return found


def _secondary(gold: Sequence[Gold], said: Sequence[Decision]) -> Mapping[str, float]:
    """Micro-F1 over the secondary labels of messages whose primary label is right."""
    pairs = [
        (set(g.secondary), set(d.secondary))
        for g, d in zip(gold, said, strict=True)
        if g.secondary is not None and g.label == d.label
    ]
    hit = sum(len(a & b) for a, b in pairs)
    total = sum(len(a) + len(b) for a, b in pairs)
    return {"secondary_f1": 2 * hit / total} if total else {}


def answer(engine: Classifier, path: Path) -> Answered:
    """Let a release read one labelled file; see ``load_gold``."""
    gold = load_gold(path)
    return Answered(gold, engine.classify([g.text for g in gold]))


def evaluate(engine: Classifier, path: Path) -> dict[str, object]:
    """Measure a release on one labelled file; see ``measure``."""
    answered = answer(engine, path)
    return measure(answered.gold, answered.said, engine.taxonomy.ids)


def evaluate_disguised(
    engine: Classifier, path: Path, disguiser: Disguiser, seed: int = 1
) -> dict[str, dict[str, float]]:
    """How much of the fraud a release still finds when it is disguised, one family at a time.

    Args:
        engine: the release.
        path: labelled messages; those that are ``telecom_fraud`` are read.
        disguiser: makes the disguise.
        seed: the same seed makes the same disguises.

    Returns:
        By family, ``plain`` first: fraud_recall, fraud_found_or_reviewed, and lost, the points of recall (in [0, 1])
        that the disguise costs. Empty where the file has no fraud.
    """
    plain = [g.text for g in load_gold(path) if g.label == FRAUD]
    if not plain:
        return {}
    ways = {"plain": plain}
    for family in FAMILIES:
        random = Random(f"{seed}:{family}")
        ways[family] = [disguiser(text, family, random) for text in plain]
    found: dict[str, dict[str, float]] = {}
    for family, texts in ways.items():
        figures = dict(_fraud([FRAUD] * len(texts), engine.classify(texts)))
        first = found.get("plain", figures)
        found[family] = {**figures, "lost": first["fraud_recall"] - figures["fraud_recall"]}
    return found


def evaluate_evidence(
    engine: Classifier, answered: Answered, normalizer: Normalizer, segmenter: Segmenter, seed: int = 1
) -> dict[str, float]:
    """Whether the evidence carried the decision: what leaving it out does to the label's score.

    Method: deletion (DeYoung et al. 2020, *ERASER*, arXiv:1911.03429, there called comprehensiveness) beside the
    deletion of as many other words of the same message drawn at random.

    Args:
        engine: the release.
        answered: labelled messages and the release's decisions; those count whose label is right and is acted on, since
            the evidence for "nothing" is the whole message.
        normalizer, segmenter: those of the release's lexicon; they cut a message into words.
        seed: of the draw.

    Returns:
        messages, and in [0, 1] the mean fall of the score without the evidence (evidence), without random words
        (random), and the difference (margin). Empty where no message has evidence and enough other words.
    """
    random = Random(seed)
    decided: list[Decision] = []
    bare: list[str] = []
    thinned: list[str] = []
    for g, d in zip(answered.gold, answered.said, strict=True):
        if d.label != g.label or not d.evidence or not engine.taxonomy[d.label].dispatch:
            continue
        shown = [(e.start, e.end) for e in d.evidence]
        message = normalizer(g.text)
        spans = [message.raw_span(start, end) for start, end, word in segmenter.words(message.text) if word.isalnum()]
        others = [s for s in spans if all(s[1] <= start or end <= s[0] for start, end in shown)]
        if len(others) > len(shown):
            decided.append(d)
            bare.append(_without(g.text, shown))
            thinned.append(_without(g.text, random.sample(others, len(shown))))
    if not decided:
        return {}

    def fall(texts: Sequence[str]) -> float:
        pairs = zip(decided, engine.classify(texts), strict=True)
        return float(np.mean([before.confidence - after.scores[before.label] for before, after in pairs]))

    carried, drawn = fall(bare), fall(thinned)
    return {"messages": len(decided), "evidence": carried, "random": drawn, "margin": carried - drawn}


def _without(text: str, spans: Sequence[tuple[int, int]]) -> str:
    for start, end in sorted(spans, reverse=True):
        text = text[:start] + text[end:]
    return text
