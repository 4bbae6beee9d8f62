"""Starts a PostgreSQL server for the tests: its own folder, a Unix socket, no port, no trust in what else runs here."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import create_engine, text

# Debian keeps the server's binaries off the PATH.
HOMES: Final = "/usr/lib/postgresql/*/bin"
# The tests kill the service, never the server: its files need not survive anything.
OPTIONS: Final = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "listen_addresses=")
USER: Final = "triage"


@contextmanager
def running() -> Iterator[str]:
    """A server; gives its URL. Where there are no binaries, the test that asks is skipped."""
    initdb, pg_ctl = _binary("initdb"), _binary("pg_ctl")
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install -c constraints.txt -e '.[postgres]'")
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # short: a socket's path has 107 bytes
    identity = _identity()
    if identity:
        os.chown(folder, identity["user"], identity["group"])
    cluster = str(folder / "data")
    options = " ".join(f"-c {option}" for option in (*OPTIONS, f"unix_socket_directories={folder}"))
    try:
        _run(identity, initdb, "-D", cluster, "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        _run(identity, pg_ctl, "-D", cluster, "-w", "-l", str(folder / "log"), "-o", options, "start")
        try:
            yield f"postgresql+psycopg://{USER}@/postgres?host={folder}"
        finally:
            _run(identity, pg_ctl, "-D", cluster, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def new_database(url: str) -> str:
    """URL of an empty schema: an empty database to whoever connects by it, made in a hundredth of the time."""
    name = f"t{uuid.uuid4().hex}"
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE SCHEMA {name}"))
    engine.dispose()
    return f"{url}&options=-csearch_path%3D{name}"


def _binary(name: str) -> str:
    homes = os.pathsep.join(map(str, sorted(Path("/").glob(HOMES[1:]), reverse=True)))
    found = shutil.which(name) or shutil.which(name, path=homes)
    if found is None:
        pytest.skip(f"no PostgreSQL server here: {name} is neither on the PATH nor in {HOMES}")
    return found


def _identity() -> dict[str, Any]:
    """The server refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = names.get("postgres") or names["nobody"]
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _run(identity: dict[str, Any], *command: str) -> None:
    subprocess.run(command, check=True, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **identity)
