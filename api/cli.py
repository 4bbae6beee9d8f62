"""``triage serve`` and ``triage keys``: parse and print; plain functions do the work."""

from __future__ import annotations

import json
import math
import os
import shlex
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated, Final

import typer
import uvicorn
from prometheus_client import disable_created_metrics
from rich.console import Console
from rich.table import Table

from api.app import create_app
from api.commands import audit
from api.commands.database import DatabaseUrl, DataDir, opened_store, reported
from api.logs import configure_logs
from api.schemas import EXAMPLE_TEXT
from api.service import Service
from api.settings import Settings, load_settings
from triage.cases import keys
from triage.cases.store import Store
from triage.engine import Classifier
from triage.errors import SettingsError
from triage.model.artifact import resolve

FIRST_KEY: Final = "first"
FAILED: Final = 1
BACKLOG: Final = 2048
KEEP_ALIVE_S: Final = 65
# Threads that compute in Python give way to the event loop this often; five times as often as by default.
SWITCH_S: Final = 0.001

keys_app = typer.Typer(name="keys", help="API 密钥 / API keys", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add ``serve``, ``keys`` and ``audit`` to the command ``triage`` (entry-point group ``triage.commands``)."""
    app.command("serve")(serve)
    app.add_typer(keys_app, name="keys")
    app.add_typer(audit.audit_app, name="audit")


def serve(
    model: Annotated[Path | None, typer.Option(help="模型版本文件夹 / release folder [TRIAGE_MODEL]")] = None,
    host: Annotated[str | None, typer.Option(help="监听地址 / address [TRIAGE_HOST]")] = None,
    port: Annotated[int | None, typer.Option(help="监听端口 / port [TRIAGE_PORT]")] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    log_format: Annotated[str | None, typer.Option(help="json | console [TRIAGE_LOG_FORMAT]")] = None,
) -> None:
    """启动研判服务 / serve a release over HTTP.

    第一次启动时生成一个 API 密钥，只显示一次，并给出可直接粘贴的 curl 命令。
    On its first start it makes an API key, shows it once, and prints a curl line to paste.

    例 / examples:

        triage serve

        triage serve --host 0.0.0.0 --port 8080 --model models/2026.1

        TRIAGE_DATABASE_URL=postgresql://triage:***@db/triage triage serve

    每个设置都有 TRIAGE_* 环境变量，选项优先；完整的表见 python -m api.settings。写错的变量名会阻止启动。
    Every setting is a TRIAGE_* variable, options win; `python -m api.settings` lists them. Unknown ones stop the start.
    """
    with reported():
        arguments = {"model": model, "host": host, "port": port, "data_dir": data_dir, "database_url": database_url}
        settings = load_settings(os.environ, **arguments, log_format=log_format)
        code = run(settings, typer.echo)
    raise typer.Exit(code)


@keys_app.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="谁用它 / whose it is, 1–64 characters")],
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """生成密钥，只显示一次 / make a key; it is shown once."""
    with reported(), opened_store(data_dir, database_url) as store:
        with store.write() as session:
            _, key = keys.create(session, name)
        typer.echo(key)


@keys_app.command("list")
def list_keys(
    as_json: Annotated[bool, typer.Option("--json", help="给程序读 / for machines")] = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """列出密钥 / list the keys; the keys themselves are not kept."""
    with reported(), opened_store(data_dir, database_url) as store, store.read() as session:
        rows = [
            {
                "id": row.id,
                "name": row.name,
                "prefix": row.prefix,
                "created": row.created.isoformat(timespec="seconds"),
                "revoked": row.revoked.isoformat(timespec="seconds") if row.revoked else None,
            }
            for row in keys.listed(session)
        ]
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False))
        return
    table = Table("编号 / id", "名称 / name", "开头 / prefix", "生成 / created", "吊销 / revoked")
    for row in rows:
        table.add_row(*(str(value) if value is not None else "" for value in row.values()))
    Console().print(table)


@keys_app.command("revoke")
def revoke_key(
    name: Annotated[str, typer.Argument(help="名称或开头 / name or prefix")],
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """吊销密钥 / refuse a key from now on."""
    with reported(), opened_store(data_dir, database_url) as store:
        with store.write() as session:
            row = keys.revoke(session, name)
        typer.echo(f"已吊销 {row.name} / revoked {row.name}")


def run(settings: Settings, echo: Callable[[str], object], engine: Classifier | None = None) -> int:
    """Serve until a signal comes.

    Args:
        settings: how.
        echo: takes what the operator must read, the first key among it; not a log.
        engine: a double; None loads the release that the settings name.

    Returns:
        0 after a signal, 1 when the release could not be loaded.

    Raises:
        TriageError: the release is not there, the database cannot be opened, or the address is taken.
    """
    if engine is None:
        resolve(settings.model)
    configure_logs(settings.log_format, settings.log_level)
    # The workers are the parallelism; a pool of the tokenizer's own would fight them for the cores.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    sys.setswitchinterval(SWITCH_S)
    disable_created_metrics()  # type: ignore[no-untyped-call]
    store = Store.open(settings.database)
    listening = _listen(settings.host, settings.port)
    try:
        url = _url(settings.host, listening.getsockname()[1])
        for line in first_key(store, url):
            echo(line)
        return _serve(settings, store, listening, engine)
    finally:
        listening.close()
        store.close()


def first_key(store: Store, url: str) -> Sequence[str]:
    """Make a key when there never was one; the lines to show, none otherwise."""
    with store.write() as session:
        if keys.count(session):
            return ()
        _, key = keys.create(session, FIRST_KEY)
    return (
        "已生成第一个 API 密钥，只显示这一次，请妥善保存 / the first API key, shown only once:",
        f"    {key}",
        "试一试 / try it:",
        f"    {curl_line(url, key)}",
    )


def curl_line(url: str, key: str) -> str:
    """A shell command that sends one example."""
    body = json.dumps({"inputs": [EXAMPLE_TEXT]}, ensure_ascii=False)
    headers = (f"Authorization: Bearer {key}", "Content-Type: application/json")
    words = ["curl", "-sS", f"{url}/v1/classify", *(word for header in headers for word in ("-H", header)), "-d", body]
    return shlex.join(words)


class _Server(uvicorn.Server):
    """Uvicorn's server, whose signal handler first tells the service to refuse new work."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._service.begin_drain()
        super().handle_exit(sig, frame)


def _serve(settings: Settings, store: Store, listening: socket.socket, engine: Classifier | None) -> int:
    app = create_app(settings, engine, store)
    service: Service = app.state.service
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=math.ceil(settings.drain_s),
    )
    server = _Server(config, service)
    service.on_failure = lambda: setattr(server, "should_exit", True)
    server.run(sockets=[listening])
    return FAILED if service.failure else 0


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise SettingsError(
            f"无法监听 {host}:{port}（{reason}），请换用 --port 或停止占用它的程序",
            f"cannot listen on {host}:{port} ({reason}); choose another --port or stop what uses it",
        ) from error


def _url(host: str, port: int) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def main() -> None:
    """The commands of this part alone."""
    app = typer.Typer(no_args_is_help=True)
    register(app)
    app()


if __name__ == "__main__":
    main()
