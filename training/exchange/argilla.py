"""Argilla: records as JSON (``records.to_json``) or flattened (``records.to_datasets``) in, JSON out.

Formats: https://docs.argilla.io/latest/how_to_guides/import_export and
https://docs.argilla.io/latest/reference/argilla/records/records. A JSON record is ``id``, ``fields``, ``metadata``,
``suggestions``, ``responses`` (by question, a list of ``value`` and ``user_id``) and ``vectors``; flattened, fields and
metadata are columns, and a question has ``<question>.responses``, ``….responses.users`` and ``….responses.status``.
Suggestions are a model's, not a person's, and never become labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from training.corpus import message_id
from training.exchange.records import Item, Record, refused

NAME = "Argilla"
QUESTIONS = ("label", "secondary", "urgency")
# Argilla wants to know who answered; its server takes only users of its own, so put one of yours here before importing.
NOBODY = "00000000-0000-0000-0000-000000000000"
_RESPONSES = ".responses"
_PARTS = (_RESPONSES, ".responses.users", ".responses.status", ".suggestion", ".suggestion.score", ".suggestion.agent")


def is_record(cells: Mapping[str, object]) -> bool:
    """Whether a record is one of the JSON export."""
    return isinstance(cells.get("fields"), dict) and bool(cells.keys() & {"responses", "suggestions"})


def is_flat(cells: Mapping[str, object]) -> bool:
    """Whether a record is flattened; one of a data set that nobody answered has suggestions at the most."""
    return any(name.endswith((_RESPONSES, ".suggestion")) for name in cells)


def from_record(record: Record) -> Item:
    """Fields, metadata and what was answered."""
    responses = record.cells.get("responses") or {}
    metadata = record.cells.get("metadata") or {}
    if not isinstance(responses, dict) or not isinstance(metadata, dict):
        return refused(record.number, "bad_task", record.raw, "responses", part="responses", tool=NAME)
    try:
        answers = {
            name: [item["value"] for item in given if item.get("status") in (None, "submitted")]
            for name, given in responses.items()
        }
    except (AttributeError, KeyError, TypeError):
        return refused(record.number, "bad_task", record.raw, "responses", part="responses", tool=NAME)
    fields = record.cells["fields"]
    assert isinstance(fields, dict)  # is_record
    key = {"id": record.cells["id"]} if record.cells.get("id") else {}
    return _answered(record, {**key, **metadata, **fields}, answers)


def from_flat(record: Record) -> Item:
    """The same from columns."""
    questions = [name.removesuffix(_RESPONSES) for name in record.cells if name.endswith(_RESPONSES)]
    try:
        answers = {name: _submitted(record.cells, name) for name in questions}
    except (TypeError, ValueError):
        return refused(record.number, "bad_task", record.raw, "responses", part="responses", tool=NAME)
    bare = {name: value for name, value in record.cells.items() if not name.endswith(_PARTS) and name != "_server_id"}
    return _answered(record, bare, answers)


def _submitted(cells: Mapping[str, Any], question: str) -> list[object]:
    values: Sequence[object] = cells[question + _RESPONSES] or []
    if isinstance(values, str):
        raise TypeError("a list was flattened to a string")
    states = cells.get(f"{question}.responses.status") or [None] * len(values)
    return [value for value, state in zip(values, states, strict=True) if state in (None, "submitted")]


def _answered(record: Record, cells: Mapping[str, object], answers: Mapping[str, Sequence[object]]) -> Item:
    if not any(answers.values()):
        return refused(record.number, "unlabelled", record.raw, "responses")
    for name, given in answers.items():
        if any(value != given[0] for value in given):
            return refused(record.number, "annotators_differ", record.raw, name, count=len(given))
    return replace(record, cells={**cells, **{name: given[0] for name, given in answers.items() if given}})


def to_record(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as a record whose label, secondary labels and urgency are answered."""
    answered = {name: row[name] for name in QUESTIONS if name in row}
    return {
        "id": row.get("id") or message_id(row["text"]),
        "fields": {"text": row["text"]},
        "metadata": {name: value for name, value in row.items() if name not in {"id", "text", *answered}},
        "suggestions": {},
        "responses": {name: [{"value": value, "user_id": NOBODY}] for name, value in answered.items()},
        "vectors": {},
    }
