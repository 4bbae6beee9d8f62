"""What the tests of import and export share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from training.exchange import Mapping, Summary, import_file
from training.exchange.masking import Masker
from triage.taxonomy import Taxonomy

Import = Callable[..., tuple[Summary, list[dict[str, Any]], list[dict[str, Any]]]]


def read(path: Path) -> list[dict[str, Any]]:
    """Rows of JSONL; a text may hold other line ends than that of a line."""
    lines = path.read_text(encoding="utf-8").split("\n") if path.exists() else []
    return [json.loads(line) for line in lines if line]


@pytest.fixture(scope="session")
def taxonomy(data: Path) -> Taxonomy:
    return Taxonomy.load(data)


@pytest.fixture
def bring(taxonomy: Taxonomy, tmp_path: Path) -> Import:
    """Import a file: the summary, the rows, and the records kept aside."""

    def bring(
        source: Path, mapping: Mapping | None = None, masker: Masker | None = None, target: Path | None = None
    ) -> tuple[Summary, list[dict[str, Any]], list[dict[str, Any]]]:
        target = target or tmp_path / "out.jsonl"
        summary = import_file(source, target, taxonomy, mapping=mapping, masker=masker, overwrite=True)
        return summary, read(target), read(target.with_name(target.name + ".errors.jsonl"))

    return bring
