"""One code point at a time: NFKC, Simplified characters, look-alike characters; what is invisible goes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path

import opencc

from triage.text.lexicon import mapping_of, ranges_of, read_table, texts_of, wrong

FILE = "characters.toml"

# Where opencc is asked for Simplified forms: radicals, unified ideographs and extensions, compatibility ideographs.
_HAN_BLOCKS = ((0x2E80, 0x3000), (0x3400, 0xA000), (0xF900, 0xFB00), (0x20000, 0x323B0))
# A replacement may itself need one (a full-width Traditional variant); three rounds reach the end of every chain.
_CHAIN = 3


class CharacterTable(dict[int, str]):
    """What each code point becomes: the argument of ``str.translate``, filled as code points are met.

    ``table[code]`` is a string of zero or more characters, each of which the table leaves alone.
    """

    def __init__(
        self,
        simplified: Mapping[str, str],
        variants: Mapping[str, str],
        dropped: re.Pattern[str],
    ) -> None:
        super().__init__()
        self._simplified = simplified
        self._variants = variants
        self._dropped = dropped

    def __missing__(self, code: int) -> str:
        text = chr(code)
        for _ in range(_CHAIN):
            text = "".join(self._once(character) for character in text)
        self[code] = text
        return text

    def _once(self, character: str) -> str:
        if self._dropped.match(character):
            return ""
        if character in self._variants:
            return self._variants[character]
        folded = unicodedata.normalize("NFKC", character)
        return "".join(self._simplified.get(item, item) for item in folded)

    @classmethod
    def load(cls, folder: Path) -> CharacterTable:
        """Build the table from ``characters.toml`` and opencc's Traditional → Simplified characters.

        Raises:
            LexiconError: the file is missing or wrong.
        """
        data = read_table(folder, FILE)
        variants = mapping_of(data, "variants", FILE)
        if any(len(key) != 1 for key in variants):
            raise wrong(FILE, "[variants]", "every key must be one character")
        keep = texts_of(data, "keep_traditional", FILE, "keep_traditional")
        return cls(_simplified(frozenset(keep)), variants, re.compile(ranges_of(data, "drop", FILE)))


def _simplified(keep: frozenset[str]) -> dict[str, str]:
    """Simplified form by Traditional character, where they differ and both are one character.

    Character by character, so that the map back to the raw text stays exact; characters that are Simplified in some
    words (乾 in 乾隆) are in ``keep`` and have rules with contexts instead.
    """
    characters = [chr(code) for first, last in _HAN_BLOCKS for code in range(first, last)]
    # One call for all: the line breaks keep opencc's phrases from joining neighbours.
    converted = opencc.OpenCC("t2s").convert("\n".join(characters)).split("\n")
    pairs = zip(characters, converted, strict=True)
    return {old: new for old, new in pairs if old != new and len(new) == 1 and old not in keep}
