"""``python -m bench.readme``: write the current release's figures into both READMEs.

The release's version, its table of figures and the answer to the curl line come from ``models/current``; the table of
ratios from ``bench/results/published.json``. What stands around them is written by hand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from triage import Triage
from triage.model.artifact import Manifest

ROOT = Path(__file__).parent.parent
NAMES = ("README.md", "README.zh-CN.md")
SETS = ("validation", "test", "citizen_dev", "sms_dev")


def main() -> None:
    """Rewrite both files in place."""
    engine = Triage.load(ROOT / "models" / "current")
    bench = json.loads((ROOT / "bench" / "results" / "published.json").read_text(encoding="utf-8"))
    for name in NAMES:
        file = ROOT / name
        text = with_figures(file.read_text(encoding="utf-8"), engine.manifest, bench)
        file.write_text(with_answer(text, engine), encoding="utf-8")


def with_figures(text: str, manifest: Manifest, bench: Mapping[str, Any]) -> str:
    """Replace the release's version, its table and the ratios; what a text holds already stays as it is."""
    # A comma of either language follows the version in prose; the examples of a retraining name another.
    text = re.sub(r"\b\d{4}\.\d{2}\.\d+\b(?=`[,，]|/README|\")", manifest.version, text)
    return with_ratios(with_rows(text, figures(manifest.metrics)), bench)


def figures(metrics: Mapping[str, Any]) -> list[list[str]]:
    """Cells of the release's table, row by row, without the first column."""

    def plain(of: Callable[[str], float]) -> list[str]:
        return [f"{of(name):.3f}" for name in SETS]

    def percent(of: Callable[[str], float]) -> list[str]:
        return [f"{100 * of(name):.1f} %" for name in SETS]

    return [
        [str(metrics[name]["n"]) for name in SETS],
        plain(lambda name: metrics[name]["macro_f1"]),
        plain(lambda name: metrics["baseline"][name]["macro_f1"]),
        percent(lambda name: metrics[name]["fraud_recall"]),
        percent(lambda name: metrics[name]["fraud_found_or_reviewed"]),
        percent(lambda name: metrics[name]["fraud_false_alarm"]),
        percent(lambda name: metrics[name]["auto_share"]),
        percent(lambda name: metrics[name]["auto_error"]),
        percent(lambda name: metrics["int8_agreement"][name]),
    ]


def with_rows(text: str, rows: Sequence[Sequence[str]]) -> str:
    """Replace the cells of the table whose head names the validation and the test split."""
    head = re.search(r"^\|  \| validation \| test \|.*\n\|.*\n", text, re.MULTILINE)
    if head is None:
        raise SystemExit("no table of the release's figures")
    lines = text[head.end() :].split("\n")
    for number, cells in enumerate(rows):
        first = lines[number].strip("|").split("|")[0].strip()
        lines[number] = f"| {first} | {' | '.join(cells)} |"
    return text[: head.end()] + "\n".join(lines)


def with_ratios(text: str, bench: Mapping[str, Any]) -> str:
    """Replace the second cell of every row whose first names a ratio."""

    def row(found: re.Match[str]) -> str:
        ratio = bench["ratios"].get(found.group(2))
        return found.group() if ratio is None else f"{found.group(1)}{ratio:.2f} |"

    return re.sub(r"^(\| `([a-z0-9_]+)` \| )[\d.]+ \|", row, text, flags=re.MULTILINE)


def with_answer(text: str, engine: Triage) -> str:
    """Replace the JSON answer by what the release says of the curl line's input."""
    asked = re.search(r'-d \'\{"inputs": \["([^"]+)"\]\}\'', text)
    if asked is None:
        raise SystemExit("no curl line")
    said = engine.classify([asked.group(1)])[0].to_json()
    said["confidence"] = round(said["confidence"], 3)
    said["scores"] = {key: round(score, 3) for key, score in said["scores"].items()}
    for part in said["evidence"]:
        part["weight"] = round(part["weight"], 4)

    def show(*names: str) -> str:
        return ", ".join(f'"{name}": {json.dumps(said[name], ensure_ascii=False)}' for name in names)

    lines = [
        f'{{"model": {json.dumps(engine.version)}, "decisions": [{{',
        f"  {show('label', 'confidence')},",
        f"  {show('scores')},",
        f"  {show('secondary', 'route', 'reasons')},",
        f"  {show('urgency', 'urgency_reasons', 'unit')},",
        f"  {show('entities', 'evidence')},",
        f"  {show('truncated', 'read', 'model', 'stage')}}}]}}",
    ]
    return re.sub(r"(?<=```json\n).*?(?=\n```)", lambda _: "\n".join(lines), text, count=1, flags=re.DOTALL)


if __name__ == "__main__":
    main()
