"""Values as cells of a table, and back: no cell is taken for a formula, none is changed by going out and in."""

from __future__ import annotations

import json
from collections.abc import Mapping

from triage.bulk.rows import shown
from triage.bulk.writers import FORMULA


def escaped(value: str) -> str:
    """A string as a cell that no spreadsheet takes for a formula; ``restored`` gives the string back."""
    return f"'{value}" if _steers(value) else value


def restored(cell: str) -> str:
    """The string that ``escaped`` made a cell of."""
    return cell[1:] if cell.startswith("'") and _steers(cell) else cell


def _steers(value: str) -> bool:
    return value.lstrip("'").startswith(FORMULA)


def restored_cells(cells: Mapping[str, object]) -> dict[str, object]:
    """The same for a whole row."""
    return {name: restored(value) if isinstance(value, str) else value for name, value in cells.items()}


def written(value: object) -> str:
    """A value of a row as a string: lists and objects as compact JSON, None as nothing."""
    said = shown(value)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str) if said is None else said


def listed(value: object) -> list[object]:
    """The items of a list, of a JSON list in a string, or of a string with separators."""
    if isinstance(value, list | tuple):
        return list(value)
    if isinstance(value, dict) and isinstance(value.get("choices"), list):  # Label Studio, several choices
        return list(value["choices"])
    if not isinstance(value, str):
        return [value]
    if value.strip().startswith(("[", "{")):
        try:
            return listed(json.loads(value))
        except (ValueError, RecursionError):
            return [value]
    return [value]
