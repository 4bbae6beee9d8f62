"""Label Studio: its JSON and JSON_MIN exports in, tasks with annotations out.

Formats: https://labelstud.io/guide/export (export formats; JSON_MIN holds one object per annotation, the task's data
beside its controls) and https://labelstud.io/guide/task_format (tasks with ``data`` and ``annotations``). What is
written opens in a project with this labeling interface, and comes back unchanged::

    <View>
      <Text name="text" value="$text"/>
      <Choices name="label" toName="text" choice="single-radio"> … <Choice value="traffic"/> and so on … </Choices>
      <Choices name="secondary" toName="text" choice="multiple"> … </Choices>
      <Choices name="urgency" toName="text" choice="single-radio"> … </Choices>
    </View>
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from training.exchange.mapping import GUESSES
from training.exchange.records import Item, Record, refused

NAME = "Label Studio"
# What JSON_MIN puts beside the data: the numbers of the tool's database.
_MIN_KEYS = frozenset({"id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement"})
CONTROLS = ("label", "secondary", "urgency")


def is_task(cells: Mapping[str, object]) -> bool:
    """Whether a record is a task of the JSON export."""
    return isinstance(cells.get("data"), dict) and bool(cells.keys() & {"annotations", "completions", "predictions"})


def is_minimal(cells: Mapping[str, object]) -> bool:
    """Whether a record is an annotation of the JSON_MIN (or CSV) export."""
    return {"annotation_id", "annotator"} <= cells.keys()


def from_task(record: Record) -> Item:
    """The task's data and what its annotators chose; a ground truth wins, else they must agree."""
    tasks = record.cells.get("annotations", record.cells.get("completions")) or []
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        return refused(record.number, "bad_task", record.raw, "annotations", part="annotations", tool=NAME)
    valid = [task for task in tasks if not task.get("was_cancelled")]
    valid = [task for task in valid if task.get("ground_truth")] or valid
    try:
        chosen = [_chosen(task.get("result") or []) for task in valid]
    except (AttributeError, KeyError, TypeError):
        return refused(record.number, "bad_task", record.raw, "annotations", part="result", tool=NAME)
    if not any(chosen):
        return refused(record.number, "unlabelled", record.raw, "annotations")
    for name in dict.fromkeys(name for one in chosen for name in one):
        if len({frozenset(one.get(name, ())) for one in chosen}) > 1:
            return refused(record.number, "annotators_differ", record.raw, name, count=len(chosen))
    data = record.cells["data"]
    assert isinstance(data, dict)  # is_task
    return replace(record, cells={**data, **_plain(_called_label(chosen[0]))})


def _chosen(results: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Choices by the name of the control; controls without any are left out."""
    chosen = {item["from_name"]: list(item["value"]["choices"]) for item in results if item["type"] == "choices"}
    return {name: values for name, values in chosen.items() if values}


def _called_label(chosen: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """The only control of a project is its label, whatever it is called."""
    if len(chosen) == 1 and not chosen.keys() & set(GUESSES["label"]):
        return {**chosen, "label": next(iter(chosen.values()))}
    return dict(chosen)


def _plain(chosen: Mapping[str, list[str]]) -> dict[str, object]:
    """One choice as a string, several as a list."""
    return {name: values[0] if len(values) == 1 else values for name, values in chosen.items()}


def from_minimal(record: Record) -> Record:
    """Without what is about the tool's database."""
    return replace(record, cells={name: value for name, value in record.cells.items() if name not in _MIN_KEYS})


def to_task(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as a task with one annotation; the data holds every field, so that nothing is lost."""
    chosen = {name: row[name] if name == "secondary" else [row[name]] for name in CONTROLS if row.get(name)}
    result = [
        {"from_name": name, "to_name": "text", "type": "choices", "value": {"choices": list(values)}}
        for name, values in chosen.items()
    ]
    data = {name: value for name, value in row.items() if name != "label"}
    return {"data": data, "annotations": [{"result": result}]}
