"""The stages that undo disguise: separators, numerals and rules with a context. Each reads a text and answers edits."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from triage.text.lexicon import (
    alternation,
    mapping_of,
    pattern_of,
    ranges_of,
    read_table,
    rows_of,
    text_of,
    texts_of,
    wrong,
)
from triage.text.track import Edit

# A stage reads a text and answers the changes to make, in order and not overlapping.
Stage = Callable[[str], list[Edit]]

SEPARATORS = "separators.toml"
NUMERALS = "numerals.toml"
RULES = "disguise.toml"

# Han characters, without 丨 (U+4E28), which scam texts use as a bar.
HAN = r"\u3400-\u4e27\u4e29-\u9fff\U00020000-\U000323af"
_NOT_SEPARATOR = re.compile(rf"[{HAN}A-Za-z0-9]")


def separator_stages(folder: Path) -> list[Stage]:
    """Stages that take separators out of words and numbers (``separators.toml``).

    Raises:
        LexiconError: the file is missing or wrong.
    """
    data = read_table(folder, SEPARATORS)
    marks = re.escape(text_of(data, "separators", SEPARATORS, "separators"))
    digit_marks = re.escape(text_of(data, "digit_separators", SEPARATORS, "digit_separators"))
    words = texts_of(data, "words", SEPARATORS, "words")
    run, spaced, digits = (_at_least_two(data, key) for key in ("min_run", "min_spaced_run", "min_digit_run"))
    one = "A-Za-z0-9"
    joined = [
        rf"[{HAN}](?:([{marks}])[{HAN}])(?:\1(?:[{HAN}]|[0-9](?![0-9]))){{{run - 2},}}",
        rf"(?<![{HAN}{one}])[{HAN}](?: [{HAN}]){{{spaced - 1},}}(?![{HAN}{one}])",
        # Only the first item of a run may start a match, so that a run that fails is read once.
        rf"(?<![{one}])(?<![{one}][{digit_marks}])[{one}](?:([{digit_marks}])[{one}])"
        rf"(?:\1[{one}]){{{digits - 2},}}(?![{one}])",
        r"(?:\([0-9]\)){3,}",
    ]
    stages: list[Stage] = [_joining(re.compile(pattern)) for pattern in joined]
    # Releases before 2026.11.6 have no pictures in their lexicon.
    pictures = f"|{ranges_of(data, 'pictures', SEPARATORS)}" if "pictures" in data else ""
    gap = rf"(?:[{marks}]{pictures}){{1,3}}"
    gate = re.compile(rf"[{HAN}]{gap}[{HAN}]")
    split_words = sorted({word for word in words if len(word) > 1}, key=len, reverse=True)
    split = re.compile("|".join(_gapped(word, gap) for word in split_words))
    stages.append(_joining(split, gate))
    stages.append(_stroke_stage(text_of(data, "stroke", SEPARATORS, "stroke"), words))
    return stages


def _at_least_two(data: Mapping[str, object], key: str) -> int:
    value = data.get(key)
    if not isinstance(value, int) or value < 2:
        raise wrong(SEPARATORS, key, f"must be a whole number of at least 2, got {value!r}")
    return value


def _gapped(word: str, gap: str) -> str:
    """A pattern for ``word`` with a gap in at least one place; the others may be closed."""
    first, rest = word[0], word[1:]
    loose = "".join(f"(?:{gap})?{re.escape(character)}" for character in rest)
    return f"(?!{re.escape(word)}){re.escape(first)}{loose}"


def _joining(pattern: re.Pattern[str], gate: re.Pattern[str] | None = None) -> Stage:
    """A stage that deletes all but letters, digits and Han characters inside the matches of ``pattern``."""

    def stage(text: str) -> list[Edit]:
        if gate is not None and gate.search(text) is None:
            return []
        return [edit for match in pattern.finditer(text) for edit in _deletions(text, match.start(), match.end())]

    return stage


def _deletions(text: str, start: int, end: int) -> list[Edit]:
    return [(at, at + 1, "") for at in range(start, end) if not _NOT_SEPARATOR.match(text[at])]


def _stroke_stage(stroke: str, words: tuple[str, ...]) -> Stage:
    """跑一男一栏一目 → 跑男栏目: the stroke goes when what is left holds one of ``words``."""
    item = rf"[{HAN}](?<!{stroke})"
    pattern = re.compile(rf"(?<!{stroke}){item}(?:{stroke}{item}){{3,}}(?!{stroke})")
    known = re.compile(alternation(words))

    def stage(text: str) -> list[Edit]:
        edits: list[Edit] = []
        for match in pattern.finditer(text):
            if known.search(match.group()[::2]):
                edits += [(at, at + 1, "") for at in range(match.start() + 1, match.end(), 2)]
        return edits

    return stage


@dataclass(frozen=True, slots=True)
class NumeralStage:
    """Spoken and formal numerals, and letters that stand for digits, become digits where they spell a number.

    Attributes:
        run: finds runs of digits, numerals and letters.
        digits: digit by numeral or letter.
        letters: the letters among ``digits``.
        spoken: numerals (幺) that make even a short run a number.
        min_number: length from which a run with Chinese numerals is a number.
        min_mixed: length from which digits mixed with letters are one.
    """

    run: re.Pattern[str]
    digits: Mapping[str, str]
    letters: frozenset[str]
    spoken: frozenset[str]
    min_number: int
    min_mixed: int

    def __call__(self, text: str) -> list[Edit]:
        return [
            (
                match.start(),
                match.end(),
                "".join(self.digits.get(item, item) for item in match.group()),
            )
            for match in self.run.finditer(text)
            if self._is_number(text, match.start(), match.end())
        ]

    def _is_number(self, text: str, start: int, end: int) -> bool:
        run = text[start:end]
        letters = sum(item in self.letters for item in run)
        plain = sum("0" <= item <= "9" for item in run)
        chinese = len(run) - letters - plain
        if not (letters or chinese) or len(set(run)) == 1:
            return False
        if letters and _inside_word(text, start, end):
            return False
        if not chinese:
            return len(run) >= self.min_mixed and plain >= max(3, letters)
        if any(item in self.spoken for item in run):
            return not letters
        return len(run) >= self.min_number and plain + chinese >= letters

    @classmethod
    def load(cls, folder: Path) -> NumeralStage:
        """Read ``numerals.toml``.

        Raises:
            LexiconError: the file is missing or wrong.
        """
        data = read_table(folder, NUMERALS)
        numerals, letters = (mapping_of(data, key, NUMERALS) for key in ("numerals", "letters"))
        digits = numerals | letters
        if any(len(key) != 1 or value not in "0123456789" or not value for key, value in digits.items()):
            raise wrong(NUMERALS, "[numerals], [letters]", "must map one character to one digit")
        bounds = data.get("min_number"), data.get("min_mixed")
        if not all(isinstance(bound, int) and bound >= 3 for bound in bounds):
            raise wrong(NUMERALS, "min_number, min_mixed", "must be whole numbers of at least 3")
        return cls(
            run=re.compile(f"[0-9{re.escape(''.join(digits))}]{{3,}}+"),
            digits=digits,
            letters=frozenset(letters),
            spoken=frozenset(text_of(data, "spoken", NUMERALS, "spoken")),
            min_number=int(data["min_number"]),
            min_mixed=int(data["min_mixed"]),
        )


def _inside_word(text: str, start: int, end: int) -> bool:
    """True when a Latin letter touches the span, so that its own letters are letters."""
    around = text[max(start - 1, 0) : start] + text[end : end + 1]
    return any(item.isascii() and item.isalpha() for item in around)


@dataclass(frozen=True, slots=True)
class ContextRule:
    """One rule of ``disguise.toml``.

    Attributes:
        name: for messages about the rule.
        near: the rule is tried only on texts that hold one of these characters.
        pattern: what to look for; the group ``x`` is what is replaced, the rest is context.
        to: the replacement.
    """

    name: str
    near: frozenset[str]
    pattern: re.Pattern[str]
    to: str

    def __call__(self, text: str) -> list[Edit]:
        return [(*match.span("x"), self.to) for match in self.pattern.finditer(text)]


def literal_stage(folder: Path) -> Stage:
    """A stage for the words of ``[literals]``, which are replaced wherever they stand.

    Raises:
        LexiconError: the file is missing or wrong, or a replacement holds a word that is itself replaced.
    """
    literals = mapping_of(read_table(folder, RULES), "literals", RULES)
    pattern = pattern_of(alternation(list(literals)), RULES, "[literals]")
    for word, new in literals.items():
        if pattern.search(new):
            raise wrong(
                RULES,
                f"[literals] {word!r}",
                f"its replacement {new!r} would be replaced again",
            )
    return lambda text: [(*match.span(), literals[match.group()]) for match in pattern.finditer(text)]


def context_rules(folder: Path) -> tuple[ContextRule, ...]:
    """The rules of ``[[rule]]``, in file order.

    Raises:
        LexiconError: the file is missing, or a rule lacks a field or its pattern has no group ``x``.
    """
    known = frozenset({"name", "near", "pattern", "to", "examples", "keep"})
    rules = []
    for number, row in enumerate(rows_of(read_table(folder, RULES), "rule", RULES, known), 1):
        name = text_of(row, "name", RULES, f"[[rule]] {number}")
        pattern = pattern_of(text_of(row, "pattern", RULES, name), RULES, name)
        if "x" not in pattern.groupindex:
            raise wrong(
                RULES,
                name,
                "the pattern needs a group (?P<x>…): the part that is replaced",
            )
        near = frozenset(text_of(row, "near", RULES, name))
        rules.append(ContextRule(name, near, pattern, text_of(row, "to", RULES, name, empty=True)))
    return tuple(rules)
