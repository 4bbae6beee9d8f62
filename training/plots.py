"""The card's pictures, drawn from the figures in the manifest: when the machine is sure, how often is it right?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from training.report import RELIABILITY, RISK_COVERAGE

_DPI = 110


def draw(metrics: Mapping[str, Any], folder: Path) -> list[str]:
    """Write ``plots/reliability.png`` and ``plots/risk_coverage.png``.

    Args:
        metrics: by data set, as ``training.evaluate.measure`` gives them; entries without curves are passed over.
        folder: the release.

    Returns:
        Names of the files written, within the folder; none where no set has curves.
    """
    sets = {name: value for name, value in metrics.items() if isinstance(value, Mapping) and "reliability" in value}
    if not sets:
        return []
    (folder / RELIABILITY).parent.mkdir(exist_ok=True)
    _reliability(sets).savefig(folder / RELIABILITY, dpi=_DPI, metadata={"Software": None})
    _risk_coverage(sets).savefig(folder / RISK_COVERAGE, dpi=_DPI, metadata={"Software": None})
    return [RELIABILITY, RISK_COVERAGE]


def _reliability(sets: Mapping[str, Any]) -> Figure:
    figure = Figure(figsize=(5.5, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":", label="as sure as right")
    for name, found in sets.items():
        said, true, _ = zip(*found["reliability"], strict=True)
        axes.plot(said, true, marker="o", markersize=3, label=f"{name} (ECE {found['calibration_error']:.3f})")
    axes.set(xlabel="confidence", ylabel="share that is right", xlim=(0.2, 1.01), ylim=(0.2, 1.01))
    axes.legend(fontsize=8)
    return figure


def _risk_coverage(sets: Mapping[str, Any]) -> Figure:
    figure = Figure(figsize=(5.5, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, found in sets.items():
        coverage, risk = zip(*found["risk_coverage"], strict=True)
        (line,) = axes.plot(coverage, risk, label=name)
        if "auto_error" in found:
            # Where the release in fact draws the line between the machine and the officers.
            axes.plot(found["auto_share"], found["auto_error"], marker="D", color=line.get_color())
    axes.set(xlabel="share answered, the surest first (diamond: auto)", ylabel="error among them", xlim=(0, 1.01))
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8)
    return figure
