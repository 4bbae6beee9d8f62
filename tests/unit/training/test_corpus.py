"""Loading, validating and splitting labelled messages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

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
