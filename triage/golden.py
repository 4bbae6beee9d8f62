"""Golden outputs: what a release said where it was made, compared with what it says where it will run.

The encoder is quantized to int8, and processors with and without VNNI instructions round its sums otherwise: scores
differ by some thousandths from machine to machine, and a message that stands on the edge between two labels may tip.
So scores need not be equal. A label must be, wherever the recorded scores left no doubt (the two best are at least
``MARGIN`` apart), and scores may differ by ``MAX_DIFFERENCE`` at most and by ``MEAN_DIFFERENCE`` on average. More
than that means another model, a damaged file or a broken library, and is drift.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from triage.decision import SCORE_DIGITS
from triage.engine import DEFAULT_WORKERS, Classifier, Triage
from triage.errors import ReleaseCorrupt, ReleaseDrift
from triage.model.artifact import GOLDEN, Release

MARGIN: Final = 0.1
MAX_DIFFERENCE: Final = 0.05
MEAN_DIFFERENCE: Final = 0.01

# Scores are recorded rounded; a difference of a rounding step is none.
_ROUNDING = 10.0**-SCORE_DIGITS

GoldenRow = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a release may differ between machines.

    Attributes:
        margin: distance of the two best recorded scores from which the label must be equal.
        max_difference: largest difference of any score.
        mean_difference: largest mean over all scores of all rows.
    """

    margin: float = MARGIN
    max_difference: float = MAX_DIFFERENCE
    mean_difference: float = MEAN_DIFFERENCE


@dataclass(frozen=True, slots=True)
class Report:
    """What a comparison found. Rows count from 1; no text stands here.

    Attributes:
        version: the release.
        rows: rows compared.
        firm: rows whose recorded scores left no doubt.
        labels: rows among the firm ones with another label.
        unfirm_labels: rows with another label where the recorded scores were close; allowed.
        routes: rows with another route; told, allowed.
        urgencies: rows with another urgency; told, allowed.
        max_difference: largest score difference; infinite when a score is missing or is no number.
        mean_difference: mean score difference.
        limits: what was allowed.
    """

    version: str
    rows: int
    firm: int
    labels: tuple[int, ...]
    unfirm_labels: tuple[int, ...]
    routes: tuple[int, ...]
    urgencies: tuple[int, ...]
    max_difference: float
    mean_difference: float
    limits: Limits

    @property
    def drifted(self) -> bool:
        """Whether the release answers otherwise than where it was made."""
        limits = self.limits
        return (
            bool(self.labels)
            or self.max_difference > limits.max_difference + _ROUNDING
            or self.mean_difference > limits.mean_difference + _ROUNDING
        )

    def require(self) -> None:
        """Let no drift pass.

        Raises:
            ReleaseDrift: there is some.
        """
        if self.drifted:
            n, limits = len(self.labels), self.limits
            raise ReleaseDrift(
                f"{self.version} 在本机的结果与发布时不同：{n} 条标签不同，分数最大差 {self.max_difference:.4f}"
                f"（上限 {limits.max_difference}），平均差 {self.mean_difference:.4f}（上限 {limits.mean_difference}）"
                "；请重新复制模型文件夹，仍不同则换一台机器",
                f"{self.version} answers otherwise here than where it was made: {n} labels differ, largest score "
                f"difference {self.max_difference:.4f} (limit {limits.max_difference}), mean "
                f"{self.mean_difference:.4f} (limit {limits.mean_difference}); copy the folder again, then try "
                "another machine",
            )

    def to_json(self) -> dict[str, Any]:
        """A dict of JSON values; an infinite difference becomes None."""
        data = {**asdict(self), "drifted": self.drifted}
        return {key: None if isinstance(value, float) and math.isinf(value) else value for key, value in data.items()}


