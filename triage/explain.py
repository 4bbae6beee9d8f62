"""Evidence: the spans that carried a decision, word by word.

The encoder averages its tokens before the last linear layer, so a label's logit is exactly the mean of what each token
adds to it. The contribution of a word is the sum over its tokens of (the label's token logit − the mean token logit of
the other labels): no second pass through the model is needed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from triage.decision import Evidence
from triage.text.normalize import Normalized

MAX_SPANS = 5
MIN_WEIGHT = 0.05

Word = tuple[int, int, str]


def support(tokens: NDArray[np.float32], label: int) -> NDArray[np.float64]:
    """What each token adds to a label against the others: [tokens, labels] → [tokens]."""
    others = np.delete(tokens, label, axis=1).mean(axis=1)
    result: NDArray[np.float64] = (tokens[:, label] - others).astype(np.float64)
    return result


def evidence(
    message: Normalized,
    words: Sequence[Word],
    spans: Sequence[tuple[int, int]],
    weights: Sequence[float],
    limit: int = MAX_SPANS,
) -> tuple[Evidence, ...]:
    """The words that carried a decision.

    Args:
        message: the normalized message, for its map to raw offsets.
        words: (start, end, word) over the normalized text, in order.
        spans: (start, end) in the raw text of each token; (0, 0) for tokens that stand for no text.
        weights: what each token adds, as from ``support``.
        limit: most spans to return.

    Returns:
        Spans of the raw text with their share of all positive support, heaviest first; words of one sign or of
        nothing but punctuation are left out.
    """
    share = np.zeros(len(message.raw) + 1)
    for (start, end), weight in zip(spans, weights, strict=True):
        if start < end:
            share[start:end] += weight / (end - start)
    total = np.concatenate([[0.0], np.cumsum(share)])
    found = []
    done = 0
    for start, end, word in words:
        if any(c.isalnum() for c in word):
            raw_start, raw_end = message.raw_span(start, end)
            # One raw character may have become several words (㍿ → 株式会社); it counts for the first.
            raw_start, done = max(raw_start, done), raw_end
            if raw_start < raw_end:
                found.append((float(total[raw_end] - total[raw_start]), raw_start, raw_end))
    positive = sum(weight for weight, _, _ in found if weight > 0)
    if positive <= 0:
        return ()
    best = sorted((item for item in found if item[0] / positive >= MIN_WEIGHT), reverse=True)[:limit]
    return tuple(Evidence(start, end, weight / positive) for weight, start, end in best)
