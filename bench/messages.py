"""500 messages of mixed length, the same for every competitor."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from statistics import NormalDist

COUNT = 500
# A day's mail as measured on real messages: median 54 tokens, mean about 90, cut at 256.
MEDIAN, SPREAD, SHORTEST, LONGEST = 54, 1.15, 6, 256


def wanted_lengths(count: int = COUNT) -> list[int]:
    """Token lengths to look for: quantiles of a log-normal, cut at both ends."""
    normal = NormalDist(math.log(MEDIAN), SPREAD)
    quantiles = [normal.inv_cdf((i + 0.5) / count) for i in range(count)]
    return [min(LONGEST, max(SHORTEST, round(math.exp(q)))) for q in quantiles]


def choose(texts: Sequence[str], lengths: Sequence[int], count: int = COUNT) -> list[str]:
    """For each wanted length the unused text whose length is nearest, spread over the list in a fixed random order.

    Args:
        texts: candidates.
        lengths: tokens of each.
        count: how many to choose.
    """
    free = sorted(range(len(texts)), key=lambda i: (min(lengths[i], LONGEST), i))
    chosen = []
    # From the longest down: long messages are the scarcest.
    for wanted in sorted(wanted_lengths(count), reverse=True):
        at = min(range(len(free)), key=lambda i: abs(min(lengths[free[i]], LONGEST) - wanted))
        chosen.append(free.pop(at))
    # A multiplicative step that shares no factor with the count mixes lengths without a generator.
    step = next(s for s in range(count * 5 // 8, count * 2) if math.gcd(s, count) == 1)
    return [texts[chosen[i * step % count]] for i in range(count)]


def read(paths: Sequence[Path]) -> list[str]:
    """Texts of ``.jsonl`` files."""
    return [json.loads(line)["text"] for path in paths for line in path.open(encoding="utf-8")]
