"""Pictures of a release's figures: when the machine is sure, how often is it right?

The card's are drawn from the manifest, a report's from what was just measured.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cycler import cycler
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.report import RELIABILITY, RISK_COVERAGE

_DPI = 110
# Told apart by stroke as well as by colour: reports are printed.
_STROKES = cycler(color=["tab:blue", "tab:orange"], linestyle=["-", "--"])


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
    for name, onto in ((RELIABILITY, _reliability), (RISK_COVERAGE, _risk_coverage)):
        _figure(sets, onto).savefig(folder / name, dpi=_DPI, metadata={"Software": None})
    return [RELIABILITY, RISK_COVERAGE]


def curves(sets: Mapping[str, Any]) -> bytes:
    """Both pictures side by side as one SVG that refers to nothing outside it, letters drawn as shapes.

    Args:
        sets: by the name that the legend gives, as ``training.evaluate.measure`` gives them. Names in Latin letters
            only: the drawing library's font has no Chinese.
    """
    out = io.BytesIO()
    # The salt stands where matplotlib would draw ids at random: the same figures make the same bytes.
    with rc_context({"svg.hashsalt": "curves", "axes.prop_cycle": _STROKES}):
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        _figure(sets, _risk_coverage, _reliability).savefig(out, format="svg", metadata=nothing)
    # From the root element on: what stands before it names a document type on the network.
    return out.getvalue()[out.getvalue().index(b"<svg") :]


def _figure(sets: Mapping[str, Any], *drawn: Callable[[Axes, Mapping[str, Any]], None]) -> Figure:
    figure = Figure(figsize=(5.5 * len(drawn), 4.5), layout="constrained")
    for axes, onto in zip(figure.subplots(1, len(drawn), squeeze=False).flat, drawn, strict=True):
        onto(axes, sets)
    return figure


def _reliability(axes: Axes, sets: Mapping[str, Any]) -> None:
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":", label="as sure as right")
    for name, found in sets.items():
        said, true, _ = zip(*found["reliability"], strict=True)
        axes.plot(said, true, marker="o", markersize=3, label=f"{name} (ECE {found['calibration_error']:.3f})")
    axes.set(xlabel="confidence", ylabel="share that is right", xlim=(0.2, 1.01), ylim=(0.2, 1.01))
    axes.legend(fontsize=8)


def _risk_coverage(axes: Axes, sets: Mapping[str, Any]) -> None:
    for name, found in sets.items():
        coverage, risk = zip(*found["risk_coverage"], strict=True)
        (line,) = axes.plot(coverage, risk, label=name)
        if "auto_error" in found:
            # Where the release in fact draws the line between the machine and the officers.
            axes.plot(found["auto_share"], found["auto_error"], marker="D", linestyle="none", color=line.get_color())
    axes.set(xlabel="share answered, the surest first (diamond: auto)", ylabel="error among them", xlim=(0, 1.01))
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8)
