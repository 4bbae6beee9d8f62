"""``triage audit``: is the history what it was?"""

from __future__ import annotations

import json
import re
from typing import Annotated

import typer

from api.commands.database import DatabaseUrl, DataDir, opened_store, reported
from triage.cases import audit
from triage.cases.audit import Head
from triage.errors import SettingsError

audit_app = typer.Typer(name="audit", help="审计链 / the audit chain", no_args_is_help=True)


@audit_app.callback()
def group() -> None:
    """审计链 / the audit chain."""  # without a callback Typer would make the only command the whole group


@audit_app.command("verify")
def verify(
    noted: Annotated[
        str | None, typer.Option("--noted", help="以前记下的链尾，如 42:9f…，须仍在链中 / a head noted earlier")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="给程序读 / for machines")] = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """核对审计链 / recompute the audit chain; exit code 2 where it is broken.

    例 / example: triage audit verify --noted 42:9f86d081…

    把打印的链尾记在数据库之外，下次用 --noted 核对：整链重算或截尾也能发现。
    Note the printed head outside the database; with --noted, a chain made anew or cut short is found out as well.
    """
    with reported(), opened_store(data_dir, database_url) as store, store.read() as session:
        head = audit.verify(session, _head(noted) if noted else None)
    if as_json:
        typer.echo(json.dumps({"events": head.number, "head": f"{head.number}:{head.hash}"}))
    else:
        typer.echo(f"审计链完整，共 {head.number} 条 / the chain is whole: {head.number} events")
        typer.echo(f"链尾 / head: {head.number}:{head.hash}")


def _head(noted: str) -> Head:
    match = re.fullmatch("([0-9]{1,18}):([0-9a-f]{64})", noted)
    if match is None:
        raise SettingsError(
            "--noted 应为 条数:64 位十六进制，即 triage audit verify 打印的链尾",
            "--noted takes NUMBER:64 hex digits, the head that `triage audit verify` printed",
        )
    return Head(int(match[1]), match[2])
