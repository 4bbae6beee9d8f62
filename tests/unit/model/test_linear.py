"""The linear stage: n-grams, files that are not one, training and serving the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.augment import Augmenter
from training.corpus import Message, load
from training.disguise import Disguiser
from training.linear import fit_linear
from training.recipe import Recipe
from triage.errors import ReleaseCorrupt
from triage.model.encoding import canonical
from triage.model.linear import BITS, Linear, ngrams
from triage.taxonomy import Taxonomy
from triage.text.normalize import Normalizer


@pytest.fixture(scope="module")
def messages(data: Path) -> list[Message]:
    return load(data / "corpus" / "validation.jsonl")


@pytest.fixture(scope="module")
def linear(data: Path, messages: list[Message]) -> Linear:
    recipe = Recipe()
    augmenter = Augmenter(recipe.augment, Disguiser.load(data))
    return fit_linear(messages, Taxonomy.load(data), Normalizer.load(data / "lexicon"), augmenter, recipe)


def test_ngrams_are_counted_once_each() -> None:
    buckets, values = ngrams("火火火")
    # 火 three times, 火火 twice, 火火火 once.
    assert sorted(values) == pytest.approx([1, 1 + np.log(2), 1 + np.log(3)])
    assert len(buckets) == 3


def test_the_hash_is_the_same_everywhere() -> None:
    """A release holds weights by bucket: another hash would read the wrong ones without a sound."""
    assert ngrams("着火了")[0].tolist() == [27447, 86623, 114281, 125701, 170134, 217111]


@given(st.text(max_size=60))
def test_ngrams_of_any_text(text: str) -> None:
    buckets, values = ngrams(text)
    assert len(buckets) == len(values) == len(set(buckets.tolist()))
    assert all(0 <= bucket < 1 << BITS for bucket in buckets)
    assert np.isfinite(values).all()


def test_learns_what_it_was_shown(data: Path, linear: Linear, messages: list[Message]) -> None:
    ids, normalizer = Taxonomy.load(data).ids, Normalizer.load(data / "lexicon")
    said = [ids[int(linear(canonical(normalizer(m.text).text).text).argmax())] for m in messages]
    assert np.mean([label == m.label for label, m in zip(said, messages, strict=True)]) > 0.95


def test_says_probabilities_even_of_nothing(linear: Linear) -> None:
    for text in ("", "火", "\U0001f525\U0001f525", "着火了" * 500):
        said = linear(text)
        assert said.shape == (5,)
        assert said.dtype == np.float32
        assert np.exp(said).sum() == pytest.approx(1, abs=1e-5)


def test_a_file_reads_back_as_it_was(linear: Linear, tmp_path: Path) -> None:
    linear.save(tmp_path / "linear.npz")
    again = Linear.load(tmp_path / "linear.npz", 5)
    assert again("楼道起火了").tolist() == linear("楼道起火了").tolist()
    assert (tmp_path / "linear.npz").stat().st_size < 4 * 2**20


def test_other_files_are_refused(linear: Linear, tmp_path: Path) -> None:
    file = tmp_path / "linear.npz"
    with pytest.raises(ReleaseCorrupt, match="cannot read"):
        Linear.load(file, 5)
    file.write_bytes(b"no archive")
    with pytest.raises(ReleaseCorrupt, match="cannot read"):
        Linear.load(file, 5)
    np.savez(file, rarity=linear.rarity, weights=linear.weights)
    with pytest.raises(ReleaseCorrupt, match="cannot read"):
        Linear.load(file, 5)
    linear.save(file)
    with pytest.raises(ReleaseCorrupt, match="weights of"):
        Linear.load(file, 6)
    np.savez(file, rarity=linear.rarity * np.nan, weights=linear.weights, bias=linear.bias)
    with pytest.raises(ReleaseCorrupt, match="rarity of"):
        Linear.load(file, 5)


def test_a_pickle_inside_is_never_opened(tmp_path: Path) -> None:
    file = tmp_path / "linear.npz"
    np.savez(file, rarity=np.array([{}], dtype=object), weights=np.zeros(1), bias=np.zeros(1))
    with pytest.raises(ReleaseCorrupt, match="cannot read"):
        Linear.load(file, 5)
