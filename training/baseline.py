"""The linear baseline: jieba words and character n-grams, TF-IDF, logistic regression. What the encoder must beat."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, Pipeline

from training.corpus import Message
from training.evaluate import Gold, load_gold, measure
from triage.decision import Decision
from triage.model.encoding import canonical
from triage.taxonomy import Taxonomy
from triage.text.normalize import Normalizer
from triage.text.segment import Segmenter


class Baseline:
    """Fits on texts and labels, gives decisions with uncalibrated scores, all routed ``auto``.

    Args:
        lexicon: lexicon folder; the baseline reads the same canonical text as the encoder.
        taxonomy: label order.
        seed: of the solver.
    """

    def __init__(self, lexicon: Path, taxonomy: Taxonomy, seed: int = 1) -> None:
        self.taxonomy = taxonomy
        self._normalizer = Normalizer.load(lexicon)
        self._segmenter = Segmenter.load(lexicon)
        words = TfidfVectorizer(analyzer=self._words, sublinear_tf=True, min_df=2)
        characters = TfidfVectorizer(analyzer="char", ngram_range=(1, 4), sublinear_tf=True, min_df=2)
        self._pipeline = Pipeline(
            [
                ("features", FeatureUnion([("words", words), ("characters", characters)])),
                ("classify", LogisticRegression(C=10, max_iter=1000, class_weight="balanced", random_state=seed)),
            ]
        )

    def _words(self, text: str) -> list[str]:
        return [word for _, _, word in self._segmenter.words(text) if word.strip()]

    def _read(self, texts: Sequence[str]) -> list[str]:
        return [canonical(self._normalizer(text).text).text for text in texts]

    def fit(self, messages: Sequence[Message]) -> None:
        """Learn the primary label from the training split."""
        self._pipeline.fit(self._read([m.text for m in messages]), [m.label for m in messages])

    def classify(self, texts: Sequence[str]) -> list[Decision]:
        """A decision for each text: label and scores only."""
        rows = self._pipeline.predict_proba(self._read(texts))
        ids = [str(key) for key in self._pipeline.classes_]
        return [
            Decision(
                label=ids[int(np.argmax(row))],
                confidence=float(row.max()),
                scores=dict(zip(ids, map(float, row), strict=True)),
                route="auto",
                model="baseline",
                stage="linear",
            )
            for row in rows
        ]


def measure_baseline(
    messages: Sequence[Message], files: Sequence[Path], data: Path, step: Callable[[str], None] = lambda name: None
) -> dict[str, dict[str, object]]:
    """Fit on the training split and measure on each file; figures by file stem."""
    taxonomy = Taxonomy.load(data)
    baseline = Baseline(data / "lexicon", taxonomy)
    step("fit")
    baseline.fit(messages)
    found = {}
    for file in files:
        step(file.stem)
        gold: list[Gold] = load_gold(file)
        found[file.stem] = measure(gold, baseline.classify([g.text for g in gold]), taxonomy.ids)
    return found
