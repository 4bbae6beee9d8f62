"""Changes that real messages come with, made to training texts: lost punctuation and digits, cut tails, masked places.

Every function takes a text and a random generator and returns a text that still means the same to a reader.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

from training.recipe import AugmentRecipe

_PUNCTUATION = re.compile(r"[，。！？；：、,.!?;:~…“”\"'《》()（）\s]+")
_DIGITS = re.compile(r"\d+")
_PLACE = re.compile(r"[\u4e00-\u9fff]{2,4}(?=路|街|大道|小区|花园|苑|广场|村|镇|大厦|新城)")


def drop_punctuation(text: str, random: Random) -> str:
    """As voice-to-text writes: no punctuation, here and there a blank."""
    return _PUNCTUATION.sub(lambda _: " " if random.random() < 0.2 else "", text).strip()


def drop_digits(text: str, random: Random) -> str:
    """As some gateways forward a message: its numbers are gone."""
    return _DIGITS.sub(lambda found: "" if random.random() < 0.8 else found.group(), text)


def cut_tail(text: str, random: Random) -> str:
    """As an export cuts: the end of a long text is gone, at least two thirds stay."""
    if len(text) < 120:
        return text
    return text[: random.randint(len(text) * 2 // 3, len(text))]


def mask_places(text: str, random: Random) -> str:
    """As published letters are: names of places replaced by asterisks."""
    return _PLACE.sub(lambda found: "*" * random.randint(2, 6) if random.random() < 0.6 else found.group(), text)


def lose_characters(text: str, random: Random) -> str:
    """As sloppy senders type: about one character in thirty is gone."""
    return "".join(c for c in text if random.random() > 0.03)


_CHANGES: tuple[tuple[str, Callable[[str, Random], str]], ...] = (
    ("mask_places", mask_places),
    ("cut_tail", cut_tail),
    ("drop_digits", drop_digits),
    ("lose_characters", lose_characters),
    ("drop_punctuation", drop_punctuation),
)


def augment(text: str, recipe: AugmentRecipe, random: Random) -> str:
    """Apply each change with its chance; a text that would become blank stays as it was."""
    changed = text
    for name, change in _CHANGES:
        if random.random() < getattr(recipe, name):
            changed = change(changed, random)
    return changed if changed.strip() else text
