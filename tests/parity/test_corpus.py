"""The corpus that is shipped: large, clean, covering, half of it hard, and readable by ``datasets``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from training import corpus
from training.evaluate import load_gold
from triage.taxonomy import Taxonomy

LETTER = range(100, 401)


@pytest.fixture(scope="module")
def splits(data: Path) -> dict[str, list[corpus.Message]]:
    return corpus.load_splits(data)


@pytest.fixture(scope="module")
def messages(splits: dict[str, list[corpus.Message]]) -> list[corpus.Message]:
    return [message for part in splits.values() for message in part]


def test_it_is_large(messages: list[corpus.Message]) -> None:
    assert len(messages) >= 2500


def test_the_validator_finds_nothing(splits: dict[str, list[corpus.Message]], data: Path) -> None:
    assert corpus.validate(splits, data) == []


def test_no_voice_speaks_in_two_splits(splits: dict[str, list[corpus.Message]]) -> None:
    homes = {(message.author, name) for name, part in splits.items() for message in part}
    assert [author for author, n in Counter(author for author, _ in homes).items() if n > 1] == []


def test_every_topic_of_the_codebook_has_messages(messages: list[corpus.Message], data: Path) -> None:
    assert corpus.load_topics(data).keys() - {message.topic for message in messages} == set()


def test_half_of_it_is_hard(messages: list[corpus.Message]) -> None:
    assert sum(message.difficulty == "hard" for message in messages) / len(messages) >= 0.45


def test_five_registers_speak_and_those_of_reports_know_every_label(messages: list[corpus.Message], data: Path) -> None:
    found = Counter((message.register, message.label) for message in messages)
    assert {register for register, _ in found} == set(corpus.REGISTERS)
    labels = Taxonomy.load(data).ids
    # Forwarded texts are scams and notices; everyday ones nobody's business.
    reports = ("group_chat", "hotline", "letter")
    assert [(register, label) for register in reports for label in labels if found[register, label] < 50] == []


def test_every_split_has_every_label(splits: dict[str, list[corpus.Message]], data: Path) -> None:
    for name, part in splits.items():
        assert {message.label for message in part} == set(Taxonomy.load(data).ids), name


def test_letters_have_the_length_of_letters(messages: list[corpus.Message]) -> None:
    lengths = [len(message.text) for message in messages if message.register == "letter"]
    assert len(lengths) >= 250
    # Some are what people type into a web form in a hurry.
    assert sum(length in LETTER for length in lengths) / len(lengths) >= 0.9


def test_datasets_loads_the_four_splits_offline(
    data: Path, splits: dict[str, list[corpus.Message]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(data.parent)
    datasets.disable_progress_bars()
    loaded = datasets.load_dataset("data", cache_dir=str(tmp_path))
    assert {name: len(part) for name, part in loaded.items()} == {name: len(part) for name, part in splits.items()}
    assert loaded["test"][0] == splits["test"][0].to_json()


def test_texts_out_of_scope_are_other_of_many_kinds_and_stand_in_no_split(
    messages: list[corpus.Message], data: Path
) -> None:
    strange = load_gold(data / "out_of_scope.jsonl")
    assert len(strange) == len({row.text for row in strange}) >= 150
    assert {row.label for row in strange} == {"other"}
    assert min(Counter(row.register for row in strange).values()) >= 8
    assert {row.text for row in strange} & {message.text for message in messages} == set()
