"""Fit the linear stage that is read beside the encoder."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize

from training.augment import Augmenter
from training.corpus import Message
from training.recipe import Recipe
from triage.model.encoding import canonical
from triage.model.linear import BITS, Linear, ngrams
from triage.taxonomy import Taxonomy
from triage.text.normalize import Normalizer

# A bucket that one message alone fills says more of its author than of its label.
_MIN_MESSAGES = 2


def fit_linear(
    messages: Sequence[Message], taxonomy: Taxonomy, normalizer: Normalizer, augmenter: Augmenter, recipe: Recipe
) -> Linear:
    """Logistic regression on hashed n-grams of each message and of one changed copy of it, labels of equal weight.

    Args:
        messages: the training split; every label of the taxonomy must stand in it.
        taxonomy: label order.
        normalizer: the lexicon's.
        augmenter: makes the copies.
        recipe: ``linear`` is the inverse of the L2 penalty, above 0 (scikit-learn's ``C``); ``seed`` of the copies.
    """
    chance = random.Random(f"{recipe.seed}:linear")
    copies = [augmenter(message.text, message.register, chance) for message in messages]

    def read(texts: Sequence[str]) -> csr_array:
        return _counts([canonical(normalizer(text).text).text for text in texts])

    counts = read([message.text for message in messages])
    seen = np.bincount(counts.indices, minlength=1 << BITS)
    rarity = np.where(seen >= _MIN_MESSAGES, np.log((1 + len(messages)) / (1 + seen)) + 1, 0).astype(np.float16)
    inputs = normalize(csr_array(vstack([counts, read(copies)]).multiply(rarity.astype(np.float32)[None, :])))
    wanted = [taxonomy.ids.index(message.label) for message in messages] * 2
    model = LogisticRegression(C=recipe.linear, max_iter=1000, class_weight="balanced").fit(inputs, wanted)
    weights: NDArray[np.float16] = model.coef_.T.astype(np.float16)
    return Linear(rarity, weights, model.intercept_.astype(np.float32))


def _counts(texts: Sequence[str]) -> csr_array:
    rows = [ngrams(text) for text in texts]
    ends = np.cumsum([0, *(len(buckets) for buckets, _ in rows)])
    parts = np.concatenate([values for _, values in rows]), np.concatenate([buckets for buckets, _ in rows]), ends
    return csr_array(parts, shape=(len(texts), 1 << BITS))
