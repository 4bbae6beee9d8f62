"""McNemar's test: do two releases err equally often on the same messages?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, false_discovery_control

_DIGITS = 6


@dataclass(frozen=True, slots=True)
class McNemar:
    """Whether two releases err equally often on the same messages.

    Attributes:
        fixed: messages that only the second release gets right.
        broken: messages that only the first gets right.
        p: of the exact two-sided test.
        p_adjusted: ``p`` where it was one question; else see ``adjusted``.
    """

    fixed: int
    broken: int
    p: float
    p_adjusted: float

    def to_json(self) -> dict[str, Any]:
        return {
            "fixed": self.fixed,
            "broken": self.broken,
            "p": round(self.p, _DIGITS),
            "p_adjusted": round(self.p_adjusted, _DIGITS),
        }


def mcnemar(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> McNemar:
    """Whether the second of two releases is right more or less often than chance allows, if they were equally good.

    Method: McNemar 1947 (Psychometrika 12:153) in its exact form: of the messages that only one gets right, half
    should be either's, by the binomial distribution. The exact form is used for every count: the chi-square one is an
    approximation to it, and poor under 25.

    Args:
        before, after: [messages] whether the first and the second release are right.
    """
    fixed, broken = int((~before & after).sum()), int((before & ~after).sum())
    p = float(binomtest(fixed, fixed + broken).pvalue) if fixed + broken else 1.0
    return McNemar(fixed, broken, p, p)


def adjusted(tests: Sequence[McNemar]) -> list[McNemar]:
    """The same tests, judged as what they are: many questions to one file.

    Method: Benjamini & Hochberg 1995 (J. R. Stat. Soc. B 57:289): of the tests whose ``p_adjusted`` is under 0.05, at
    most 5 % are expected to be chance. Each ``p`` alone would find something in one slice of twenty where there is
    nothing.
    """
    if not tests:
        return []
    found = false_discovery_control([test.p for test in tests])
    return [replace(test, p_adjusted=float(p)) for test, p in zip(tests, found, strict=True)]
