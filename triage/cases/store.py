"""The database: SQLite by default, PostgreSQL by a URL. Opened once, shared by all threads."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.orm import Session

from triage.errors import StoreError

MIGRATIONS = Path(__file__).parent / "migrations"
# How long a statement waits for a lock that somebody else has.
BUSY_TIMEOUT_MS = 5000
# PostgreSQL ends a transaction that does nothing for so long: a process that hangs must not stop all writers for good.
IDLE_TIMEOUT_MS = 60_000
# Any fixed number serves, as long as nothing else in the database locks it.
_WRITE_LOCK = 7_418_226_031


class Store:
    """An open database.

    Use ``Store.open``. ``read`` and ``write`` give sessions; a write commits at its end or not at all.

    There is one writer at a time, over all processes: SQLite has it so, and PostgreSQL is held to it by a lock. What a
    write has read is therefore still true when it writes, and the chain of events has one end.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @classmethod
    def open(cls, url: str) -> Store:
        """Connect and bring the tables to the current revision.

        Args:
            url: ``sqlite:///path/to/triage.db`` or ``postgresql://user:password@host/database``.

        Raises:
            StoreError: the URL is wrong, the driver is not installed, or the database cannot be reached or written.
        """
        parsed = _parse(url)
        try:
            engine = _sqlite(parsed) if parsed.get_backend_name() == "sqlite" else _postgres(parsed)
        except OSError as error:
            raise StoreError(
                f"数据库文件夹无法创建：{error.strerror}", f"cannot create the database folder: {error.strerror}"
            ) from error
        store = cls(engine)
        try:
            store.upgrade()
        except (SQLAlchemyError, OSError) as error:
            engine.dispose()
            shown = parsed.render_as_string(hide_password=True)
            raise StoreError(
                f"数据库 {shown} 无法打开（{type(error).__name__}），请检查路径、权限和服务",
                f"cannot open the database {shown} ({type(error).__name__}); check its path, rights and server",
            ) from error
        return store

    def upgrade(self) -> None:
        """Run the migrations that are missing; two processes may call it at once."""
        with self._begin(write=True) as connection:
            config = Config()
            config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
            config.set_main_option("path_separator", "os")
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that reads.

        Raises:
            StoreError: the database does not answer.
        """
        with self._session(write=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session that commits at its end; an exception rolls it back.

        Raises:
            StoreError: the database does not answer or stays locked.
        """
        with self._session(write=True) as session:
            yield session

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def _session(self, write: bool) -> Iterator[Session]:
        try:
            with (
                self._begin(write) as connection,
                Session(connection, expire_on_commit=False, join_transaction_mode="rollback_only") as session,
            ):
                yield session
                session.commit()
        except SQLAlchemyError as error:
            raise StoreError(
                f"数据库没有响应（{type(error).__name__}），请稍后重试",
                f"the database does not answer ({type(error).__name__}); try again later",
            ) from error

    @contextmanager
    def _begin(self, write: bool) -> Iterator[Connection]:
        with self._engine.connect() as connection:
            connection.execution_options(triage_write=write)
            with connection.begin():
                if write and connection.dialect.name == "postgresql":
                    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _WRITE_LOCK})
                yield connection


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise StoreError(
            "数据库地址无法识别，应为 sqlite:///文件 或 postgresql://用户:密码@主机/库",
            "cannot read the database URL; use sqlite:///file or postgresql://user:password@host/database",
        ) from error
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise StoreError(
            f"不支持的数据库 {parsed.get_backend_name()!r}，可用 sqlite 或 postgresql",
            f"database {parsed.get_backend_name()!r} is not supported; use sqlite or postgresql",
        )
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise StoreError(
            "SQLite 须为文件，如 sqlite:///var/triage.db", "SQLite needs a file, such as sqlite:///var/triage.db"
        )
    return parsed


def _sqlite(url: URL) -> Engine:
    file = Path(url.database or "")
    # Whoever can read the file can read every report: it is its owner's alone, and so is a folder made for it.
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    file.touch(mode=0o600, exist_ok=True)
    if not os.access(file, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver's own transactions begin too late for DDL and for reads; ``_begin_sqlite`` begins them instead.
    connection.isolation_level = None
    # FULL, because what was answered must be there after a power cut as well.
    for pragma in ("journal_mode=WAL", f"busy_timeout={BUSY_TIMEOUT_MS}", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that begins by reading cannot wait for the write lock later: SQLite fails it at once.
    write = connection.get_execution_options().get("triage_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _postgres(url: URL) -> Engine:
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    try:
        return create_engine(url, pool_pre_ping=True, connect_args={"options": _options(url)})
    except ModuleNotFoundError as error:
        raise StoreError(
            "连接 PostgreSQL 需要 psycopg，请运行 pip install 'tip-triage[postgres]'",
            "PostgreSQL needs psycopg; run pip install 'tip-triage[postgres]'",
        ) from error


def _options(url: URL) -> str:
    """Settings of each PostgreSQL session; what the URL itself brings comes last, and wins."""
    limits = {"lock_timeout": BUSY_TIMEOUT_MS, "idle_in_transaction_session_timeout": IDLE_TIMEOUT_MS}
    return " ".join(
        (*(f"-c {name}={value}" for name, value in limits.items()), *url.normalized_query.get("options", ()))
    )
