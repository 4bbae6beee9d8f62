"""The pointer and what is written down beside it: whole or not at all, added and never changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from triage.errors import ReleaseCorrupt, ReleaseRefused
from triage.model import history
from triage.model.history import Event, GateRecord, RuleResult

RECORD = GateRecord(
    when="2026-11-28T00:00:00+00:00",
    candidate="b",
    manifest="1" * 64,
    against="a",
    against_manifest="2" * 64,
    policy="3" * 64,
    files={"test.jsonl": "4" * 64},
    rules=(RuleResult("macro_f1 (test)", 0.9, "≥ 0.8", True), RuleResult("speed_ratio", None, "≥ 0.9", False)),
    passed=False,
)


def promoted(before: str, after: str) -> Event:
    return Event("promote", before, after, "0" * 64, "王工", "更准")


def back(before: str, after: str) -> Event:
    return Event("rollback", before, after, "0" * 64, "王工")


def test_a_switch_moves_the_pointer_and_is_written_down(tmp_path: Path) -> None:
    assert (history.current(tmp_path), history.events(tmp_path)) == ("", [])
    first, second = promoted("", "a"), promoted("a", "b")
    history.switch(tmp_path, first)
    assert (tmp_path / "CURRENT").read_bytes() == b"a\n"
    history.switch(tmp_path, second)
    assert history.current(tmp_path) == "b"
    assert history.events(tmp_path) == [first, second]
    row = json.loads((tmp_path / "HISTORY.jsonl").read_text(encoding="utf-8").splitlines()[1])
    assert row["when"].endswith("+00:00")
    assert (row["action"], row["before"], row["after"], row["by"], row["reason"]) == (
        "promote",
        "a",
        "b",
        "王工",
        "更准",
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["CURRENT", "HISTORY.jsonl"]


def test_whoever_was_slower_is_told(tmp_path: Path) -> None:
    history.switch(tmp_path, promoted("", "a"))
    with pytest.raises(ReleaseRefused, match="was changed from b to a meanwhile"):
        history.switch(tmp_path, promoted("b", "c"))
    assert (history.current(tmp_path), len(history.events(tmp_path))) == ("a", 1)


def test_a_disk_that_is_full_leaves_all_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history.switch(tmp_path, promoted("", "a"))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            history.switch(tmp_path, promoted("a", "b"))
    assert (history.current(tmp_path), len(history.events(tmp_path))) == ("a", 1)
    history.switch(tmp_path, promoted("a", "b"))
    assert history.current(tmp_path) == "b"


def test_readers_find_the_old_or_the_new_never_a_part(tmp_path: Path) -> None:
    history.switch(tmp_path, promoted("", "a" * 64))
    seen, done = set(), threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add((tmp_path / "CURRENT").read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(20):
        history.switch(tmp_path, promoted("a" * 64, "b"))
        history.switch(tmp_path, back("b", "a" * 64))
    done.set()
    reader.join()
    assert seen <= {b"a" * 64 + b"\n", b"b\n"}


def test_of_many_at_once_one_wins(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from triage.errors import ReleaseRefused
from triage.model.history import Event, switch
try:
    switch(Path(sys.argv[1]), Event("promote", "", sys.argv[2], "", "x"))
except ReleaseRefused:
    sys.exit(3)
"""
    running = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), name]) for name in "abc"]
    codes = sorted(process.wait(60) for process in running)
    assert codes == [0, 3, 3]
    (event,) = history.events(tmp_path)
    assert event.after == history.current(tmp_path)


def test_a_torn_last_line_is_cut_off_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    history.switch(tmp_path, promoted("", "a"))
    file = tmp_path / "HISTORY.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole + b'{"action": "pro')
    assert len(history.events(tmp_path)) == 1
    history.switch(tmp_path, promoted("a", "b"))
    assert [event.after for event in history.events(tmp_path)] == ["a", "b"]
    for bad in (b"{}", b"\xff", b"[]", b'{"action": "delete"}', b""):
        file.write_bytes(whole + bad + b"\n")
        with pytest.raises(ReleaseCorrupt, match=r"HISTORY.jsonl 第 2 行无法读取"):
            history.events(tmp_path)


@pytest.mark.parametrize("content", [b"", b"../x", b"a b", b"\xff"])
def test_a_pointer_that_names_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "CURRENT").write_bytes(content)
    with pytest.raises(ReleaseCorrupt, match="triage release list"):
        history.current(tmp_path)


@pytest.mark.parametrize(
    ("past", "serving", "target"),
    [
        ([], "", ""),
        ([], "a", ""),
        ([promoted("", "a")], "a", ""),
        ([promoted("a", "b")], "b", "a"),
        ([promoted("a", "b"), promoted("b", "c")], "c", "b"),
        # Two promotions, two rollbacks: to the first, not back and forth.
        ([promoted("a", "b"), promoted("b", "c"), back("c", "b")], "b", "a"),
        ([promoted("a", "b"), promoted("b", "c"), back("c", "b"), back("b", "a")], "a", ""),
        ([promoted("a", "b"), back("b", "a"), promoted("a", "b")], "b", "a"),
        ([promoted("a", "b"), promoted("b", "c"), back("c", "a")], "a", ""),
        ([promoted("a", "b"), promoted("b", "a")], "a", "b"),
        ([promoted("a", "b"), back("b", "z")], "z", "b"),
        # Written into CURRENT by hand.
        ([promoted("a", "b")], "hand", "b"),
        ([promoted("a", "b"), promoted("hand", "c")], "c", "hand"),
        ([promoted("a", "b"), promoted("hand", "c"), back("c", "hand")], "hand", "b"),
    ],
)
def test_what_a_rollback_goes_back_to(past: list[Event], serving: str, target: str) -> None:
    assert history.before(past, serving) == target


def test_gates_are_added_and_read_back(tmp_path: Path) -> None:
    assert history.gates(tmp_path, "b") == []
    second = replace(RECORD, passed=True)
    for record in (RECORD, second):
        assert history.record_gate(tmp_path, record) == tmp_path / "gates" / "b.jsonl"
    assert history.gates(tmp_path, "b") == [RECORD, second]
    assert history.gates(tmp_path, "c") == []
    (tmp_path / "gates" / "b.jsonl").write_text("{}\n")
    with pytest.raises(ReleaseCorrupt, match=r"b.jsonl 第 1 行"):
        history.gates(tmp_path, "b")
