"""The report of a comparison or an evaluation: one HTML file that opens offline and reads well on paper."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from training.compare import Comparison, Part, verdict
from training.intervals import FEWEST, Estimate
from training.plots import curves
from training.report import FIGURES

# Beside the English of ``training.report``; the last three stand in the tables by label.
CHINESE = {
    "accuracy": "准确率",
    "macro_f1": "宏平均 F1",
    "calibration_error": "校准误差",
    "auto_share": "自动派单比例",
    "auto_error": "自动派单错误率",
    "fraud_recall": "诈骗召回率",
    "fraud_found_or_reviewed": "诈骗命中或转人工",
    "fraud_false_alarm": "诈骗误报率",
    "urgency_accuracy": "紧急程度准确率",
    "emergency_recall": "紧急召回率",
    "emergency_precision": "紧急精确率",
    "secondary_f1": "次要标签微平均 F1",
    "recall": "召回率",
    "precision": "精确率",
    "f1": "F1",
}
ENGLISH = {**dict(FIGURES), "f1": ""}
WAYS = {"label": "类别 label", "register": "语体 register", "grid": "网格 grid", "month": "月份 month"}
WAYS["length"] = "长度（字）length, characters"


def render(
    files: Mapping[str, Comparison],
    label_names: Mapping[str, str],
    made: str,
    texts: Mapping[str, Mapping[int, str]] | None = None,
) -> str:
    """The whole page.

    Args:
        files: by name of the labelled file; at least one, all of the same releases.
        label_names: Chinese name by label id.
        made: date, as it is to stand there.
        texts: by file and row, those of the messages that changed sides; None leaves texts out.

    Returns:
        HTML. It refers to nothing outside itself, runs no script, and whatever came from a file is escaped.
    """
    first = next(iter(files.values()))
    pictures = {
        name: base64.b64encode(curves(dict(zip("AB", found.measured, strict=False)))).decode()
        for name, found in files.items()
    }
    page = _environment(label_names).get_template("report.html.j2")
    return page.render(
        files=files,
        releases=first.releases,
        resampling=first.resampling,
        fewest=FEWEST,
        made=made,
        texts=texts,
        curves=pictures,
        figure_keys=[key for key, _ in FIGURES if key != "n"],
    )


def _environment(label_names: Mapping[str, str]) -> Environment:
    found = Environment(
        loader=PackageLoader("training"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(
        number=_number,
        chance=_chance,
        verdict=verdict,
        scale=_scale,
        scale_of_all=_scale_of_all,
        difference=_difference,
        figure_name=lambda key: f"{CHINESE.get(key, '')} {ENGLISH.get(key, key)}".strip(),
        way_name=lambda way: WAYS.get(way, way),
        label_name=lambda label: f"{label} {label_names.get(label, '')}".strip(),
    )
    return found


def _number(value: float | None, signed: bool = False) -> str:
    """Three digits; of a difference with its sign, which is a true minus."""
    if value is None:
        return "–"
    text = f"{value:+.3f}" if signed else f"{value:.3f}"
    # What rounds to nothing has no sign.
    return "0.000" if float(text) == 0 else text.replace("-", "−")


def _chance(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def _difference(measured: Sequence[Mapping[str, Any]], name: str) -> float | None:
    before, after = (found.get(name) for found in measured)
    return None if before is None or after is None else after - before


def _scale(parts: Sequence[Part], name: str) -> float:
    """The farthest end of an interval of this figure from nought, so that those of one table are drawn alike."""
    return _farthest([part.estimates[name] for part in parts])


def _scale_of_all(parts: Sequence[Part]) -> float:
    return _farthest([estimate for part in parts for estimate in part.estimates.values()])


def _farthest(drawn: Sequence[Estimate]) -> float:
    return max((abs(end) for estimate in drawn for end in (estimate.low, estimate.high) if end is not None), default=0)
