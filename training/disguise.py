"""Disguise words as senders of scams do, in twelve families: to test what reads them, and to train on.

The tables stand in ``data/disguise.toml``, apart from the lexicon that undoes disguise. Homophones and Latin spellings
come from pypinyin; Traditional characters from opencc.
"""

from __future__ import annotations

import re
import tomllib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any

import opencc
from pypinyin import Style, lazy_pinyin

from triage.errors import CorpusError

FILE = "disguise.toml"
# Of a text without any listed word, so many other words are disguised.
_OTHER_WORDS = 4
_ZERO_WIDTH = "\u200b\u200c\u200d\u2060\ufeff"
_PICTURES = "🔥💥✨🌟💎🎁👉👇✅❗💯🌹🍎🐟🚀"
_HAN_RUN = re.compile("[\u4e00-\u9fff]+")
_FULL_WIDTH = {code: code + 0xFEE0 for code in range(0x21, 0x7F)} | {0x20: 0x3000}

Family = Callable[["Disguiser", str, Random], str]


@dataclass(frozen=True)
class Disguiser:
    """Changes a text in the way of one family; a reader still understands it.

    Attributes:
        words: what is hidden first, the longest first.
        marks: what is put between characters.
        emoji, look_alikes, split, latin: replacements by word or character.
        digits: rows of ten other signs for the digits.
    """

    words: Sequence[str]
    marks: Sequence[str]
    emoji: Mapping[str, str]
    look_alikes: Mapping[str, str]
    split: Mapping[str, str]
    latin: Mapping[str, str]
    digits: Sequence[str]

    @classmethod
    def load(cls, data: Path) -> Disguiser:
        """Read ``disguise.toml`` of a data folder.

        Raises:
            CorpusError: the file is missing or wrong.
        """
        file = data / FILE
        try:
            found: Mapping[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
            return cls(
                words=sorted(found["words"], key=len, reverse=True),
                marks=found["marks"],
                emoji=found["emoji"],
                look_alikes=found["look_alikes"],
                split=found["split"],
                latin=found["latin"],
                digits=list(found["digits"].values()),
            )
        except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError) as error:
            raise CorpusError(f"{file} 无效：{error}", f"bad {file}: {error}") from error

    def __call__(self, text: str, family: str, random: Random) -> str:
        """Disguise ``text``; it comes back as it is where the family finds nothing to change (digits without digits).

        Args:
            text: a message.
            family: a key of ``FAMILIES``.
            random: decides which words and how.
        """
        return FAMILIES[family](self, text, random)

    def hide(self, text: str, random: Random, change: Callable[[str], str]) -> str:
        """Apply ``change`` to the listed words of a text, or to some others where it has none."""
        if self._listed.search(text):
            return self._listed.sub(lambda found: change(found.group()), text)
        places = [
            (m.start() + at, m.start() + at + 2) for m in _HAN_RUN.finditer(text) for at in range(0, len(m[0]) - 1, 2)
        ]
        for start, end in sorted(random.sample(places, min(_OTHER_WORDS, len(places))), reverse=True):
            text = text[:start] + change(text[start:end]) + text[end:]
        return text

    @cached_property
    def _listed(self) -> re.Pattern[str]:
        return re.compile("|".join(map(re.escape, self.words)))

    @cached_property
    def _homophones(self) -> Mapping[str, str]:
        """Common characters (level 1 of GB 2312) by their sound without tone."""
        common = [
            bytes([row, cell]).decode("gb2312", errors="ignore")
            for row in range(0xB0, 0xD8)
            for cell in range(0xA1, 0xFF)
        ]
        found: dict[str, str] = defaultdict(str)
        for character in filter(None, common):
            found[lazy_pinyin(character)[0]] += character
        return found

    @cached_property
    def _traditional(self) -> opencc.OpenCC:
        return opencc.OpenCC("s2t")

    def full_width(self, text: str, random: Random) -> str:
        return text.translate(_FULL_WIDTH)

    def symbols(self, text: str, random: Random) -> str:
        mark = random.choice(self.marks)
        return self.hide(text, random, lambda word: mark.join(word) if len(word) > 1 else word)

    def pictures(self, text: str, random: Random) -> str:
        return self.hide(text, random, lambda word: self.emoji.get(word) or random.choice(_PICTURES).join(word))

    def zero_width(self, text: str, random: Random) -> str:
        return "".join(c + random.choice(_ZERO_WIDTH) if random.random() < 0.5 else c for c in text)

    def homophones(self, text: str, random: Random) -> str:
        def change(word: str) -> str:
            at = random.randrange(len(word))
            alike = [c for c in self._homophones.get(lazy_pinyin(word[at])[0], "") if c != word[at]]
            return word[:at] + random.choice(alike) + word[at + 1 :] if alike else word

        return self.hide(text, random, change)

    def similar_shapes(self, text: str, random: Random) -> str:
        return self.hide(text, random, lambda word: self._one(word, self.look_alikes, random, random.choice))

    def split_characters(self, text: str, random: Random) -> str:
        return self.hide(text, random, lambda word: self._one(word, self.split, random, str))

    def traditional(self, text: str, random: Random) -> str:
        converted: str = self._traditional.convert(text)
        return converted

    def pinyin(self, text: str, random: Random) -> str:
        def change(word: str) -> str:
            style = random.choice((Style.NORMAL, Style.FIRST_LETTER))
            sounds = lazy_pinyin(word, style=style)
            at = random.randrange(len(word))
            whole = random.random() < 0.5
            return "".join(
                sound if whole or i == at else c for i, (c, sound) in enumerate(zip(word, sounds, strict=True))
            )

        return self.hide(text, random, change)

    def numerals(self, text: str, random: Random) -> str:
        signs = random.choice(self.digits)
        return re.sub("[0-9]", lambda found: signs[int(found.group())], text)

    def foreign_letters(self, text: str, random: Random) -> str:
        return re.sub("[A-Za-z]", lambda found: random.choice(self.latin.get(found[0].lower(), found[0])), text)

    def order(self, text: str, random: Random) -> str:
        """Spaces all through, the words backwards, or one character a line."""
        way = random.randrange(3)
        if way == 0:
            return " ".join(text)
        if way == 1:
            return self.hide(text, random, lambda word: word[::-1])
        return self.hide(text, random, lambda word: "\n".join(word))

    def _one(self, word: str, table: Mapping[str, str], random: Random, choose: Callable[[str], str]) -> str:
        known = [at for at, character in enumerate(word) if character in table]
        if not known:
            return word
        at = random.choice(known)
        return word[:at] + choose(table[word[at]]) + word[at + 1 :]


FAMILIES: Mapping[str, Family] = {
    "full_width": Disguiser.full_width,
    "symbols": Disguiser.symbols,
    "emoji": Disguiser.pictures,
    "zero_width": Disguiser.zero_width,
    "homophones": Disguiser.homophones,
    "look_alikes": Disguiser.similar_shapes,
    "split": Disguiser.split_characters,
    "traditional": Disguiser.traditional,
    "pinyin": Disguiser.pinyin,
    "digits": Disguiser.numerals,
    "latin": Disguiser.foreign_letters,
    "order": Disguiser.order,
}
