"""`triage …`: what it prints, where, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import triage
from triage import cli, golden
from triage.bulk import Summary
from triage.cli import classify as classify_command
from triage.cli.show import ENTITIES, REASONS, decision_panel, shown
from triage.engine import Triage
from triage.errors import StoreError
from triage.model.artifact import Calibration, Manifest, Routing, seal
from triage.testing import KeywordEngine

FRAUD, FIRE, PLAIN = "让我转到安全账户13800138000", "消防通道着火", "今天天气好"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> KeywordEngine:
    """What every command loads."""
    double = KeywordEngine()
    monkeypatch.setattr(Triage, "load", lambda *args, **rest: double)
    monkeypatch.setenv("COLUMNS", "120")
    return double


def triage_(*arguments: str | Path, stdin: str | bytes | None = None) -> Any:
    return CliRunner().invoke(cli.app, [str(item) for item in arguments], input=stdin)


def test_version() -> None:
    result = triage_("--version")
    assert (result.exit_code, result.stdout) == (0, f"tip-triage {triage.__version__}\n")


def test_help_teaches() -> None:
    result = triage_("--help")
    assert result.exit_code == 0
    assert "triage classify --input 线索.xlsx --output 结果.xlsx" in result.stdout
    assert "triage check models/current" in result.stdout
    assert "--text-column" in triage_("classify", "--help").stdout


@pytest.mark.usefixtures("engine")
def test_a_decision_is_shown_in_chinese() -> None:
    result = triage_("classify", FRAUD, FIRE)
    assert result.exit_code == 0
    for part in (
        "涉嫌电信网络诈骗 telecom_fraud · 99.0%",
        FRAUD,
        "自动派发",
        "反诈中心",
        "安全账户 100%",
        "手机号 13800138000",
        "火灾隐患 fire_hazard · 99.0%",
        "紧急（keyword）",
    ):
        assert part in result.stdout
    assert result.stderr == ""


@pytest.mark.usefixtures("engine")
def test_reasons_are_said_in_words() -> None:
    assert "人工复核：把握不足、两类难分" in triage_("classify", "安全账户着火了").stdout
    assert "人工复核：没有内容" in triage_("classify", " ").stdout


@pytest.mark.usefixtures("engine")
def test_json_is_one_object_a_line() -> None:
    result = triage_("classify", "--json", FRAUD, FIRE)
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["label"] for row in rows] == ["telecom_fraud", "fire_hazard"]
    assert rows[0]["evidence"] == [{"start": 4, "end": 8, "weight": 1.0, "text": "安全账户"}]
    assert list(rows[0]) == list(KeywordEngine().classify([FRAUD])[0].to_json())


@pytest.mark.usefixtures("engine")
def test_stdin_is_read_line_by_line() -> None:
    data = f"{FRAUD}\r\n\n".encode() + b"\xff\n" + FIRE.encode() + b"\n" + b"a" * 20_001
    result = triage_("classify", "-", "--json", stdin=data)
    assert result.exit_code == 3
    assert [json.loads(line)["label"] for line in result.stdout.splitlines()] == ["telecom_fraud", "fire_hazard"]
    lines = result.stderr.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("第 2 条：含有无法按 Unicode 解码的字符")
    assert lines[1].startswith("第 4 条：正文 20001 字，上限 20000 字")


def test_terminals_are_not_steered(engine: KeywordEngine) -> None:
    text = "\x1b[31m[bold]安全账户\u202e"
    result = triage_("classify", text)
    assert "\x1b" not in result.stdout
    assert "\u202e" not in result.stdout
    assert "\ufffd[31m[bold]安全账户\ufffd" in result.stdout
    assert len(shown(text)) == len(text)
    assert decision_panel(text, engine.classify([text])[0], engine.taxonomy)


@pytest.mark.usefixtures("engine")
def test_a_file_is_classified(tmp_path: Path) -> None:
    source, target = tmp_path / "in.csv", tmp_path / "out.jsonl"
    source.write_text(f"编号,内容\n1,{FRAUD}\n2,{FIRE}\n", encoding="utf-8")
    result = triage_("classify", "--input", source, "--output", target)
    assert result.exit_code == 0
    assert "读入 read" in result.stdout
    assert "涉嫌电信网络诈骗" in result.stdout
    assert "条/秒" in result.stderr
    rows = [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
    assert [(row["id"], row["label"]) for row in rows] == [("1", "telecom_fraud"), ("2", "fire_hazard")]


@pytest.mark.usefixtures("engine")
def test_rows_kept_aside_end_with_three(tmp_path: Path) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.csv"
    source.write_text('{"正文": "消防通道"}\n{\n', encoding="utf-8")
    result = triage_("classify", "-i", source, "-o", target, "--json")
    assert result.exit_code == 3
    summary = json.loads(result.stdout)
    assert (summary["read"], summary["written"], summary["kept_aside"]) == (2, 1, 1)
    assert summary["by_label"] == {"fire_hazard": 1}
    assert summary["errors"] == f"{target}.errors.jsonl"
    again = triage_("classify", "-i", source, "-o", target)
    assert again.exit_code == 2
    assert again.stderr.endswith("rename it or pass --overwrite [bad_input]\n")
    assert triage_("classify", "-i", source, "-o", target, "--overwrite").exit_code == 3


@pytest.mark.usefixtures("engine")
def test_columns_are_passed_on(tmp_path: Path) -> None:
    source, target = tmp_path / "in.csv", tmp_path / "out.jsonl"
    source.write_text("a,b\nx,打架\n", encoding="utf-8")
    result = triage_("classify", "-i", source, "-o", target, "--text-column", "b", "--id-column", "a")
    assert result.exit_code == 0
    assert json.loads(target.read_text(encoding="utf-8"))["id"] == "x"


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("arguments", [(), ("--input", "a.csv"), ("--output", "a.csv"), ("x", "-i", "a", "-o", "b")])
def test_half_a_command_is_told_what_lacks(arguments: tuple[str, ...]) -> None:
    result = triage_("classify", *arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("错误：请给出正文")
    assert len(result.stderr.splitlines()) == 1


def test_a_missing_release_is_one_line_without_a_traceback(tmp_path: Path) -> None:
    result = triage_("classify", "x", "--model", tmp_path)
    assert result.exit_code == 2
    assert result.stderr == (
        f"错误：{tmp_path} 不是模型版本文件夹（没有 manifest.json） / error: {tmp_path} is not a release folder "
        "(it has no manifest.json) [release_not_found]\n"
    )


@pytest.mark.usefixtures("engine")
def test_what_the_system_refuses_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **rest: object) -> Summary:
        raise OSError(28, "No space left on device", "out.jsonl.part")

    monkeypatch.setattr(classify_command, "classify_file", full)
    result = triage_("classify", "-i", tmp_path / "a.csv", "-o", tmp_path / "b.csv")
    assert result.exit_code == 2
    assert "No space left on device" in result.stderr.splitlines()[-1]


@pytest.mark.usefixtures("engine")
def test_ctrl_c_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: object, **rest: object) -> Summary:
        raise KeyboardInterrupt

    monkeypatch.setattr(classify_command, "classify_file", interrupted)
    result = triage_("classify", "-i", tmp_path / "a.csv", "-o", tmp_path / "b.csv")
    assert result.exit_code == 130
    assert "再次运行同一命令即可续做" in result.stderr


SCRIPT = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that starts tests in the background ignores it
from triage.engine import Triage
from triage.testing import KeywordEngine
Triage.load = lambda *args, **rest: KeywordEngine(seconds_per_token=0.0005)
from triage.cli import main
main()
"""


