"""What import and export may write over, and how a file gets its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from datasets import load_from_disk

from training.exchange import export_file, import_file, incoming
from triage.bulk.writers import lines_of
from triage.errors import InputError
from triage.taxonomy import Taxonomy

from .conftest import Import

ROWS: list[dict[str, Any]] = [{"text": "甲", "label": "other"}]


def tree(folder: Path) -> dict[str, bytes]:
    """Contents by path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("rows", [ROWS, [{"text": "甲", "label": "nobody knows"}]], ids=["good", "bad"])
@pytest.mark.parametrize("name", ["local.jsonl", "local.jsonl.errors.jsonl"])
def test_import_never_writes_over_its_input(
    bring: Import, tmp_path: Path, name: str, rows: list[dict[str, Any]]
) -> None:
    (tmp_path / name).write_bytes(lines_of(rows))
    with pytest.raises(InputError, match=f"{name}, which is to be written, is the input itself"):
        bring(tmp_path / name, target=tmp_path / "local.jsonl")
    assert tree(tmp_path) == {name: lines_of(rows)}


@pytest.mark.parametrize("name", ["local.jsonl.part", "local.jsonl.errors.part", "local.jsonl.errors.jsonl"])
def test_import_never_writes_over_its_input_by_another_name(bring: Import, tmp_path: Path, name: str) -> None:
    (tmp_path / "x.jsonl").write_bytes(lines_of(ROWS))
    (tmp_path / name).hardlink_to(tmp_path / "x.jsonl")
    with pytest.raises(InputError, match=f"{name}, which is to be written, is the input itself"):
        bring(tmp_path / "x.jsonl", target=tmp_path / "local.jsonl")
    assert tree(tmp_path) == {"x.jsonl": lines_of(ROWS), name: lines_of(ROWS)}


def test_import_never_writes_over_a_file_of_its_input_folder(bring: Import, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train.jsonl").write_bytes(lines_of(ROWS))
    with pytest.raises(InputError, match="lies in the input folder"):
        bring(tmp_path / "set", target=tmp_path / "set" / "train.jsonl")
    assert tree(tmp_path) == {"set/train.jsonl": lines_of(ROWS)}


def test_export_never_writes_over_its_input(tmp_path: Path) -> None:
    (tmp_path / "x.csv.part").write_bytes(lines_of(ROWS))
    with pytest.raises(InputError, match=r"x\.csv\.part, which is to be written, is the input itself"):
        export_file(tmp_path / "x.csv.part", tmp_path / "x.csv")
    assert tree(tmp_path) == {"x.csv.part": lines_of(ROWS)}


def test_a_leftover_of_an_earlier_run_is_no_hindrance(taxonomy: Taxonomy, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_bytes(lines_of(ROWS))
    (tmp_path / "out.jsonl.part").write_bytes(b"half")
    assert import_file(tmp_path / "x.jsonl", tmp_path / "out.jsonl", taxonomy).written == 1
    assert set(tree(tmp_path)) == {"x.jsonl", "out.jsonl"}


def test_names_reach_the_disk(taxonomy: Taxonomy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Path, list[str]]] = []
    monkeypatch.setattr(incoming, "sync_folder", lambda folder: seen.append((folder, sorted(tree(folder)))))
    (tmp_path / "x.jsonl").write_bytes(lines_of([*ROWS, {"text": "乙", "label": "nobody knows"}]))
    import_file(tmp_path / "x.jsonl", tmp_path / "out.jsonl", taxonomy)
    assert seen[-1] == (tmp_path, ["out.jsonl", "out.jsonl.errors.jsonl", "x.jsonl"])
    export_file(tmp_path / "out.jsonl", tmp_path / "y.csv")
    assert (len(seen), "y.csv" in seen[-1][1]) == (3, True)


@pytest.mark.parametrize("name", ["mine", "mine.part"])
def test_a_folder_that_datasets_did_not_save_is_never_deleted(tmp_path: Path, name: str) -> None:
    (tmp_path / "x.jsonl").write_bytes(lines_of(ROWS))
    (tmp_path / name).mkdir()
    (tmp_path / name / "thesis.txt").write_bytes(b"years")
    before = tree(tmp_path)
    with pytest.raises(InputError, match=f"{name} is no earlier output of format datasets"):
        export_file(tmp_path / "x.jsonl", tmp_path / "mine", kind="datasets", overwrite=True)
    assert tree(tmp_path) == before


def test_a_saved_folder_is_replaced_where_that_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_bytes(lines_of(ROWS))
    export_file(tmp_path / "x.jsonl", tmp_path / "set", kind="datasets")
    (tmp_path / "x.jsonl").write_bytes(lines_of(ROWS * 3))
    assert export_file(tmp_path / "x.jsonl", tmp_path / "set", kind="datasets", overwrite=True) == 3
    assert len(load_from_disk(str(tmp_path / "set"))) == 3


def test_a_saved_folder_that_holds_the_input_is_never_deleted(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_bytes(lines_of(ROWS))
    export_file(tmp_path / "x.jsonl", tmp_path / "set", kind="datasets")
    (tmp_path / "x.jsonl").rename(tmp_path / "set" / "x.jsonl")
    before = tree(tmp_path)
    with pytest.raises(InputError, match="set holds the input"):
        export_file(tmp_path / "set" / "x.jsonl", tmp_path / "set", kind="datasets", overwrite=True)
    assert tree(tmp_path) == before


@pytest.mark.parametrize(("kind", "name"), [("csv", "set.csv"), ("datasets", "file"), ("datasets", "link")])
def test_a_file_and_a_folder_never_take_each_others_place(tmp_path: Path, kind: str, name: str) -> None:
    (tmp_path / "x.jsonl").write_bytes(lines_of(ROWS))
    export_file(tmp_path / "x.jsonl", tmp_path / "set", kind="datasets")
    (tmp_path / "set.csv").mkdir()
    (tmp_path / "file").write_bytes(b"mine")
    (tmp_path / "link").symlink_to(tmp_path / "set")
    before = tree(tmp_path)
    with pytest.raises(InputError, match=f"{name} is no earlier output of format {kind}"):
        export_file(tmp_path / "x.jsonl", tmp_path / name, kind=kind, overwrite=True)
    assert tree(tmp_path) == before
