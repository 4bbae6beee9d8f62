"""The shipped lexicon, loaded once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from triage.text import EntityFinder, Normalizer, Segmenter

LEXICON = Path(__file__).parents[3] / "data" / "lexicon"

# TEST_EXAMPLES=3000, as `make test-slow` sets it, for a longer search; the same examples every time.
settings.register_profile(
    "text",
    max_examples=int(os.environ.get("TEST_EXAMPLES", "300")),
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="session")
def lexicon() -> Path:
    return LEXICON


@pytest.fixture(scope="session")
def normalizer() -> Normalizer:
    return Normalizer.load(LEXICON)


@pytest.fixture(scope="session")
def finder() -> EntityFinder:
    return EntityFinder.load(LEXICON)


@pytest.fixture(scope="session")
def segmenter() -> Segmenter:
    return Segmenter.load(LEXICON)
