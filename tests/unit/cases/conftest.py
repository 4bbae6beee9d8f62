from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from triage.cases import keys
from triage.cases.reports import Draft
from triage.cases.store import Store

TEXT = "对方自称公检法，让我把钱转到安全账户"


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    """An empty database with two API keys, 1 and 2."""
    opened = Store.open(database)
    with opened.write() as session:
        assert [keys.create(session, name)[0].id for name in ("platform", "other")] == [1, 2]
    yield opened
    opened.close()


@pytest.fixture
def due() -> datetime:
    """A lease that ends after the test."""
    return datetime.now(UTC) + timedelta(minutes=5)


@pytest.fixture
def draft() -> Draft:
    return Draft("hotline", "丰城-03", TEXT, external_id="2026-0001")
