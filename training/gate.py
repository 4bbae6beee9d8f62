"""May a candidate take the place of the release that serves? Both are measured in one run and held against a policy.

What it finds is written beside the releases (``triage.model.history``), and ``triage.promotion`` asks for it.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from training.evaluate import Gold, load_gold, measure
from training.rules import OF_RELEASE, SPEED, Rule, load_policy
from training.speakable import told
from triage import golden
from triage.decision import Decision
from triage.engine import Classifier, Triage
from triage.errors import CorpusError, ReleaseRefused
from triage.model import history
from triage.model.artifact import GOLDEN, checksum
from triage.model.history import GateRecord, RuleResult
from triage.promotion import folder_of, size_of

# Messages that each release answers before it is the other's turn, at most; and how many turns there should be.
TURN: Final = 128
TURNS: Final = 10
# What differs by less is equal.
ROUNDING: Final = 1e-9


@dataclass(slots=True)
class Measured:
    """What was found of one release.

    Attributes:
        release: figures of ``OF_RELEASE``.
        files: figures by stem of the labelled file.
        shared: the same over the labels alone that the release knows which serves: a label that only the candidate has
            must not make up for one that it reads worse.
    """

    release: dict[str, float] = field(default_factory=dict)
    files: dict[str, dict[str, float]] = field(default_factory=dict)
    shared: dict[str, dict[str, float]] = field(default_factory=dict)


def gate(
    models: Path,
    version: str,
    policy: Path,
    files: Sequence[Path],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> GateRecord:
    """Measure a candidate beside the release that serves; nothing is written.

    Args:
        models: folder of the releases.
        version: the candidate.
        policy: TOML; see ``Rule``.
        files: labelled messages as ``training.evaluate.load_gold`` reads them; their stems differ.
        progress: called with messages done and all messages.

    Raises:
        ReleaseNotFound, ReleaseCorrupt: the candidate or the release that serves cannot be loaded.
        ReleaseRefused: one of the two was replaced meanwhile.
        TrainingError: the policy is wrong.
        CorpusError: a file is empty, lacks a field or holds a label that the candidate does not know.
    """
    folder, serving = folder_of(models, version), history.current(models)
    rules = load_policy(policy).rule
    # Before anything is measured: the record must not vouch for what came afterwards.
    manifests = {name: history.manifest_checksum(models, name) for name in (version, serving)}
    sums, policy_sum = {path.name: checksum(path) for path in files}, checksum(policy)
    candidate = Triage.load(folder)
    other = Triage.load(folder_of(models, serving)) if serving else None
    gold = _labelled(files, candidate)
    mine, its = measured(candidate, other, gold, progress)
    report = golden.compare(candidate, golden.load(folder / GOLDEN))
    mine.release |= {
        "size_mib": size_of(folder) / 2**20,
        "golden_labels": len(report.labels),
        "golden_max_difference": report.max_difference,
        "golden_mean_difference": report.mean_difference,
    }
    if its:
        its.release["size_mib"] = size_of(models / serving) / 2**20
    _require_same(models, manifests)
    results = tuple(row for rule in rules for row in judged(rule, mine, its))
    return GateRecord(
        when=history.now(),
        candidate=version,
        manifest=manifests[version],
        against=serving,
        against_manifest=manifests[serving],
        policy=policy_sum,
        files=sums,
        rules=results,
        passed=all(row.passed for row in results),
    )


def _require_same(models: Path, manifests: Mapping[str, str]) -> None:
    for version, known in manifests.items():
        if history.manifest_checksum(models, version) != known:
            raise ReleaseRefused(
                f"{version} 在测量期间被替换，测得的结果不作数；请重新运行门槛检查",
                f"{version} was replaced while it was measured, and the figures are void; run the gate again",
            )


def _labelled(files: Sequence[Path], candidate: Classifier) -> dict[str, list[Gold]]:
    if not files or len({path.stem for path in files}) < len(files):
        raise CorpusError("请给出至少一个标注文件，且文件名各不相同", "give labelled files whose names differ")
    found = {path.stem: load_gold(path) for path in files}
    for path in files:
        strange = next((row for row in found[path.stem] if row.label not in candidate.taxonomy.ids), None)
        if strange:
            zh, en = told(strange.label)
            raise CorpusError(
                f"{path.name} 第 {strange.row} 行的标签{zh} 不在候选版本的标签表中；请先对应标签",
                f"{path.name} row {strange.row}: the candidate does not know the label {en}; map it first",
            )
    return found


def measured(
    candidate: Classifier,
    other: Classifier | None,
    gold: Mapping[str, Sequence[Gold]],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Measured, Measured | None]:
    """Let both releases read the files in turns, and measure them.

    Returns:
        What was found of the candidate and of the other; among the candidate's ``speed_ratio``, the median over all
        turns of the other's seconds by the candidate's.
    """
    engines = [candidate, *([other] if other else [])]
    mine, its = Measured(), Measured()
    ratios: list[float] = []
    total = sum(map(len, gold.values()))
    done = 0
    for stem, rows in gold.items():
        said: list[list[Decision]] = [[] for _ in engines]
        for turn in _turns(rows):
            seconds = _timed(engines, [row.text for row in turn], said, flip=len(ratios) % 2 == 1)
            ratios.append(seconds[-1] / seconds[0])
            done += len(turn)
            progress(done, total)
        mine.files[stem] = figures(rows, said[0], candidate.taxonomy.ids)
        if other:
            its.files[stem] = figures(rows, said[1], other.taxonomy.ids)
            mine.shared[stem] = figures(rows, said[0], other.taxonomy.ids)
    if other:
        mine.release[SPEED] = statistics.median(ratios)
    return mine, its if other else None


def _turns(rows: Sequence[Gold]) -> Iterator[Sequence[Gold]]:
    step = max(1, min(TURN, len(rows) // TURNS))
    yield from (rows[start : start + step] for start in range(0, len(rows), step))


def _timed(
    engines: Sequence[Classifier], texts: Sequence[str], said: Sequence[list[Decision]], flip: bool
) -> list[float]:
    """Seconds of each release for the same texts; who comes first changes from turn to turn."""
    seconds = [0.0] * len(engines)
    for index in reversed(range(len(engines))) if flip else range(len(engines)):
        started = time.perf_counter()
        said[index].extend(engines[index].classify(texts))
        seconds[index] = time.perf_counter() - started
    return seconds


def figures(gold: Sequence[Gold], said: Sequence[Decision], ids: Sequence[str]) -> dict[str, float]:
    """All numbers of ``measure``, with ``f1.<label>`` and ``recall.<label>`` of the labels in ``ids`` that occur."""
    if not {row.label for row in gold} & set(ids):
        return {}
    found = measure(gold, said, ids)
    plain = {name: float(value) for name, value in found.items() if isinstance(value, int | float)}
    f1 = found["f1"]
    assert isinstance(f1, dict)
    for label, value in f1.items():
        own = [d.label == label for g, d in zip(gold, said, strict=True) if g.label == label]
        plain |= {f"f1.{label}": value, f"recall.{label}": sum(own) / len(own)}
    return plain


def judged(rule: Rule, mine: Measured, its: Measured | None) -> Iterator[RuleResult]:
    """A rule's results: one for the release, or one for each labelled file that has such a figure.

    A rule that no file answers is not kept, be it that none has such messages or that its files were not given.
    """
    if rule.figure in OF_RELEASE:
        if rule.figure == SPEED and its is None:
            yield RuleResult(rule.figure, None, "无当前版本 no current release", True)
        else:
            value, current = mine.release[rule.figure], its.release.get(rule.figure) if its else None
            yield _result(rule, rule.figure, value, value, current)
        return
    stems = [stem for stem in mine.files if not rule.files or stem in rule.files]
    answered = [stem for stem in stems if rule.figure in mine.files[stem]]
    for stem in answered:
        value = mine.files[stem][rule.figure]
        shared = mine.shared.get(stem, {}).get(rule.figure, value)
        current = its.files[stem].get(rule.figure) if its else None
        yield _result(rule, f"{rule.figure} ({stem})", value, shared, current)
    if not answered:
        name = f"{rule.figure} ({', '.join(rule.files)})" if rule.files else rule.figure
        why = "文件中没有这类消息 no file has such messages" if stems else "未给出文件 its files were not given"
        yield RuleResult(name, None, why, False)


def _result(rule: Rule, name: str, value: float, shared: float, current: float | None) -> RuleResult:
    """One comparison.

    Args:
        value: the candidate's figure.
        shared: the same over the labels that the current release knows.
        current: the current release's; None where it has none.
    """
    sign = 1 if rule.rising else -1
    bounds = []
    passed = True
    fixed = rule.at_least if rule.rising else rule.at_most
    if fixed is not None:
        bounds.append(f"{'≥' if rule.rising else '≤'} {fixed:.4g}")
        passed = sign * (value - fixed) >= -ROUNDING
    if rule.worse_by is not None and current is not None:
        limit = current - sign * rule.worse_by
        bounds.append(f"{'≥' if rule.rising else '≤'} {limit:.4f}（当前 current {current:.4f}）")
        passed = passed and sign * (shared - limit) >= -ROUNDING
    return RuleResult(name, value if math.isfinite(value) else None, "，".join(bounds) or "–", passed)
