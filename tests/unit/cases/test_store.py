from __future__ import annotations

import contextlib
import stat
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import postgres_server
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from triage.cases import keys
from triage.cases.models import ApiKey, Base
from triage.cases.store import Store
from triage.errors import SettingsError, StoreError


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(f"sqlite:///{tmp_path / 'deep' / 'triage.db'}")
    yield opened
    opened.close()


def names(store: Store) -> list[str]:
    with store.read() as session:
        return [row.name for row in keys.listed(session)]


def test_the_migrations_make_the_tables_of_the_models(database: str) -> None:
    store = Store.open(database)
    with store._engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    store.close()


def test_sqlite_is_opened_for_a_service(store: Store, tmp_path: Path) -> None:
    with store.read() as session:
        pragmas = [session.scalar(text(f"PRAGMA {name}")) for name in ("journal_mode", "busy_timeout", "foreign_keys")]
    assert pragmas == ["wal", 5000, 1]
    file = tmp_path / "deep" / "triage.db"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_opening_again_changes_nothing(store: Store, tmp_path: Path) -> None:
    with store.write() as session:
        keys.create(session, "first")
    again = Store.open(f"sqlite:///{tmp_path / 'deep' / 'triage.db'}")
    assert names(again) == ["first"]
    again.close()


def test_many_may_open_a_new_database_at_once(tmp_path: Path) -> None:
    opened: list[Store] = []
    threads = [
        threading.Thread(target=lambda: opened.append(Store.open(f"sqlite:///{tmp_path / 'new.db'}"))) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [names(store) for store in opened] == [[]] * 6
    for store in opened:
        store.close()


def test_a_write_is_kept_whole_or_not_at_all(store: Store) -> None:
    with contextlib.suppress(SettingsError), store.write() as session:
        keys.create(session, "lost")
        keys.create(session, "")
    assert names(store) == []
    with store.write() as session:
        keys.create(session, "kept")
    assert names(store) == ["kept"]


def test_writers_wait_for_each_other(store: Store) -> None:
    def write(number: int) -> None:
        with store.write() as session:
            assert keys.count(session) >= 0
            keys.create(session, f"key {number}")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(names(store)) == 12


def test_a_lock_that_is_not_had_in_time_is_an_error(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triage.cases.store.BUSY_TIMEOUT_MS", 100)
    store = Store.open(database)
    with store.write() as session:
        keys.create(session, "first")
        with pytest.raises(StoreError), store.write():
            pass
    assert names(store) == ["first"]
    store.close()


def dawdle(store: Store) -> None:
    with store.write() as session:
        time.sleep(0.5)
        keys.count(session)


@pytest.mark.postgres
def test_postgres_waits_for_nobody_without_limit(postgres: str) -> None:
    store = Store.open(f"{postgres_server.new_database(postgres)}%20-cidle_in_transaction_session_timeout%3D100")
    with store.read() as session:
        assert session.scalar(text("SHOW lock_timeout")) == "5s"
        assert str(session.scalar(text("SHOW search_path"))).startswith("t")
    with pytest.raises(StoreError):
        dawdle(store)
    assert names(store) == []
    store.close()
    store = Store.open(postgres_server.new_database(postgres))
    with store.read() as session:
        assert session.scalar(text("SHOW idle_in_transaction_session_timeout")) == "1min"
    store.close()


def test_moments_come_back_in_utc(store: Store) -> None:
    moment = datetime(2026, 1, 2, 8, tzinfo=timezone(timedelta(hours=8)))
    with store.write() as session:
        session.add(ApiKey(name="a", prefix="p", digest="d", created=moment))
    with store.read() as session:
        (row,) = keys.listed(session)
    assert row.created == moment
    assert row.created.tzinfo is UTC


def test_a_moment_without_a_zone_is_refused(store: Store) -> None:
    with pytest.raises(StoreError), store.write() as session:
        session.add(ApiKey(name="a", prefix="p", digest="d", created=datetime(2026, 1, 1)))


@pytest.mark.parametrize(
    "url", ["", "nonsense", "mysql://a/b", "sqlite://", "sqlite:///:memory:", "sqlite:////proc/none/t.db"]
)
def test_what_cannot_be_opened(url: str) -> None:
    with pytest.raises(StoreError):
        Store.open(url)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    file = tmp_path / "t.db"
    file.write_bytes(b"no database at all, only text" * 100)
    with pytest.raises(StoreError) as error:
        Store.open(f"sqlite:///{file}")
    assert "t.db" in error.value.zh


def test_a_password_is_not_repeated() -> None:
    with pytest.raises(StoreError) as error:
        Store.open("postgresql://triage:hunter2@127.0.0.1:1/triage")
    assert "hunter2" not in f"{error.value}"


def test_a_key_is_kept_as_a_digest_only(store: Store) -> None:
    with store.write() as session:
        row, key = keys.create(session, "  丰城平台 ")
    assert (row.id, row.name, row.prefix, row.revoked) == (1, "丰城平台", key[:13], None)
    assert len(key) == len("triage_") + 43
    with store.read() as session:
        everything = str(session.execute(text("SELECT * FROM api_keys")).all())
    assert keys.digest(key) in everything
    assert key not in everything
    assert key[13:] not in everything


@pytest.mark.parametrize("name", ["", "  ", "x" * 65, "a\nb", "\x00"])
def test_strange_names_are_refused(store: Store, name: str) -> None:
    with pytest.raises(SettingsError), store.write() as session:
        keys.create(session, name)


def test_a_key_is_revoked_once(store: Store) -> None:
    with store.write() as session:
        row, _ = keys.create(session, "a")
        keys.create(session, "b")
    with store.write() as session:
        first = keys.revoke(session, row.prefix).revoked
    with store.write() as session:
        assert keys.revoke(session, "a").revoked == first
        with pytest.raises(SettingsError):
            keys.revoke(session, "c")
    with store.read() as session:
        assert [(row.name, row.revoked is not None) for row in keys.listed(session)] == [("a", True), ("b", False)]
        assert keys.count(session) == 2
