"""The labels and urgencies: ids, order, names, and who acts. Read from ``taxonomy.toml``."""

from __future__ import annotations

import enum
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from triage.errors import TaxonomyError

FILE = "taxonomy.toml"


class Urgency(enum.StrEnum):
    """How soon somebody must act. Members are ordered from the most to the least urgent."""

    EMERGENCY = "emergency"
    URGENT = "urgent"
    ROUTINE = "routine"


@dataclass(frozen=True, slots=True)
class Label:
    """One label of the taxonomy.

    Attributes:
        id: stable identifier, as in data files and API answers.
        name: what people read, in Chinese.
        name_en: the same in English.
        dispatch: True where somebody acts on it; the labels without are kept out of the officers' way.
        unit: who acts, in Chinese.
        unit_en: the same in English.
        floor: a calibrated score in [0, 1]; at or above it a message goes to review even when another label wins.
            None where the label has no recall floor.
        floor_reason: the reason that such a message carries, such as ``fraud_floor``.
    """

    id: str
    name: str
    name_en: str
    dispatch: bool
    unit: str
    unit_en: str
    floor: float | None = None
    floor_reason: str = ""


@dataclass(frozen=True, slots=True)
class Taxonomy:
    """The labels in the order of the model's outputs.

    Attributes:
        labels: at least two, ids unique.
        urgency_names: Chinese name by urgency.
    """

    labels: tuple[Label, ...]
    urgency_names: Mapping[Urgency, str]

    @property
    def ids(self) -> tuple[str, ...]:
        """All label ids, in output order."""
        return tuple(label.id for label in self.labels)

    @property
    def dispatch_ids(self) -> tuple[str, ...]:
        """Ids of the report labels: those that may stand as secondary labels."""
        return tuple(label.id for label in self.labels if label.dispatch)

    def __getitem__(self, label_id: str) -> Label:
        for label in self.labels:
            if label.id == label_id:
                return label
        raise TaxonomyError(
            f"未知标签 {label_id!r}，可用的标签：{'、'.join(self.ids)}",
            f"unknown label {label_id!r}; known labels: {', '.join(self.ids)}",
        )

    @classmethod
    def load(cls, path: Path | str) -> Taxonomy:
        """Read ``taxonomy.toml`` (the file itself or the folder that holds it).

        Raises:
            TaxonomyError: the file is missing, is not TOML, or a label lacks a field.
        """
        file = Path(path)
        file = file / FILE if file.is_dir() else file
        try:
            data = tomllib.loads(file.read_text(encoding="utf-8"))
            return cls._from_data(data)
        except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
            raise TaxonomyError(
                f"标签文件 {file.name} 无法读取：{error}", f"cannot read the taxonomy {file.name}: {error}"
            ) from error

    @classmethod
    def _from_data(cls, data: Mapping[str, Any]) -> Taxonomy:
        labels = tuple(Label(**row) for row in data["label"])
        names = {Urgency(row["id"]): str(row["name"]) for row in data["urgency"]}
        ids = [label.id for label in labels]
        if len(ids) < 2 or len(set(ids)) != len(ids) or set(names) != set(Urgency):
            raise ValueError("labels must be two or more and unique, and every urgency named once")
        return cls(labels, names)
