from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from triage.cases import audit, reports
from triage.cases.audit import Head
from triage.cases.reports import Draft
from triage.cases.store import Store
from triage.errors import AuditBroken, StoreError


@pytest.fixture
def chain(store: Store, draft: Draft, due: datetime) -> Head:
    """A chain of seven events."""
    with store.write() as session:
        reports.accept(session, 1, draft, due)
        for number in range(6):
            audit.append(session, "tested", "system", None if number % 2 else 1, {"n": number, "名": "甲"})
        return audit.head(session)


def verify(store: Store, noted: Head | None = None) -> Head:
    with store.read() as session:
        return audit.verify(session, noted)


def tamper(store: Store, statement: str, **values: object) -> None:
    """What somebody does who owns the database."""
    with store.write() as session:
        if session.get_bind().dialect.name == "sqlite":
            session.execute(text("DROP TRIGGER IF EXISTS events_no_update"))
            session.execute(text("DROP TRIGGER IF EXISTS events_no_delete"))
        else:
            session.execute(text("ALTER TABLE events DISABLE TRIGGER ALL"))
        session.execute(text(statement), values)


def test_an_untouched_chain_verifies(store: Store, chain: Head, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "STRETCH", 3)
    assert chain.number == 7
    assert verify(store) == chain
    assert verify(store, chain) == chain


def test_an_empty_chain_verifies(store: Store) -> None:
    assert verify(store) == Head(0, "0" * 64)


@pytest.mark.parametrize("column", ["at", "kind", "actor", "data", "previous", "hash"])
def test_one_changed_byte_is_found(store: Store, chain: Head, column: str) -> None:
    with store.read() as session:
        value: str = session.scalar(text(f"SELECT {column} FROM events WHERE number = 4"))
    last = "0" if value[-1] != "0" else "1"
    tamper(store, f"UPDATE events SET {column} = :value WHERE number = 4", value=value[:-1] + last)
    with pytest.raises(AuditBroken) as error:
        verify(store)
    assert "第 4 条" in error.value.zh


@pytest.mark.parametrize(
    ("statement", "number"),
    [
        ("UPDATE events SET report_id = 1 WHERE number = 3", 3),
        ("UPDATE events SET report_id = NULL WHERE number = 2", 2),
        ("UPDATE events SET number = 70 WHERE number = 7", 7),
        ("DELETE FROM events WHERE number = 1", 1),
        ("DELETE FROM events WHERE number = 5", 5),
    ],
)
def test_moved_and_removed_events_are_found(store: Store, chain: Head, statement: str, number: int) -> None:
    tamper(store, statement)
    with pytest.raises(AuditBroken) as error:
        verify(store)
    assert f"event {number}:" in error.value.en


def test_a_noted_head_finds_an_end_that_was_cut_off_or_made_anew(store: Store, chain: Head) -> None:
    tamper(store, "DELETE FROM events WHERE number = 7")
    assert verify(store).number == 6
    with pytest.raises(AuditBroken):
        verify(store, chain)
    with store.write() as session:
        audit.append(session, "tested", "system", None, {"n": "another"})
    assert verify(store).number == 7
    with pytest.raises(AuditBroken):
        verify(store, chain)


@pytest.mark.parametrize("change", ["DELETE FROM events", "UPDATE events SET kind = 'x'"])
def test_the_database_refuses_to_change_history(store: Store, chain: Head, change: str) -> None:
    with pytest.raises(StoreError), store.write() as session:
        session.execute(text(change))
    assert verify(store) == chain


def test_a_byte_of_the_file_itself(store: Store, chain: Head, tmp_path: Path) -> None:
    file = tmp_path / "triage.db"
    if not file.exists():
        pytest.skip("PostgreSQL keeps its files to itself")
    store.close()
    with store.write() as session:
        session.execute(text("SELECT 1"))
    store.close()
    content = file.read_bytes()
    place = content.index(b'{"n":3')
    file.write_bytes(content[: place + 5] + b"4" + content[place + 6 :])
    with pytest.raises(AuditBroken):
        verify(store)
