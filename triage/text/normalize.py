"""Raw text → the text that is read, with an exact map back to the raw offsets.

What changes: NFKC; Traditional → Simplified, character by character; invisible characters and stray combining marks go;
separators inside words and numbers go; numerals that spell a number become digits; disguised spellings of contact and
money words become the plain ones. A run of whitespace becomes one space, or one line break where it held one, and none
is left at the ends. The case of Latin letters stays. Every rule is data in the lexicon folder.

Guarantees: ``normalize(normalize(x)) == normalize(x)``; the map is monotone; the time is linear in the length; no input
raises.
"""

from __future__ import annotations

import re
import unicodedata
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from triage.text.characters import FILE as CHARACTERS
from triage.text.characters import CharacterTable
from triage.text.disguise import (
    ContextRule,
    NumeralStage,
    Stage,
    context_rules,
    literal_stage,
    separator_stages,
)
from triage.text.lexicon import mapping_of, ranges_of, read_table, wrong
from triage.text.track import Edit, Tracked

# One rule's result may be another's context. Real disguises settle in two or three rounds; the bound keeps hostile
# input linear.
MAX_ROUNDS = 12
# Marks that may join one letter; what is piled up beyond them is junk.
_MAX_MARKS = 3
_WHITESPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Normalized:
    """A normalized text and where each of its code points came from.

    Attributes:
        text: the normalized text.
        raw: the text as it came.
        starts: first raw code point by position in ``text``; non-decreasing, type code ``I``.
        ends: one past the last raw code point by position; non-decreasing.
    """

    text: str
    raw: str
    starts: array[int] = field(compare=False, repr=False)
    ends: array[int] = field(compare=False, repr=False)

    def raw_span(self, start: int, end: int) -> tuple[int, int]:
        """The smallest span of the raw text that covers ``text[start:end]``.

        An empty span maps to an empty span where its position begins.

        Raises:
            ValueError: not 0 ≤ start ≤ end ≤ len(text).
        """
        if not 0 <= start <= end <= len(self.text):
            raise ValueError(f"span {start}:{end} outside a text of {len(self.text)} characters")
        if start < end:
            return self.starts[start], self.ends[end - 1]
        at = self.starts[start] if start < len(self.text) else len(self.raw)
        return at, at


class Normalizer:
    """Callable: raw text in, ``Normalized`` out. Holds no state between calls; safe to share among threads."""

    def __init__(
        self,
        characters: CharacterTable,
        marks: re.Pattern[str],
        lookalikes: Mapping[str, str],
        stages: Sequence[Stage],
        rules: Sequence[ContextRule],
    ) -> None:
        self._characters = characters
        # A letter with marks on it, or marks with nothing before them.
        self._marked = re.compile(rf"[^\s{marks.pattern[1:-1]}]?{marks.pattern}+")
        letters = re.escape("".join(lookalikes))
        self._foreign = re.compile(f"[{letters}]")
        self._mixed = re.compile(f"[A-Za-z0-9{letters}]+")
        self._lookalikes = {ord(key): value for key, value in lookalikes.items()}
        self._stages = tuple(stages)
        self._rules = tuple(rules)
        self._near = frozenset().union(*(rule.near for rule in rules))

    @classmethod
    def load(cls, folder: Path) -> Normalizer:
        """Read the rules of a lexicon folder.

        Raises:
            LexiconError: a file is missing or a rule is wrong.
        """
        data = read_table(folder, CHARACTERS)
        lookalikes = mapping_of(data, "lookalikes", CHARACTERS)
        if any(len(key) != 1 or not (len(value) == 1 and value.isascii()) for key, value in lookalikes.items()):
            raise wrong(CHARACTERS, "[lookalikes]", "must map one character to one Latin letter")
        stages: list[Stage] = [*separator_stages(folder), NumeralStage.load(folder), literal_stage(folder)]
        characters = CharacterTable.load(folder)
        return cls(
            characters,
            re.compile(ranges_of(data, "marks", CHARACTERS)),
            lookalikes,
            stages,
            context_rules(folder),
        )

    def __call__(self, raw: str) -> Normalized:
        """Normalize one text of any length and content."""
        tracked = Tracked(raw)
        if raw.translate(self._characters) != raw:
            tracked.replace_each([self._characters[ord(character)] for character in raw])
        tracked.apply(self._compose(tracked.text))
        tracked.apply(_fold_whitespace(tracked.text))
        for _ in range(MAX_ROUNDS):
            if not self._round(tracked):
                break
        return Normalized(tracked.text, raw, tracked.starts, tracked.ends)

    def _round(self, tracked: Tracked) -> bool:
        """Apply every stage and rule once; True when something changed."""
        changed = tracked.apply(self._unmask_letters(tracked.text))
        for stage in self._stages:
            changed |= tracked.apply(stage(tracked.text))
        present = self._near.intersection(tracked.text)
        for rule in self._rules:
            if not rule.near.isdisjoint(present) and tracked.apply(rule(tracked.text)):
                changed = True
                present = self._near.intersection(tracked.text)
        return changed and (tracked.apply(_fold_whitespace(tracked.text)) or True)

    def _compose(self, text: str) -> list[Edit]:
        """Join combining marks to the letter before them where Unicode has the joined letter; drop the others."""
        return [(*match.span(), self._joined(match.group())) for match in self._marked.finditer(text)]

    def _joined(self, group: str) -> str:
        if self._marked.fullmatch(group[0]):
            return ""
        letter = group[0]
        for mark in group[1 : 1 + _MAX_MARKS]:
            joined = unicodedata.normalize("NFC", letter + mark)
            if len(joined) == 1 and self._characters[ord(joined)] == joined:
                letter = joined
        return letter

    def _unmask_letters(self, text: str) -> list[Edit]:
        """Letters of other scripts become Latin where they stand in a run that holds a Latin letter."""
        if self._foreign.search(text) is None:
            return []
        return [
            (*match.span(), match.group().translate(self._lookalikes))
            for match in self._mixed.finditer(text)
            if any(item.isascii() and item.isalpha() for item in match.group())
        ]


def _fold_whitespace(text: str) -> list[Edit]:
    """One space, or one line break, for each run of whitespace; nothing at the ends."""
    edits: list[Edit] = []
    for match in _WHITESPACE.finditer(text):
        start, end = match.span()
        run = match.group()
        if start == 0 or end == len(text):
            edits.append((start, end, ""))
        elif run not in (" ", "\n"):
            edits.append(
                (
                    start,
                    end,
                    "\n" if len(run.splitlines()) > 1 or run.strip(" \t") else " ",
                )
            )
    return edits
