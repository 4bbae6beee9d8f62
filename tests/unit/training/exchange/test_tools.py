"""Where the records of labelling tools come out."""

from __future__ import annotations

from training.exchange.records import Record
from training.exchange.tools import unwrapped


def record(number: int, task: int | None = None) -> Record:
    about = {} if task is None else {"id": task, "annotator": 1, "annotation_id": number}
    cells = {"text": f"t{task or number}", "label": "other", **about}
    return Record(number, cells, cells)


def test_tasks_of_json_min_come_behind_all_others_in_the_order_in_which_they_occur() -> None:
    found = list(unwrapped([record(1, 7), record(2), record(3, 8), record(4, 7), record(5)]))
    assert [item.number for item in found] == [2, 5, 1, 3]
