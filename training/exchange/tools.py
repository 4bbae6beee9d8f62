"""Takes off what labelling tools wrap a message in: which tool it was is seen by the record itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from training.exchange import argilla, doccano, label_studio
from training.exchange.records import Item, Record, Refused, refused

_TOOLS: tuple[tuple[Callable[[Mapping[str, object]], bool], Callable[[Record], Item]], ...] = (
    (label_studio.is_task, label_studio.from_task),
    (argilla.is_record, argilla.from_record),
    (argilla.is_flat, argilla.from_flat),
    (doccano.is_example, doccano.from_example),
)


def unwrapped(items: Iterable[Item]) -> Iterator[Item]:
    """Every record as text, label and fields, in order; those of JSON_MIN behind all others.

    Label Studio's JSON_MIN has one object per annotation. An annotation of a task may stand anywhere, so that they are
    held in memory until the file is read; then each task comes as one record, in the order in which tasks first occur
    and with the number of its first annotation.
    """
    tasks: dict[str, list[Record]] = {}
    for item in items:
        if isinstance(item, Record) and label_studio.is_minimal(item.cells):
            tasks.setdefault(_task(item), []).append(item)
        else:
            yield item if isinstance(item, Refused) else _unwrapped(item)
    for records in tasks.values():
        yield from _settled(records)


def _unwrapped(record: Record) -> Item:
    for is_of_tool, unwrap in _TOOLS:
        if is_of_tool(record.cells):
            found = unwrap(record)
            return replace(found, file=record.file)
    return record


def _task(record: Record) -> str:
    """The task that an annotation is of; one without a task's number is alone."""
    key = record.cells.get("id", f"row {record.number}")
    return json.dumps([record.file, key], default=str)


def _settled(records: list[Record]) -> Iterator[Item]:
    """One record of a task's annotations where they agree, else each one refused."""
    bare = [label_studio.from_minimal(record) for record in records]
    differing = [name for name in bare[0].cells if any(one.cells.get(name) != bare[0].cells[name] for one in bare)]
    if any(one.cells != bare[0].cells for one in bare):
        column = differing[0] if differing else "annotation_id"
        for record in records:
            item = refused(record.number, "annotators_differ", record.raw, column, count=len(records))
            yield replace(item, file=record.file)
    else:
        yield bare[0]