def record(engine: Classifier, texts: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of ``golden.jsonl`` for some texts: ``text``, ``label``, ``route``, ``urgency``, ``scores``."""
    fields = ("label", "route", "urgency", "scores")
    said = [decision.to_json() for decision in engine.classify(texts)]
    return [{"text": text, **{key: row[key] for key in fields}} for text, row in zip(texts, said, strict=True)]


def load(path: Path) -> list[dict[str, Any]]:
    """Read ``golden.jsonl``.

    Raises:
        ReleaseCorrupt: it cannot be read, a row lacks a field, or there is none.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError):
        raise ReleaseCorrupt(f"{path.name} 无法读取", f"cannot read {path.name}") from None
    rows = [_row(number, line, path.name) for number, line in enumerate(lines, 1) if line.strip()]
    if not rows:
        raise ReleaseCorrupt(f"{path.name} 是空的，无从比较", f"{path.name} is empty: there is nothing to compare")
    return rows


def _row(number: int, line: str, name: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
        strings = {key: row[key] for key in ("text", "label", "route", "urgency")}
        scores = {str(key): float(value) for key, value in row["scores"].items()}
        if not all(isinstance(value, str) for value in strings.values()) or len(scores) < 2:
            raise ValueError("golden row")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ReleaseCorrupt(
            f"{name} 第 {number} 行无法读取，请重新复制模型文件夹",
            f"cannot read row {number} of {name}; copy the release folder again",
        ) from None
    return {**strings, "scores": scores}


def compare(engine: Classifier, rows: Sequence[GoldenRow], limits: Limits | None = None) -> Report:
    """Classify the recorded texts again and say what differs.

    Args:
        engine: the release on this machine.
        rows: as from ``record`` or ``load``; at least one.
        limits: what is allowed; the module says why so much.

    Raises:
        ReleaseCorrupt: there is nothing to compare.
    """
    if not rows:
        raise ReleaseCorrupt("没有可比较的基准输出", "there are no golden outputs to compare")
    limits = limits or Limits()
    said = engine.classify([row["text"] for row in rows])
    pairs = list(enumerate(zip(rows, said, strict=True), 1))
    firm = {number for number, (row, _) in pairs if margin(row["scores"]) >= limits.margin - _ROUNDING}
    labels = [number for number, (row, decision) in pairs if row["label"] != decision.label]
    gaps = [gap for _, (row, decision) in pairs for gap in differences(row["scores"], decision.scores)]
    return Report(
        version=engine.version,
        rows=len(rows),
        firm=len(firm),
        labels=tuple(number for number in labels if number in firm),
        unfirm_labels=tuple(number for number in labels if number not in firm),
        routes=tuple(number for number, (row, decision) in pairs if row["route"] != decision.route),
        urgencies=tuple(number for number, (row, decision) in pairs if row["urgency"] != decision.urgency.value),
        max_difference=max(gaps),
        mean_difference=sum(gaps) / len(gaps),
        limits=limits,
    )


def load_proven(folder: Path | str, workers: int = DEFAULT_WORKERS) -> tuple[Triage, Report]:
    """Load a release that is to serve, and let it pass only if it answers here as it did where it was made.

    Args:
        folder, workers: as for ``Triage.load``.

    Raises:
        ReleaseNotFound, ReleaseCorrupt: as ``Triage.load`` does, or it has no golden outputs, or its folder has another
            name: answers name the version and ``CURRENT`` the folder.
        ReleaseDrift: it answers otherwise.
    """
    release = Release.open(folder)
    if release.version != release.folder.name:
        raise ReleaseCorrupt(
            f"文件夹 {release.folder.name} 里是版本 {release.version}，请把文件夹改名为 {release.version}",
            f"folder {release.folder.name} holds release {release.version}; rename the folder to {release.version}",
        )
    rows = load(release.path(GOLDEN))
    # Not what was asked for: ``CURRENT`` may name another release by now.
    engine = Triage.load(release.folder, workers)
    report = compare(engine, rows)
    report.require()
    return engine, report


def margin(scores: Mapping[str, float]) -> float:
    """Distance of the two best scores."""
    best, second = sorted(scores.values(), reverse=True)[:2]
    return best - second


def differences(recorded: Mapping[str, float], said: Mapping[str, float]) -> list[float]:
    """Absolute difference by label; infinite for a label that only one side has and for what is no number."""
    gaps = [abs(recorded.get(key, math.inf) - said.get(key, math.inf)) for key in recorded.keys() | said.keys()]
    return [math.inf if math.isnan(gap) else gap for gap in gaps]
