"""Evidence on hand-made token weights: which words, where in the raw text, how heavy."""

from __future__ import annotations

from array import array
from pathlib import Path

import numpy as np
import pytest

from triage import explain
from triage.decision import Evidence
from triage.explain import Word
from triage.text import Normalized, Normalizer, Segmenter


def as_it_is(text: str) -> Normalized:
    """A text that normalization would not change."""
    return Normalized(text, text, array("I", range(len(text))), array("I", range(1, len(text) + 1)))


def words_of(*words: str) -> list[Word]:
    """Words that stand one after another."""
    ends = np.cumsum([len(word) for word in words]).tolist()
    return [(end - len(word), end, word) for end, word in zip(ends, words, strict=True)]


def one_by_one(text: str) -> list[tuple[int, int]]:
    return [(i, i + 1) for i in range(len(text))]


def test_support_is_the_label_against_the_mean_of_the_others() -> None:
    tokens = np.array([[3.0, 1.0, 2.0], [0.0, 4.0, 0.0]], dtype=np.float32)
    assert explain.support(tokens, 0).tolist() == [1.5, -2.0]
    assert explain.support(tokens, 1).tolist() == [-1.5, 4.0]


def test_a_word_weighs_what_its_tokens_add() -> None:
    text = "消防通道着火"
    words = words_of("消防", "通道", "着火")
    found = explain.evidence(as_it_is(text), words, one_by_one(text), [1, 1, 0.5, 0.5, 3, 2])
    assert found == (Evidence(4, 6, 0.625), Evidence(0, 2, 0.25), Evidence(2, 4, 0.125))


def test_a_token_over_two_words_is_shared_by_length() -> None:
    found = explain.evidence(as_it_is("着火了快来"), words_of("着火", "了快", "来"), [(0, 4), (4, 5)], [4.0, 6.0])
    assert found == (Evidence(4, 5, 0.6), Evidence(2, 4, 0.2), Evidence(0, 2, 0.2))


def test_tokens_that_stand_for_no_text_do_not_count() -> None:
    found = explain.evidence(as_it_is("火"), words_of("火"), [(0, 0), (0, 1), (0, 0)], [100.0, 1.0, -100.0])
    assert found == (Evidence(0, 1, 1.0),)


def test_words_that_speak_against_the_label_are_left_out() -> None:
    found = explain.evidence(as_it_is("没着火"), words_of("没", "着火"), one_by_one("没着火"), [-9, 1, 1])
    assert found == (Evidence(1, 3, 1.0),)
    assert explain.evidence(as_it_is("没事"), words_of("没事"), one_by_one("没事"), [-1, 0.5]) == ()
    assert explain.evidence(as_it_is("没事"), words_of("没事"), one_by_one("没事"), [0, 0]) == ()


@pytest.mark.parametrize("sign", ["！", "……", "[", " ", "😀", "\n"])
def test_signs_are_no_evidence(sign: str) -> None:
    text = f"着火{sign}"
    weights = [1.0, 1.0, *[50.0] * len(sign)]
    assert explain.evidence(as_it_is(text), words_of("着火", sign), one_by_one(text), weights) == (Evidence(0, 2, 1),)


def test_light_words_are_left_out() -> None:
    text = "重轻微"
    found = explain.evidence(as_it_is(text), words_of(*text), one_by_one(text), [90, 5, 4.9])
    assert [(span.start, span.end) for span in found] == [(0, 1), (1, 2)]


def test_the_number_of_spans_is_bounded() -> None:
    text = "一二三四五六七八"
    weights = [1, 2, 3, 4, 5, 6, 7, 8]
    found = explain.evidence(as_it_is(text), words_of(*text), one_by_one(text), weights)
    assert [span.start for span in found] == [7, 6, 5, 4, 3]
    assert [span.weight for span in found] == pytest.approx([8 / 36, 7 / 36, 6 / 36, 5 / 36, 4 / 36])
    assert len(explain.evidence(as_it_is(text), words_of(*text), one_by_one(text), weights, limit=2)) == 2


@pytest.mark.parametrize("raw", ["\u200b\u200b ＡＰＰ里加薇\u200d❤信，转账一万二", "㋀底㍿着火！", "e\u0301了㋀㋀"])
def test_spans_stand_in_the_raw_text_and_never_overlap(data: Path, raw: str) -> None:
    message = Normalizer.load(data / "lexicon")(raw)
    words = Segmenter.load(data / "lexicon").words(message.text)
    spans = [message.raw_span(i, i + 1) for i in range(len(message.text))]
    found = explain.evidence(message, words, spans, [1.0] * len(spans), limit=99)
    assert all(0 <= span.start < span.end <= len(raw) for span in found)
    assert [span.weight for span in found] == sorted((span.weight for span in found), reverse=True)
    assert sum(span.weight for span in found) == pytest.approx(1)
    by_place = sorted((span.start, span.end) for span in found)
    assert all(a[1] <= b[0] for a, b in zip(by_place, by_place[1:], strict=False)), message.text


def test_a_disguised_word_is_shown_as_it_was_written(data: Path) -> None:
    raw = "加薇\u200d❤信，转账"
    message = Normalizer.load(data / "lexicon")(raw)
    words = Segmenter.load(data / "lexicon").words(message.text)
    start, end = message.raw_span(message.text.index("微信"), message.text.index("微信") + 2)
    (span,) = explain.evidence(message, words, [(start, end)], [1.0])
    assert raw[span.start : span.end] == "薇\u200d❤信"
