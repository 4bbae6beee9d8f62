from __future__ import annotations

import time

import pytest

from triage.engine import Classifier
from triage.taxonomy import Taxonomy, Urgency
from triage.testing import KeywordEngine, keyword_manifest, keyword_taxonomy


def test_the_double_is_a_classifier() -> None:
    engine: Classifier = KeywordEngine()
    assert engine.version == engine.manifest.version == "keyword-1"


def test_its_taxonomy_is_that_of_the_product(data) -> None:
    real = Taxonomy.load(data)
    double = keyword_taxonomy()
    assert double.ids == real.ids
    assert [label.unit for label in double.labels] == [label.unit for label in real.labels]
    assert dict(double.urgency_names) == dict(real.urgency_names)


@pytest.mark.parametrize(
    ("text", "label", "route", "reasons"),
    [
        ("早高峰两车追尾", "traffic", "auto", ()),
        ("楼下有人持刀", "public_safety", "auto", ()),
        ("厨房着火", "fire_hazard", "auto", ()),
        ("让我转到安全账户", "telecom_fraud", "auto", ()),
        ("今天天气不错", "other", "auto", ()),
        ("追尾后有人打架", "traffic", "review", ("low_confidence", "ambiguous")),
        ("一句无关的话", "traffic", "review", ("low_confidence", "ambiguous")),
        ("", "other", "review", ("empty",)),
        (" \n", "other", "review", ("empty",)),
        ("😀", "other", "review", ("media_only",)),
    ],
)
def test_keywords_decide(text: str, label: str, route: str, reasons: tuple[str, ...]) -> None:
    (decision,) = KeywordEngine().classify([text])
    assert (decision.label, decision.route, decision.reasons) == (label, route, reasons)
    assert sum(decision.scores.values()) == pytest.approx(1)


def test_spans_are_those_of_the_raw_text() -> None:
    text = "着火了，联系13800138000"
    (decision,) = KeywordEngine().classify([text])
    assert [text[span.start : span.end] for span in decision.evidence] == ["着火"]
    assert [(entity.kind, text[entity.start : entity.end]) for entity in decision.entities] == [
        ("mobile", "13800138000")
    ]
    assert (decision.urgency, decision.read) == (Urgency.EMERGENCY, (0, len(text)))


def test_long_texts_are_cut_as_the_encoding_cuts_them() -> None:
    engine = KeywordEngine(manifest=keyword_manifest(max_tokens=16, overlap=4, max_windows=3))
    short, long, too_long = engine.prepare(["啊" * 14, "啊" * 15, "啊" * 100])
    assert [len(window.ids) for window in short.windows] == [16]
    assert [len(window.ids) for window in long.windows] == [16, 7]
    assert [window.read for window in long.windows] == [(0, 14), (10, 15)]
    assert (len(too_long.windows), too_long.truncated, short.truncated) == (3, True, False)
    (decision,) = engine.classify(["啊" * 100])
    assert (decision.truncated, decision.read, decision.reasons[-1]) == (True, (0, 34), "truncated")


def test_it_fails_and_dawdles_where_it_is_told_to() -> None:
    engine = KeywordEngine(seconds_per_token=0.01, poison="毒药")
    with pytest.raises(RuntimeError):
        engine.classify(["这是毒药"])
    started = time.perf_counter()
    engine.classify(["着火了"])
    assert time.perf_counter() - started >= 0.05
    assert engine.batches == [(6,), (5,)]
    engine.broken = True
    with pytest.raises(RuntimeError):
        engine.classify(["着火"])
