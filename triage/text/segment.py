"""Chinese words with their offsets: the only door to jieba.

jieba's module-level tokenizer is shared, loads lazily and caches through marshal in a shared temp folder. This one is
its own instance, reads the dictionary itself and writes nothing.
"""

from __future__ import annotations

import logging
import threading
import warnings
from pathlib import Path
from typing import Any

from triage.text.lexicon import read_lines, wrong

FILE = "words.txt"


class Segmenter:
    """Cuts text into words. Loads its dictionary at the first use or by ``warm``; safe to share among threads."""

    def __init__(self, words: tuple[tuple[str, int, str], ...]) -> None:
        self._domain = words
        self._tokenizer: Any = None
        self._lock = threading.Lock()

    @classmethod
    def load(cls, folder: Path) -> Segmenter:
        """Read the domain dictionary (``words.txt``) of a lexicon folder; jieba itself is loaded later.

        Raises:
            LexiconError: the file is missing, or a line is not ``word frequency tag``.
        """
        return cls(tuple(_entry(number, line) for number, line in read_lines(folder, FILE)))

    def warm(self) -> None:
        """Load jieba and its dictionary now: about a second once, nothing afterwards."""
        if self._tokenizer is None:
            with self._lock:
                if self._tokenizer is None:
                    self._tokenizer = _tokenizer(self._domain)

    def words(self, text: str) -> list[tuple[int, int, str]]:
        """``(start, end, word)`` in code points of ``text``, in order and without gaps."""
        self.warm()
        return [(start, end, word) for word, start, end in self._tokenizer.tokenize(text)]


def _entry(number: int, line: str) -> tuple[str, int, str]:
    fields = line.split()
    if len(fields) != 3 or not fields[1].isdecimal() or int(fields[1]) < 1:
        raise wrong(FILE, f"line {number}", "must be: word frequency tag")
    return fields[0], int(fields[1]), fields[2]


def _tokenizer(domain: tuple[tuple[str, int, str], ...]) -> Any:
    """An own tokenizer with jieba's dictionary and the domain's words."""
    with warnings.catch_warnings():
        # jieba imports pkg_resources and has invalid escapes in its patterns; neither is ours to mend.
        warnings.simplefilter("ignore")
        import jieba

        jieba.setLogLevel(logging.WARNING)
        tokenizer = jieba.Tokenizer()
        # What Tokenizer.initialize does, without its cache file.
        tokenizer.FREQ, tokenizer.total = tokenizer.gen_pfdict(tokenizer.get_dict_file())
    tokenizer.initialized = True
    for word, frequency, tag in domain:
        tokenizer.add_word(word, frequency, tag)
    return tokenizer
