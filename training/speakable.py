"""What of a labelled file may stand in a message: names and labels, never a report.

Where two columns were mistaken for one another, a citizen's words stand where a label should.
"""

from __future__ import annotations

import unicodedata
from typing import Final

# Columns of a terminal that a name or a label may take to be repeated in a message; a longer one may be a report.
MAX_SHOWN: Final = 24


def speakable(value: str) -> str:
    """A short name or label as it may stand in a message; empty where it may be a report or a number of somebody."""
    width = sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in value)
    digits = sum(c.isdigit() for c in value)
    return value if value.isprintable() and width <= MAX_SHOWN and digits < 6 else ""


def told(value: str) -> tuple[str, str]:
    """What stands behind "the label" in Chinese and in English: the value where it is speakable, else its length."""
    named = speakable(value)
    return (f" {named}" if named else f"（{len(value)} 字）"), named or f"of {len(value)} characters"
