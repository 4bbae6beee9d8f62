"""What the commands that work on the database share: its options, how it is opened, how errors are told."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer

from api.settings import load_settings
from triage.cases.store import Store
from triage.errors import TriageError

REFUSED: Final = 2

DataDir = Annotated[Path | None, typer.Option(help="运行数据文件夹 / run-time data folder [TRIAGE_DATA_DIR]")]
DatabaseUrl = Annotated[str | None, typer.Option(help="数据库地址 / database URL [TRIAGE_DATABASE_URL]")]


@contextmanager
def opened_store(data_dir: Path | None, database_url: str | None) -> Iterator[Store]:
    """The database that options and variables name."""
    store = Store.open(load_settings(os.environ, data_dir=data_dir, database_url=database_url).database)
    try:
        yield store
    finally:
        store.close()


@contextmanager
def reported() -> Iterator[None]:
    """Tells an error in two lines on stderr; exit code 2."""
    try:
        yield
    except TriageError as error:
        typer.echo(f"错误：{error.zh}\nerror: {error.en}", err=True)
        raise typer.Exit(REFUSED) from error
