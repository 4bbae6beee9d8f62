"""The command line and the real server: a process of its own, a socket, signals."""

from __future__ import annotations

import http.client
import json
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
import typer
from typer.testing import CliRunner

from api import cli
from triage.cases import audit, keys
from triage.cases.store import Store

ROOT = Path(__file__).parents[2]
SERVER = """
import sys
from api.cli import run
from api.settings import load_settings
from triage.testing import KeywordEngine
settings = load_settings({}, port=0, data_dir=sys.argv[1])
sys.exit(run(settings, lambda line: print(line, flush=True), KeywordEngine(seconds_per_token=0.002)))
"""


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CliRunner:
    monkeypatch.setenv("TRIAGE_DATA_DIR", str(tmp_path))
    return CliRunner()


@pytest.fixture
def commands() -> typer.Typer:
    app = typer.Typer()
    cli.register(app)
    return app


@pytest.fixture
def server(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", SERVER, str(tmp_path)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    yield process
    process.kill()
    process.wait()
    assert process.stdout
    process.stdout.close()


def line(pipe: IO[str] | None) -> str:
    assert pipe
    return pipe.readline().strip()


def test_the_first_start_shows_a_key_and_a_signal_lets_accepted_work_end(
    server: subprocess.Popen[str], tmp_path: Path
) -> None:
    assert "只显示这一次" in line(server.stdout)
    key = line(server.stdout)
    assert re.fullmatch(r"triage_[A-Za-z0-9_-]{43}", key)
    line(server.stdout)
    words = shlex.split(line(server.stdout))
    assert words[0] == "curl"
    port = int(re.search(r":(\d+)/v1/classify", words[2]).group(1))
    headers = dict(word.split(": ") for word in (words[4], words[6]))
    assert headers["Authorization"] == f"Bearer {key}"
    wait_ready(port)
    assert ask(port, headers, words[-1].encode()) == (200, "telecom_fraud")

    slow = json.dumps({"inputs": ["着火" + "啊" * 200]}).encode()
    found: list[object] = []
    clients = [threading.Thread(target=lambda: found.append(ask(port, headers, slow))) for _ in range(4)]
    for client in clients:
        client.start()
    time.sleep(0.3)
    server.send_signal(signal.SIGTERM)
    for client in clients:
        client.join()
    assert server.wait(15) == -signal.SIGTERM
    assert found == [(200, "fire_hazard")] * 4
    log = (tmp_path / "log").read_text()
    assert key not in log
    assert '"event": "stopped"' in log
    assert all(isinstance(json.loads(row), dict) for row in log.splitlines())


def wait_ready(port: int) -> None:
    for _ in range(300):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/health/ready")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.02)
    raise AssertionError("the server does not become ready")


def ask(port: int, headers: dict[str, str], body: bytes) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("POST", "/v1/classify", body, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())["decisions"][0]["label"]
    finally:
        connection.close()


def test_the_first_key_is_made_once(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 't.db'}")
    shown = cli.first_key(store, "http://127.0.0.1:8000")
    assert len(shown) == 4
    assert cli.first_key(store, "http://127.0.0.1:8000") == ()
    with store.read() as session:
        assert [row.digest for row in keys.listed(session)] == [keys.digest(shown[1].strip())]
    store.close()


def test_a_curl_line_survives_the_shell() -> None:
    words = shlex.split(cli.curl_line("http://[::1]:80", "a'b\"c$d"))
    assert words[words.index("-H") + 1] == "Authorization: Bearer a'b\"c$d"
    assert json.loads(words[-1]) == {"inputs": ["有人冒充公检法打电话，让我把钱转到安全账户"]}


@pytest.mark.parametrize(
    ("host", "url"),
    [("0.0.0.0", "http://127.0.0.1:1"), ("::", "http://[::1]:1"), ("triage.lan", "http://triage.lan:1")],
)
def test_the_address_to_try(host: str, url: str) -> None:
    assert cli._url(host, 1) == url


def test_keys_are_made_listed_and_revoked(runner: CliRunner, commands: typer.Typer) -> None:
    made = runner.invoke(commands, ["keys", "create", "丰城平台"])
    assert re.fullmatch(r"triage_[A-Za-z0-9_-]{43}\n", made.output)
    again = runner.invoke(commands, ["keys", "create", "丰城平台"])
    assert again.exit_code == 2
    assert "已被使用" in again.output
    assert runner.invoke(commands, ["keys", "revoke", "丰城平台"]).output == "已吊销 丰城平台 / revoked 丰城平台\n"
    (row,) = json.loads(runner.invoke(commands, ["keys", "list", "--json"]).output)
    assert (row["name"], row["prefix"], bool(row["revoked"])) == ("丰城平台", made.output[:13], True)
    assert "丰城平台" in runner.invoke(commands, ["keys", "list"]).output
    missing = runner.invoke(commands, ["keys", "revoke", "nobody"])
    assert (missing.exit_code, "triage keys list" in missing.output) == (2, True)


def test_serve_stops_before_it_starts(
    runner: CliRunner, commands: typer.Typer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gone = runner.invoke(commands, ["serve", "--model", str(tmp_path / "none")])
    assert gone.exit_code == 2
    assert "不是模型版本文件夹" in gone.output
    assert not (tmp_path / "triage.db").exists()
    monkeypatch.setenv("TRIAGE_PROT", "1")
    wrong = runner.invoke(commands, ["serve"])
    assert (wrong.exit_code, "是否想写 TRIAGE_PORT" in wrong.output) == (2, True)


def test_help_teaches(runner: CliRunner, commands: typer.Typer) -> None:
    shown = runner.invoke(commands, ["serve", "--help"], env={"COLUMNS": "160"}).output
    for part in ("triage serve --host", "TRIAGE_DATABASE_URL", "python -m api.settings", "启动研判服务"):
        assert part in shown
    for option in cli.serve.__annotations__:
        if option != "return":
            assert "--" + option.replace("_", "-") in shown


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    taken = cli._listen("127.0.0.1", 0)
    try:
        with pytest.raises(cli.SettingsError) as error:
            cli._listen("127.0.0.1", taken.getsockname()[1])
        assert "--port" in error.value.zh
    finally:
        taken.close()
    with pytest.raises(cli.SettingsError):
        cli._listen("no such host", 1)


def test_the_audit_chain_is_verified_from_the_shell(runner: CliRunner, commands: typer.Typer, tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 'triage.db'}")
    with store.write() as session:
        for number in range(3):
            audit.append(session, "tested", "system", None, {"n": number})
    store.close()
    shown = runner.invoke(commands, ["audit", "verify"])
    assert (shown.exit_code, "审计链完整，共 3 条" in shown.output) == (0, True)
    found = json.loads(runner.invoke(commands, ["audit", "verify", "--json"]).output)
    assert found["events"] == 3
    assert runner.invoke(commands, ["audit", "verify", "--noted", found["head"]]).exit_code == 0
    beyond = runner.invoke(commands, ["audit", "verify", "--noted", f"4:{'0' * 64}"])
    assert (beyond.exit_code, "第 4 条" in beyond.output) == (2, True)
    assert "triage audit verify" in runner.invoke(commands, ["audit", "verify", "--noted", "x"]).output
    with sqlite3.connect(tmp_path / "triage.db") as connection:
        connection.execute("DROP TRIGGER events_no_update")
        connection.execute("UPDATE events SET data = replace(data, '1', '7')")
    connection.close()
    broken = runner.invoke(commands, ["audit", "verify"])
    assert (broken.exit_code, "第 2 条" in broken.output) == (2, True)
