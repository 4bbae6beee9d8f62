"""What each family of disguise does to a text, checked by undoing it or by what must stay."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from random import Random

import opencc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pypinyin import lazy_pinyin

from training.disguise import FAMILIES, FILE, Disguiser
from training.evaluate import evaluate_disguised
from triage.decision import Decision
from triage.errors import CorpusError
from triage.taxonomy import Taxonomy

SCAM = "恭喜您中奖了！请加微信vip8866领取奖金，验证码3321，点击http://jl.example/a1"
PLAIN = "你女儿在医院等着做手术，快把押金送来"


@pytest.fixture(scope="module")
def disguiser(data: Path) -> Disguiser:
    return Disguiser.load(data)


def test_there_are_twelve_families() -> None:
    assert len(FAMILIES) == 12


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_changes_a_scam_the_same_way_for_the_same_seed(disguiser: Disguiser, family: str) -> None:
    first, again = (disguiser(SCAM, family, Random(7)) for _ in range(2))
    assert first == again != SCAM
    assert len({disguiser(SCAM, family, Random(seed)) for seed in range(20)}) > 1 or family in (
        "full_width",
        "traditional",
    )


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - {"digits", "latin", "split", "look_alikes", "full_width"}))
def test_a_text_without_listed_words_is_disguised_too(disguiser: Disguiser, family: str) -> None:
    assert any(disguiser(PLAIN, family, Random(seed)) != PLAIN for seed in range(10))


@given(st.text(max_size=60), st.sampled_from(sorted(FAMILIES)), st.integers(0, 99))
def test_any_text_can_be_disguised(disguiser: Disguiser, text: str, family: str, seed: int) -> None:
    assert bool(disguiser(text, family, Random(seed))) == bool(text)


def test_full_width_comes_back_by_nfkc(disguiser: Disguiser) -> None:
    assert unicodedata.normalize("NFKC", disguiser(SCAM, "full_width", Random(0))) == unicodedata.normalize(
        "NFKC", SCAM
    )


def test_traditional_comes_back_by_opencc(disguiser: Disguiser) -> None:
    assert opencc.OpenCC("t2s").convert(disguiser(SCAM, "traditional", Random(0))) == SCAM


def test_zero_width_adds_nothing_that_is_seen(disguiser: Disguiser) -> None:
    changed = disguiser(SCAM, "zero_width", Random(0))
    assert "".join(c for c in changed if unicodedata.category(c) != "Cf") == SCAM


def test_symbols_stand_between_the_characters_of_a_word(disguiser: Disguiser) -> None:
    changed = disguiser(SCAM, "symbols", Random(0))
    mark = next(m for m in disguiser.marks if f"奖{m}金" in changed)
    assert f"验{mark}证{mark}码" in changed


def test_homophones_sound_alike_and_pinyin_spells_the_word(disguiser: Disguiser) -> None:
    changed = disguiser(SCAM, "homophones", Random(0))
    assert len(changed) == len(SCAM)
    assert lazy_pinyin(changed) == lazy_pinyin(SCAM)
    spelt = disguiser("红包", "pinyin", Random(0))
    assert spelt in {"hongbao", "hb", "hong包", "h包", "红bao", "红b"}


def test_digits_keep_their_value(disguiser: Disguiser) -> None:
    for seed in range(10):
        changed = disguiser("尾号3321", "digits", Random(seed))
        values = [
            unicodedata.digit(c, None) if unicodedata.digit(c, None) is not None else int(unicodedata.numeric(c))
            for c in changed[2:]
        ]
        assert values == [3, 3, 2, 1], changed


def test_latin_letters_become_letters_that_are_not_ascii(disguiser: Disguiser) -> None:
    assert re.fullmatch(r"[^A-Za-z]+", disguiser("VIPqunabcdefghijklmnoprstuwxyz", "latin", Random(0)))


def test_order_loses_no_character(disguiser: Disguiser) -> None:
    for seed in range(9):
        changed = disguiser(SCAM, "order", Random(seed))
        assert sorted(re.sub(r"\s", "", changed)) == sorted(SCAM)


def test_the_tables_hold_characters_that_differ_from_what_they_stand_for(disguiser: Disguiser) -> None:
    for table in (disguiser.look_alikes, disguiser.split, disguiser.latin):
        assert all(len(key) == 1 and key not in value and value for key, value in table.items())
    assert all(len(row) == 10 for row in disguiser.digits)


@pytest.mark.parametrize("content", [None, "words = 3", "words = []", "no toml"])
def test_a_missing_or_wrong_table_is_named(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / FILE).write_text(content, encoding="utf-8")
    with pytest.raises(CorpusError, match=r"disguise\.toml"):
        Disguiser.load(tmp_path)


class _Literal:
    """Finds fraud where 微信 is written plainly; sends what has a digit to review."""

    def __init__(self, taxonomy: Taxonomy) -> None:
        self.taxonomy = taxonomy

    def classify(self, texts: Sequence[str]) -> list[Decision]:
        return [
            Decision(
                "telecom_fraud" if "微信" in text else "other",
                0.9,
                {},
                route="review" if re.search("[0-9]", text) else "auto",
            )
            for text in texts
        ]


def test_evaluates_what_disguise_costs(tmp_path: Path, data: Path, disguiser: Disguiser) -> None:
    rows = [("加微信领奖", "telecom_fraud"), ("加微信v88", "telecom_fraud"), ("微信群里通知停水", "other")]
    file = tmp_path / "some.jsonl"
    lines = [json.dumps({"text": text, "label": label}, ensure_ascii=False) for text, label in rows]
    file.write_text("\n".join(lines), encoding="utf-8")
    found = evaluate_disguised(_Literal(Taxonomy.load(data)), file, disguiser)  # type: ignore[arg-type]
    assert list(found) == ["plain", *FAMILIES]
    assert found["plain"] == {"fraud_recall": 1.0, "fraud_found_or_reviewed": 1.0, "lost": 0.0}
    assert found["symbols"]["fraud_recall"] == 0
    assert found["symbols"]["fraud_found_or_reviewed"] == 0.5
    assert found["symbols"]["lost"] == 1
    assert found["latin"]["lost"] == 0


def test_a_file_without_fraud_has_no_figures(tmp_path: Path, data: Path, disguiser: Disguiser) -> None:
    file = tmp_path / "some.jsonl"
    file.write_text(json.dumps({"text": "停水了", "label": "other"}), encoding="utf-8")
    assert evaluate_disguised(_Literal(Taxonomy.load(data)), file, disguiser) == {}  # type: ignore[arg-type]