def test_a_real_ctrl_c_and_going_on(tmp_path: Path) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(json.dumps({"text": FIRE}) + "\n" for _ in range(1500)), encoding="utf-8")
    command = [sys.executable, "-c", SCRIPT, "classify", "-i", str(source), "-o", str(target)]
    notes = tmp_path / "out.jsonl.journal.part"
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        until = time.monotonic() + 60
        while not notes.exists() or notes.read_bytes().count(b"\n") < 2:
            assert time.monotonic() < until
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "run the same command to go on" in said
    assert "Traceback" not in said
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert "续做 resumed at" in done.stdout
    rows = [json.loads(line)["id"] for line in target.read_text(encoding="utf-8").splitlines()]
    assert rows == [str(n) for n in range(1, 1501)]


@pytest.fixture
def release(tmp_path: Path, engine: KeywordEngine) -> Path:
    """A folder whose files are whole and whose golden outputs are the double's."""
    folder = tmp_path / "keyword-1"
    folder.mkdir()
    rows = golden.record(engine, [FRAUD, FIRE, PLAIN])
    (folder / "golden.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    seal(folder, Manifest("keyword-1", "encoder", Calibration(), Routing({})))
    return folder


def test_check_finds_all_well(release: Path) -> None:
    result = triage_("check", release)
    assert result.exit_code == 0
    assert "一致 ok" in result.stdout
    data = json.loads(triage_("check", release, "--json").stdout)
    assert (data["rows"], data["firm"], data["labels"], data["drifted"], data["files"]) == (3, 3, [], False, 1)


def test_check_ends_with_one_on_drift(release: Path) -> None:
    text = (release / "golden.jsonl").read_text(encoding="utf-8").replace('"label": "other"', '"label": "traffic"')
    (release / "golden.jsonl").write_text(text, encoding="utf-8")
    seal(release, Manifest("keyword-1", "encoder", Calibration(), Routing({})))
    result = triage_("check", release)
    assert result.exit_code == 1
    assert "不一致 DRIFT" in result.stdout
    assert "1（第 3 行 rows）" in result.stdout
    assert PLAIN not in result.output
    machine = triage_("check", release, "--json")
    assert (machine.exit_code, json.loads(machine.stdout)["labels"]) == (1, [3])


def test_check_ends_with_two_on_a_damaged_folder(release: Path) -> None:
    (release / "golden.jsonl").write_text("{}", encoding="utf-8")
    result = triage_("check", release)
    assert result.exit_code == 2
    assert "校验和不符" in result.stderr


def test_a_release_without_golden_outputs_cannot_be_checked(release: Path) -> None:
    (release / "golden.jsonl").unlink()
    seal(release, Manifest("keyword-1", "encoder", Calibration(), Routing({})))
    assert triage_("check", release).exit_code == 2


def broken(app: typer.Typer) -> None:
    app.command("half")(lambda: None)
    raise ImportError("no torch")


def good(app: typer.Typer) -> None:
    @app.command("hello")
    def hello() -> None:
        typer.echo("你好")

    @app.command("fail")
    def fail() -> None:
        raise StoreError("库坏了", "the store is broken")


def plugin(name: str, value: str) -> EntryPoint:
    return EntryPoint(name, f"{__name__}:{value}", cli.GROUP)


def test_plugins_add_commands_and_broken_ones_only_warn(capsys: pytest.CaptureFixture[str]) -> None:
    app = typer.Typer(cls=cli.Commands)
    app.command()(classify_command.classify)
    cli.load_commands(app, (plugin("b_good", "good"), plugin("a_broken", "broken"), plugin("c_gone", "nothing")))
    warned = capsys.readouterr().err.splitlines()
    assert len(warned) == 2
    assert warned[0].startswith("警告：扩展命令 a_broken 未能载入（ImportError: no torch）")
    assert warned[1].startswith("警告：扩展命令 c_gone 未能载入（AttributeError")
    assert CliRunner().invoke(app, ["hello"]).stdout == "你好\n"
    failed = CliRunner().invoke(app, ["fail"])
    assert (failed.exit_code, failed.stderr) == (
        2,
        "错误：库坏了 / error: the store is broken [store_unavailable]\n",
    )
    assert CliRunner().invoke(app, ["half"]).exit_code == 2
    assert "half" not in CliRunner().invoke(app, ["--help"]).stdout


def test_every_kind_of_the_lexicon_has_a_name() -> None:
    import tomllib

    rules = tomllib.loads((ROOT / "data" / "lexicon" / "entities.toml").read_text(encoding="utf-8"))["entity"]
    assert {rule["kind"] for rule in rules} <= ENTITIES.keys()


def test_every_floor_reason_has_a_name(engine: KeywordEngine) -> None:
    assert {label.floor_reason for label in engine.taxonomy.labels} - {""} <= REASONS.keys()
