"""How far a blind second reading of the corpus agrees with its labels.

The reading is a file of its own, ``second_reading.jsonl`` in the data folder: one row a message with ``id``, ``label``,
``secondary``, ``urgency`` and ``reader``. Whoever read saw the text and its register, never a label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sklearn.metrics import cohen_kappa_score

from training.corpus import Message, rows_of
from triage.errors import CorpusError

FILE = "second_reading.jsonl"


@dataclass(frozen=True, slots=True)
class Reading:
    """What a second reader said of one message."""

    id: str
    label: str
    secondary: tuple[str, ...]
    urgency: str
    reader: str


def load_readings(path: Path) -> list[Reading]:
    """Read a file of second readings.

    Raises:
        CorpusError: there is no such file, or a row is not one; the message names the row.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise CorpusError(f"读不了 {path.name}：{error}", f"cannot read {path.name}: {error}") from error
    return rows_of(Reading, path.name, enumerate(lines, 1), "a reading")


def agreement(splits: Mapping[str, Sequence[Message]], readings: Sequence[Reading]) -> dict[str, Any]:
    """Share of equal labels and Cohen's kappa, over all and by split, register and label; who differed how.

    Readings of messages that are no longer in the corpus are counted under ``gone`` and left out.

    Method: Cohen (1960), *A coefficient of agreement for nominal scales*; 1 is full agreement, 0 what chance gives.
    """
    home = {message.id: (name, message) for name, part in splits.items() for message in part}
    pairs = [(*home[reading.id], reading) for reading in readings if reading.id in home]
    if not pairs:
        raise CorpusError("没有可比的第二次标注", "no second reading belongs to a message of this corpus")

    def of(rows: Sequence[tuple[str, Message, Reading]]) -> dict[str, Any]:
        first, second = [m.label for _, m, _ in rows], [r.label for _, _, r in rows]
        kappa = float(cohen_kappa_score(first, second)) if len({*first, *second}) > 1 else None
        return {"n": len(rows), "agreement": sum(a == b for a, b in zip(first, second, strict=True)) / len(rows)} | (
            {} if kappa is None else {"kappa": kappa}
        )

    def by(key: Any) -> dict[str, Any]:
        keys = sorted({key(*row) for row in pairs})
        return {name: of([row for row in pairs if key(*row) == name]) for name in keys}

    busy = [(m.urgency, r.urgency) for _, m, r in pairs if m.label == r.label and m.label != "other"]
    changed: dict[str, int] = {}
    for _, message, reading in pairs:
        if message.label != reading.label:
            name = f"{message.label} → {reading.label}"
            changed[name] = changed.get(name, 0) + 1
    return {
        **of(pairs),
        "gone": len(readings) - len(pairs),
        "urgency_agreement": sum(a == b for a, b in busy) / max(1, len(busy)),
        "by_split": by(lambda name, message, reading: name),
        "by_register": by(lambda name, message, reading: message.register),
        "by_label": by(lambda name, message, reading: message.label),
        "changed": dict(sorted(changed.items(), key=lambda item: -item[1])),
    }
