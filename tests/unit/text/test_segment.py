"""Words and their offsets."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triage.errors import LexiconError
from triage.text import Segmenter

TEXT = settings.get_profile("text")


def test_domain_words_stay_whole(segmenter: Segmenter) -> None:
    assert segmenter.words("钱转到安全账户，消防栓没水") == [
        (0, 1, "钱"),
        (1, 3, "转到"),
        (3, 7, "安全账户"),
        (7, 8, "，"),
        (8, 11, "消防栓"),
        (11, 13, "没水"),
    ]


def test_no_text_has_no_words(segmenter: Segmenter) -> None:
    assert segmenter.words("") == []


@TEXT
@given(text=st.text(max_size=40))
def test_words_cover_the_text(segmenter: Segmenter, text: str) -> None:
    words = segmenter.words(text)
    assert "".join(word for _, _, word in words) == text
    assert all(text[start:end] == word for start, end, word in words)


def test_nothing_is_logged_or_cached(lexicon: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    records: list[logging.LogRecord] = []
    handler = logging.Handler(logging.INFO)
    monkeypatch.setattr(handler, "emit", records.append)
    logging.getLogger().addHandler(handler)
    try:
        Segmenter.load(lexicon).warm()
    finally:
        logging.getLogger().removeHandler(handler)
    assert records == []
    assert list(tmp_path.iterdir()) == []


def test_instances_do_not_share_words(lexicon: Path, tmp_path: Path, segmenter: Segmenter) -> None:
    (tmp_path / "words.txt").write_text("# one word\n钱转到 900000 v\n", encoding="utf-8")
    assert Segmenter.load(tmp_path).words("钱转到")[0][2] == "钱转到"
    assert segmenter.words("钱转到")[0][2] == "钱"


@pytest.mark.parametrize("line", ["刷单", "刷单 many v", "刷单 0 v", "刷 单 5 v"])
def test_bad_lines_are_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "words.txt").write_text(f"# comment\n{line}\n", encoding="utf-8")
    with pytest.raises(LexiconError, match=r"words\.txt, line 2"):
        Segmenter.load(tmp_path)


def test_a_missing_dictionary_is_named(tmp_path: Path) -> None:
    with pytest.raises(LexiconError, match=r"words\.txt"):
        Segmenter.load(tmp_path)
