"""doccano: JSONL of a text classification project, in and out.

Format: https://github.com/doccano/doccano, ``backend/data_export/pipeline/factories.py`` (document classification,
JSONL: ``id``, ``text``, ``label`` as a list of names in the order of the alphabet, ``Comments``, and what was uploaded
beside them), and https://doccano.github.io/doccano/tutorial/. Since that order says nothing, a message with two labels
is refused: which one is primary, nobody knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from training.corpus import message_id
from training.exchange.records import Record

# The number that doccano gave, and what annotators remarked.
_OWN = frozenset({"id", "Comments"})


def is_example(cells: Mapping[str, object]) -> bool:
    """Whether a record is an example of doccano's export."""
    return "Comments" in cells and isinstance(cells.get("label"), list)


def from_example(record: Record) -> Record:
    """Without what is about the tool's database."""
    return replace(record, cells={name: value for name, value in record.cells.items() if name not in _OWN})


def to_example(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as an example; doccano numbers examples itself, so that an id other than the text's goes beside."""
    rest = {name: value for name, value in row.items() if name not in ("id", "text", "label")}
    if row.get("id") and row["id"] != message_id(row["text"]):
        rest.setdefault("source_id", row["id"])
    return {"text": row["text"], "label": [row["label"]], **rest}
