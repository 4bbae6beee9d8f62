"""Loading, validating and splitting labelled messages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from training import corpus
from triage.errors import CorpusError


def message(text: str, **changes: object) -> corpus.Message:
    row = corpus.Message(
        corpus.message_id(text), text, "traffic", (), "routine", "group_chat", "crash", "a-crash", "w1a1", "plain"
    )
    return replace(row, **changes)  # type: ignore[arg-type]


GOOD = message("两车在桥头蹭了一下，人没事，占着一条道")


def codes(data: Path, *messages: corpus.Message) -> set[str]:
    return {finding.code for finding in corpus.validate({"train": messages}, data)}


def test_a_good_row_has_no_findings(data: Path) -> None:
    assert codes(data, GOOD) == set()


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (replace(GOOD, label="flood"), "unknown_label"),
        (replace(GOOD, urgency="soon"), "unknown_urgency"),
        (replace(GOOD, register="mail"), "unknown_register"),
        (replace(GOOD, topic="weather"), "unknown_topic"),
        (replace(GOOD, author="nobody"), "unknown_author"),
        (replace(GOOD, difficulty="harder"), "unknown_difficulty"),
        (replace(GOOD, id="0" * 12), "wrong_id"),
        (message(" 前面有blank "), "bad_text"),
        (replace(GOOD, scenario="A Crash"), "bad_scenario"),
        (replace(GOOD, secondary=("traffic",)), "bad_secondary"),
        (replace(GOOD, secondary=("other",)), "bad_secondary"),
        (replace(GOOD, label="other", urgency="urgent"), "busy_other"),
        (message("联系我13812345678谢谢"), "personal_data"),
    ],
)
def test_each_rule_speaks(data: Path, bad: corpus.Message, code: str) -> None:
    assert code in codes(data, bad)


def test_fictitious_numbers_pass(data: Path) -> None:
    assert codes(data, message("联系我13800005678谢谢")) == set()


def test_the_same_words_twice_are_found(data: Path) -> None:
    again = message("两车在桥头蹭了一下人没事，占着一条道！", scenario="other-crash")
    assert "duplicate" in codes(data, GOOD, again)


def test_scenarios_and_near_duplicates_may_not_straddle(data: Path) -> None:
    same = message("桥上撞了两辆车", scenario=GOOD.scenario)
    near = message("两车在桥头蹭了一下，人没事，占着一条道。", scenario="another")
    for other in (same, near):
        findings = corpus.validate({"train": [GOOD], "test": [other]}, data)
        assert "leak" in {f.code for f in findings}


@pytest.mark.parametrize("threshold", [0.15, 0.3, 0.8])
def test_near_duplicates_are_those_of_comparing_all_with_all(data: Path, threshold: float) -> None:
    texts = [row.text for row in corpus.load(data / "corpus" / "validation.jsonl")][:300]
    texts += [text[:-2] for text in texts[:20]] + ["", "。", texts[0]]
    vectors = TfidfVectorizer(analyzer="char", ngram_range=(2, 4), sublinear_tf=True).fit_transform(texts)
    alike = (vectors @ vectors.T).toarray()
    rows, columns = np.nonzero(np.triu(alike, 1) >= threshold)
    found = corpus.near_duplicates(texts, threshold)
    assert [(first, second) for first, second, _ in found] == list(zip(rows, columns, strict=True))
    assert [value for _, _, value in found] == pytest.approx(alike[rows, columns])
    assert len(found) >= 20


def test_a_finding_never_holds_the_text(data: Path) -> None:
    bad = replace(GOOD, label="flood")
    assert all(GOOD.text[:6] not in f.message for f in corpus.validate({"train": [bad]}, data))


def test_split_keeps_authors_apart_and_loses_nothing() -> None:
    texts = [f"第{i}条{'甲乙丙丁戊己庚辛'[i % 8]}说的{chr(0x4E00 + 37 * i)}{chr(0x5E00 + 53 * i)}" for i in range(160)]
    rows = [message(t, scenario=f"s-{i}", author=f"a{i % 16}") for i, t in enumerate(texts)]
    parts = corpus.split(rows)
    assert sorted(m.id for part in parts.values() for m in part) == sorted(m.id for m in rows)
    homes = {(m.author, name) for name, part in parts.items() for m in part}
    assert len(homes) == 16
    assert len(parts["train"]) > len(rows) / 2
    assert corpus.split(rows) == parts, "the same messages split the same way"


def test_a_row_that_is_none_is_named_by_number(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"id": "1"}\n', encoding="utf-8")
    with pytest.raises(CorpusError, match="row 1"):
        corpus.load(tmp_path / "x.jsonl")


def test_round_trip(tmp_path: Path) -> None:
    corpus.save(tmp_path / "x.jsonl", [GOOD])
    assert corpus.load(tmp_path / "x.jsonl") == [GOOD]


def test_a_row_from_elsewhere_may_hold_only_some_fields_and_further_ones(tmp_path: Path) -> None:
    row = '{"text": "消防通道被堵", "label": "fire_hazard", "urgency": null, "time": "2026-11-01"}\n'
    (tmp_path / "x.jsonl").write_text(row, encoding="utf-8")
    text = "消防通道被堵"
    assert corpus.load(tmp_path / "x.jsonl") == [corpus.Message(corpus.message_id(text), text, "fire_hazard")]


def test_scenarios_and_authors_that_nobody_told_join_nothing() -> None:
    rows = [message(text, scenario="", author="") for text in ("桥头两车相撞了", "楼道里堆满纸箱")]
    assert len(set(corpus.group(rows, by_author=True))) == 2
