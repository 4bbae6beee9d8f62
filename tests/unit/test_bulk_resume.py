"""A run that is killed goes on without a doubled or a lost row, wherever it was killed."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from triage.bulk import Summary, classify_file, journal, run
from triage.errors import FileUnreadable, InputError
from triage.testing import KeywordEngine, keyword_manifest

ROWS = 60
FORMATS = ("jsonl", "csv", "xlsx")
TEXTS = ("消防通道被堵", "让我转到安全账户", "有人打架", "今天天气好")


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed process loses nothing that it wrote; only a machine without power does."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


def make_input(folder: Path) -> Path:
    """Sixty rows, every seventh of which cannot be read."""
    lines = ["{" if n % 7 == 3 else json.dumps({"id": f"r{n}", "text": TEXTS[n % len(TEXTS)]}) for n in range(ROWS)]
    source = folder / "in.jsonl"
    source.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return source


def go(source: Path, target: Path, **rest: Any) -> Summary:
    return classify_file(KeywordEngine(), source, target, chunk=8, **rest)


def content(target: Path) -> tuple[Any, bytes]:
    errors = target.with_name(target.name + ".errors.jsonl").read_bytes()
    if target.suffix != ".xlsx":
        return target.read_bytes(), errors
    book = openpyxl.load_workbook(target)
    rows = [tuple(row) for row in book.active.values]
    book.close()
    return rows, errors


class Killer:
    """Kills this process at the n-th call that changes the disk: before it, or in the middle of a write."""

    def __init__(self, point: int, torn: bool) -> None:
        self.left = point
        self.torn = torn

    def _due(self) -> bool:
        self.left -= 1
        return self.left < 0

    def before(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **rest: Any) -> Any:
            if not self.torn and self._due():
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **rest)

        return wrapped

    def append(self, file: io.BufferedWriter, data: bytes) -> None:
        if self.torn and self._due():
            file.write(data[: len(data) * 2 // 3])
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def killed(source: Path, target: Path, point: int, torn: bool = False) -> bool:
    """Run in a child process that is killed at a point; False when it finished before."""
    child = os.fork()
    if child == 0:
        killer = Killer(point, torn)
        journal.append = run.append = killer.append  # type: ignore[assignment]
        for name in ("fsync", "replace", "unlink"):
            setattr(os, name, killer.before(getattr(os, name)))
        try:
            go(source, target)
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        assert os.WEXITSTATUS(status) == 0
        return False
    assert os.WTERMSIG(status) == signal.SIGKILL
    return True


@pytest.mark.parametrize("torn", [False, True])
@pytest.mark.parametrize("suffix", FORMATS)
def test_killed_at_every_point_and_started_again(tmp_path: Path, suffix: str, torn: bool) -> None:
    source = make_input(tmp_path)
    expected_summary = go(source, tmp_path / f"expected.{suffix}")
    expected = content(tmp_path / f"expected.{suffix}")
    assert (expected_summary.written, expected_summary.kept_aside) == (51, 9)
    point = 0
    while True:
        folder = tmp_path / str(point)
        folder.mkdir()
        target = folder / f"out.{suffix}"
        if not killed(source, target, point, torn):
            break
        # A kill after the last name was given leaves nothing to go on with but the target itself.
        finished = target.exists() and not any(folder.glob("*.journal.part"))
        summary = expected_summary if finished else go(source, target)
        assert content(target) == expected, point
        assert (summary.read, summary.by_label) == (ROWS, expected_summary.by_label)
        assert not list(folder.glob("*.part"))
        point += 1
    assert point >= 20


@pytest.mark.parametrize("suffix", FORMATS)
def test_killed_again_and_again(tmp_path: Path, suffix: str) -> None:
    source = make_input(tmp_path)
    go(source, tmp_path / f"expected.{suffix}")
    target = tmp_path / f"out.{suffix}"
    starts = 0
    while killed(source, target, 4 + starts % 3, torn=starts % 2 == 1) and starts < 100:
        starts += 1
    assert 5 <= starts < 100
    assert content(target) == content(tmp_path / f"expected.{suffix}")


SCRIPT = """
import sys
from triage.bulk import classify_file
from triage.testing import KeywordEngine
classify_file(KeywordEngine(seconds_per_token=0.0002), sys.argv[1], sys.argv[2], chunk=3)
"""


@pytest.mark.parametrize(("suffix", "chunks"), [("jsonl", 1), ("jsonl", 9), ("csv", 4), ("csv", 14), ("xlsx", 7)])
def test_kill_9_from_outside(tmp_path: Path, suffix: str, chunks: int) -> None:
    source = make_input(tmp_path)
    go(source, tmp_path / f"expected.{suffix}")
    target = tmp_path / f"out.{suffix}"
    command = [sys.executable, "-c", SCRIPT, str(source), str(target)]
    notes = tmp_path / f"out.{suffix}.journal.part"
    with subprocess.Popen(command) as process:
        until = time.monotonic() + 60
        while not notes.exists() or notes.read_bytes().count(b"\n") <= chunks:
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.001)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert not target.exists()
    summary = go(source, target)
    assert 3 * chunks <= summary.resumed_at < ROWS
    assert content(target) == content(tmp_path / f"expected.{suffix}")


@pytest.fixture
def stopped(tmp_path: Path) -> tuple[Path, Path]:
    """An input and the target of a run that was killed after some chunks."""
    source, target = make_input(tmp_path), tmp_path / "out.jsonl"
    assert killed(source, target, 12)
    return source, target


def test_another_input_model_or_options_are_refused(stopped: tuple[Path, Path]) -> None:
    source, target = stopped
    advice = "请删除 .part 文件，或加 --restart"
    with pytest.raises(InputError, match=f"模型不同.*{advice}"):
        classify_file(KeywordEngine(manifest=keyword_manifest(max_windows=2)), source, target)
    with pytest.raises(InputError, match=f"选项不同.*{advice}"):
        go(source, target, options=run.Options(max_chars=5))
    source.write_text(source.read_text(encoding="utf-8").replace("r58", "r61"), encoding="utf-8")
    with pytest.raises(InputError, match=f"输入文件不同.*{advice}"):
        go(source, target)
    summary = go(source, target, restart=True)
    assert (summary.resumed_at, summary.written) == (0, 51)


def test_neither_the_name_nor_the_date_of_the_input_matters(stopped: tuple[Path, Path]) -> None:
    source, target = stopped
    moved = source.rename(source.with_name("moved.jsonl"))
    os.utime(moved, (0, 0))
    assert go(moved, target).resumed_at > 0


def test_part_files_that_cannot_be_continued_are_left_alone(stopped: tuple[Path, Path]) -> None:
    source, target = stopped
    part = target.with_name("out.jsonl.part")
    whole = part.read_bytes()
    part.write_bytes(whole[:10])
    with pytest.raises(InputError, match="只有 10 字节"):
        go(source, target)
    target.with_name("out.jsonl.journal.part").unlink()
    part.write_bytes(b"mine")
    with pytest.raises(InputError, match="没有可用的进度记录"):
        go(source, target)
    assert part.read_bytes() == b"mine"


def test_a_finished_output_is_replaced_only_when_asked(tmp_path: Path) -> None:
    source, target = make_input(tmp_path), tmp_path / "out.csv"
    go(source, target)
    before = content(target)
    with pytest.raises(InputError, match="已存在，请改名或加 --overwrite"):
        go(source, target)
    assert not list(tmp_path.glob("*.part"))
    source.write_text('{"text": "消防通道"}\n', encoding="utf-8")
    assert go(source, target, overwrite=True).errors is None
    assert target.read_bytes() != before[0]
    assert not target.with_name("out.csv.errors.jsonl").exists()


def test_an_output_that_came_in_between_is_not_replaced(stopped: tuple[Path, Path]) -> None:
    source, target = stopped
    target.write_text("mine")
    with pytest.raises(InputError, match="已存在"):
        go(source, target)
    assert target.read_text() == "mine"
    assert go(source, target, overwrite=True).resumed_at > 0


def test_two_runs_do_not_write_the_same_output(tmp_path: Path) -> None:
    source, target = make_input(tmp_path), tmp_path / "out.jsonl"
    caught: list[InputError] = []

    def meanwhile(_: run.Progress) -> None:
        with pytest.raises(InputError, match="另一个进程正在写 out.jsonl") as found:
            go(source, target)
        caught.append(found.value)

    assert go(source, target, progress=meanwhile).written == 51
    assert len(caught) == 8


def test_an_input_that_changes_meanwhile_is_told(tmp_path: Path) -> None:
    source, target = make_input(tmp_path), tmp_path / "out.jsonl"

    def meanwhile(_: run.Progress) -> None:
        with source.open("a") as file:
            file.write("{}\n")

    with pytest.raises(FileUnreadable, match="在处理中被改动"):
        go(source, target, progress=meanwhile)
    assert not target.exists()


def test_ctrl_c_keeps_what_is_done(tmp_path: Path) -> None:
    source, target = make_input(tmp_path), tmp_path / "out.jsonl"

    def interrupt(step: run.Progress) -> None:
        if step.read >= 24:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(source, target, progress=interrupt)
    assert go(source, target).resumed_at == 24
