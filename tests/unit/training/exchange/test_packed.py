"""Files that are packed with gzip: where they end, and how much of them is unpacked."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

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
