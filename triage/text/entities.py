"""Things named in a text: numbers to call, links, cards, plates, contacts, amounts, times, roads and places.

They are looked for in the normalized text, so that disguised ones are found too, and answered in offsets of the raw
text. Patterns and their order are data (``entities.toml``, ``places.toml``); where two overlap, the rule that stands
first wins, and of one rule's matches the leftmost. The time is linear in the length of the text; no text raises.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from stdnum import luhn
from stdnum.cn import ric

from triage.decision import Entity
from triage.text.amounts import yuan
from triage.text.lexicon import (
    mapping_of,
    pattern_of,
    read_table,
    rows_of,
    text_of,
    texts_of,
    wrong,
)
from triage.text.normalize import Normalized

FILE = "entities.toml"
PLACES = "places.toml"

_FRAGMENT = re.compile(r"<<(\w+)>>")
# Fragments may hold fragments; deeper nesting is a loop.
_NESTING = 5
# Full-width marks end a link although NFKC makes ASCII of them: the writer's sentence goes on.
_SENTENCE_MARKS = frozenset("，！？；：（）、。“”【】")
_TRAILING_MARKS = ".,;:!?()[]&=-_~#*"
_FULL_DATE = re.compile(r"((?:19|20)\d{2})[-/.年](\d{1,2})[-/.月](\d{1,2})[日号]?")


@dataclass(frozen=True, slots=True)
class EntityRule:
    """One rule of ``entities.toml``.

    Attributes:
        kind: of the entities that it finds.
        near: the rule is tried only on texts that hold one of these characters; empty: on every text.
        pattern: the group ``x`` is the entity, the rest is context.
        check: accepts or refuses what matched.
        value: the canonical form; None or empty refuses the match.
    """

    kind: str
    near: frozenset[str]
    pattern: re.Pattern[str]
    check: Callable[[str], bool]
    value: Callable[[str], str | None]


class EntityFinder:
    """Finds entities. Holds no state between calls; safe to share among threads."""

    def __init__(self, rules: tuple[EntityRule, ...]) -> None:
        self._rules = rules

    @classmethod
    def load(cls, folder: Path) -> EntityFinder:
        """Read the rules of a lexicon folder.

        Raises:
            LexiconError: a file is missing or a rule is wrong.
        """
        data, places = read_table(folder, FILE), read_table(folder, PLACES)
        fragments = mapping_of(data, "fragments", FILE)
        stop = re.escape(text_of(places, "stop", PLACES, "stop"))
        fragments["name"] = rf"[^\W\d_a-zA-Z{stop}]"
        fragments["not_after"] = text_of(places, "not_after", PLACES, "not_after")
        generic, endings = (texts_of(places, key, PLACES, key) for key in ("generic", "endings"))
        checks = {**CHECKS, "named": _named(generic, endings)}
        known = frozenset({"kind", "near", "pattern", "check", "value"})
        rows = rows_of(data, "entity", FILE, known)
        return cls(tuple(_rule(row, number, fragments, checks) for number, row in enumerate(rows, 1)))

    def find(self, normalized: Normalized) -> tuple[Entity, ...]:
        """The entities of one text, by position, without overlap; offsets in the raw text."""
        text = normalized.text
        present = frozenset(text)
        taken = bytearray(len(text))
        found: list[Entity] = []
        for rule in self._rules:
            if rule.near and rule.near.isdisjoint(present):
                continue
            for match in rule.pattern.finditer(text):
                start, end = match.span("x")
                if rule.kind == "link":
                    end = _link_end(normalized, start, end)
                if start >= end or taken.find(1, start, end) >= 0:
                    continue
                entity = _entity(rule, normalized, start, end)
                if entity is not None:
                    taken[start:end] = b"\x01" * (end - start)
                    found.append(entity)
        return tuple(sorted(found, key=lambda entity: entity.start))


def _entity(rule: EntityRule, normalized: Normalized, start: int, end: int) -> Entity | None:
    text = normalized.text[start:end]
    if not rule.check(text):
        return None
    raw_start, raw_end = normalized.raw_span(start, end)
    value = _as_written(normalized.raw[raw_start:raw_end]) if rule.kind == "link" else rule.value(text)
    return Entity(rule.kind, raw_start, raw_end, value) if value else None


def _link_end(normalized: Normalized, start: int, end: int) -> int:
    """Where the link ends: before the first full-width mark of the raw text, without closing punctuation."""
    for at in range(start, end):
        if normalized.raw[normalized.starts[at]] in _SENTENCE_MARKS:
            end = at
            break
    while end > start and normalized.text[end - 1] in _TRAILING_MARKS:
        end -= 1
    return end


def _as_written(raw: str) -> str:
    """A link with its own letters (1oo86.example is another host than 10086.example), in ASCII and without gaps."""
    return "".join(item for item in unicodedata.normalize("NFKC", raw) if item.isprintable() and item != " ")


def _digits(text: str) -> str:
    return "".join(item for item in text if "0" <= item <= "9")


def _code(text: str) -> str:
    return text.replace(" ", "").replace("-", "").upper()


def _plate(text: str) -> str:
    return "".join(item for item in text if item.isalnum()).upper()


def _compact(text: str) -> str:
    return "".join(text.split())


def _date(text: str) -> str:
    """A full date as ``YYYY-MM-DD``, what follows it unchanged; anything else without spaces."""
    match = _FULL_DATE.match(text)
    if match is None:
        return _compact(text)
    year, month, day = match.groups()
    return f"{year}-{int(month):02d}-{int(day):02d}{_compact(text[match.end() :])}"


def _ric(text: str) -> bool:
    return bool(ric.is_valid(_code(text)))


def _luhn(text: str) -> bool:
    return bool(luhn.is_valid(_digits(text)))


def _any(text: str) -> bool:
    return True


CHECKS: Mapping[str, Callable[[str], bool]] = {
    "ric": _ric,
    "luhn": _luhn,
    "numeral": lambda text: yuan(text) is not None,
    "has_letter": lambda text: any(item.isalpha() for item in text),
    "has_digit": lambda text: any(item.isdigit() for item in text),
}
VALUES: Mapping[str, Callable[[str], str | None]] = {
    "digits": _digits,
    "code": _code,
    "plate": _plate,
    "yuan": yuan,
    "date": _date,
}


def _named(generic: tuple[str, ...], endings: tuple[str, ...]) -> Callable[[str], bool]:
    """A check that refuses what is no name: common words, also behind another character (条小路), and endings."""
    words = frozenset(generic)

    def check(text: str) -> bool:
        core = text.rstrip("0123456789号弄院")
        return not (core in words or (len(core) == 3 and core[1:] in words) or core.endswith(endings))

    return check


def _rule(
    row: Mapping[str, object],
    number: int,
    fragments: Mapping[str, str],
    checks: Mapping[str, Callable[[str], bool]],
) -> EntityRule:
    where = f"[[entity]] {number} ({row.get('kind')})"
    kind = text_of(row, "kind", FILE, where)
    pattern = pattern_of(_filled(text_of(row, "pattern", FILE, where), fragments, where), FILE, where)
    if "x" not in pattern.groupindex:
        raise wrong(FILE, where, "the pattern needs a group (?P<x>…): the entity")
    for key, table in (("check", checks), ("value", VALUES)):
        if key in row and row[key] not in table:
            raise wrong(FILE, where, f"unknown {key} {row[key]!r}; known: {sorted(table)}")
    near = frozenset(text_of(row, "near", FILE, where)) if "near" in row else frozenset()
    check = checks.get(str(row.get("check")), _any)
    value = VALUES.get(str(row.get("value")), _compact)
    return EntityRule(kind, near, pattern, check, value)


def _filled(pattern: str, fragments: Mapping[str, str], where: str) -> str:
    """``pattern`` with its fragments in place."""

    def fragment(match: re.Match[str]) -> str:
        if match.group(1) not in fragments:
            raise wrong(
                FILE,
                where,
                f"unknown fragment {match.group(1)!r}; known: {sorted(fragments)}",
            )
        return fragments[match.group(1)]

    for _ in range(_NESTING):
        pattern = _FRAGMENT.sub(fragment, pattern)
    if _FRAGMENT.search(pattern):
        raise wrong(FILE, where, "its fragments hold each other")
    return pattern
