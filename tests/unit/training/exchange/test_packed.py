"""Files that are packed with gzip: where they end, and how much of them is unpacked."""

from __future__ import annotations

import gzip
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from training.exchange import jsons, sources
from triage.errors import FileUnreadable

from .conftest import Import

ONE, TWO = (f'{{"text": "{text}", "label": "traffic"}}\n'.encode() for text in ("甲", "乙"))
# More than is read at once.
ZEROS = bytes(2**17 + 5)


@pytest.mark.parametrize(
    ("packed", "texts"),
    [
        (gzip.compress(ONE) + b"\0", ["甲"]),
        (gzip.compress(ONE) + ZEROS, ["甲"]),
        (gzip.compress(ONE) + ZEROS + gzip.compress(TWO) + ZEROS, ["甲", "乙"]),
        (gzip.compress(ONE) + gzip.compress(TWO), ["甲", "乙"]),
    ],
    ids=["one zero", "zeros", "zeros between", "none"],
)
def test_zeros_behind_a_member_are_no_damage(bring: Import, tmp_path: Path, packed: bytes, texts: list[str]) -> None:
    (tmp_path / "x.jsonl.gz").write_bytes(packed)
    _, rows, aside = bring(tmp_path / "x.jsonl.gz")
    assert ([row["text"] for row in rows], aside) == (texts, [])


def test_a_second_file_that_is_cut_off_is_told_behind_zeros_too(bring: Import, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl.gz").write_bytes(gzip.compress(ONE) + ZEROS + gzip.compress(TWO)[:-8])
    _, rows, aside = bring(tmp_path / "x.jsonl.gz")
    assert (rows[0]["text"], aside[-1]["code"]) == ("甲", "gzip_cut_off")


def peak(work: Callable[[], object]) -> int:
    """Most bytes that were held at once."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def opened(path: Path) -> None:
    with sources.open_source(path):
        pass


@pytest.mark.parametrize("level", [0, 9])
def test_a_large_file_is_unpacked_and_cut_in_blocks(tmp_path: Path, level: int) -> None:
    line = b" " * 2**16 + b"\n"
    (tmp_path / "x.jsonl.gz").write_bytes(gzip.compress(line * 256, compresslevel=level)[:-9])
    assert peak(lambda: opened(tmp_path / "x.jsonl.gz")) < 2 * 2**20


@pytest.mark.parametrize("tail", [0, 1, 2**16 - 1, 2**16, 3 * 2**16])
def test_what_stands_behind_the_last_whole_line_is_left_out(bring: Import, tmp_path: Path, tail: int) -> None:
    (tmp_path / "x.jsonl.gz").write_bytes(gzip.compress(ONE + TWO + b" " * tail, compresslevel=0)[:-8])
    _, rows, aside = bring(tmp_path / "x.jsonl.gz")
    assert ([row["text"] for row in rows], [(item["row"], item["code"]) for item in aside]) == (
        ["甲", "乙"], [(3, "gzip_cut_off")],
    )  # fmt: skip


@pytest.mark.parametrize("name", ["x.json", "x.json.gz"])
def test_an_array_has_a_limit_and_lines_have_none(
    bring: Import, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(jsons, "MAX_ARRAY_BYTES", 1000)
    for size, fits in ((1000, True), (1001, False)):
        array = b"[" + ONE.rstrip() + b" " * (size - len(ONE) - 1) + b"]"
        assert len(array) == size
        (tmp_path / name).write_bytes(gzip.compress(array) if name.endswith(".gz") else array)
        if fits:
            assert bring(tmp_path / name)[0].written == 1
            continue
        with pytest.raises(FileUnreadable, match=f"{name} has more than 1000 bytes") as caught:
            bring(tmp_path / name)
        assert f"{name} 超过 1000 字节" in caught.value.zh
    (tmp_path / "x.jsonl").write_bytes(ONE * 50)
    assert bring(tmp_path / "x.jsonl")[0].written == 50


def test_a_bomb_is_stopped_at_the_limit(tmp_path: Path) -> None:
    assert jsons.MAX_ARRAY_BYTES == 256 * 2**20
    member = gzip.compress(bytes(2**24), compresslevel=9)
    (tmp_path / "x.json.gz").write_bytes(member * 17)
    with pytest.raises(FileUnreadable, match="268435456"):
        opened(tmp_path / "x.json.gz")
