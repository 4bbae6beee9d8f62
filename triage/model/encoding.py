"""Normalized text to token ids: the only copy, used by training, evaluation, export and serving.

Before tokenizing, what carries no meaning of its own is made canonical: a link becomes ``网址``, a long number
``号码``, runs of one repeated sign or Chinese character shrink, Latin letters are upper-cased (the vocabulary holds APP
whole, no ``app``).
That keeps the model from learning hosts and numbers by heart and shortens what it must read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from triage.errors import ReleaseCorrupt
from triage.text.normalize import Normalized

# One alternation, each branch linear: links with a scheme or a bare host, long numbers, runs of one sign. Under the
# ASCII flag a Chinese character is a sign too: 哈哈哈哈哈 shrinks as ！！！！！ does.
_CANONICAL = re.compile(
    r"(?P<link>(?:https?://|www\.)[!-~]+|(?<![A-Za-z0-9@.-])(?:[A-Za-z0-9-]{1,63}\.){1,4}[A-Za-z]{2,10}(?![A-Za-z0-9])"
    r"(?:[/?][!-~]*)?)"
    r"|(?P<number>(?<!\d)\d{7,}(?!\d))"
    r"|(?P<run>([^\w\s])\4{3,})",
    flags=re.ASCII,
)
_LINK, _NUMBER = "网址", "号码"
_RUN_KEPT = 3


@dataclass(frozen=True, slots=True)
class ModelText:
    """What the tokenizer sees, with a map back to the normalized text.

    Attributes:
        text: canonical text.
        starts: for each of its characters, the first character of the normalized text that it stands for.
        ends: one past the last.
    """

    text: str
    starts: Sequence[int]
    ends: Sequence[int]


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of one message that fits the model.

    Attributes:
        ids: token ids, opening and closing special tokens included; at most ``max_tokens``.
        spans: for each id, (start, end) in the raw text; (0, 0) for special tokens.
    """

    ids: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]

    @property
    def read(self) -> tuple[int, int]:
        """The span of the raw text that the window covers."""
        return self.spans[1][0], max(end for _, end in self.spans)


def canonical(text: str) -> ModelText:
    """Make links, long numbers, runs and letter case canonical. Linear in the length."""
    parts: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    at = 0
    for match in _CANONICAL.finditer(text):
        _copy(text, at, match.start(), parts, starts, ends)
        word = {"link": _LINK, "number": _NUMBER}.get(match.lastgroup or "")
        word = word or match.group()[:_RUN_KEPT]
        parts.append(word)
        starts.extend([match.start()] * len(word))
        ends.extend([match.end()] * len(word))
        at = match.end()
    _copy(text, at, len(text), parts, starts, ends)
    return ModelText("".join(parts), starts, ends)


def _copy(text: str, start: int, end: int, parts: list[str], starts: list[int], ends: list[int]) -> None:
    # str.upper() may change the length (ß); those characters stay as they are.
    parts.append("".join(up if len(up := c.upper()) == 1 else c for c in text[start:end]))
    starts.extend(range(start, end))
    ends.extend(range(start + 1, end + 1))


class Encoding:
    """Turns normalized texts into windows of ids.

    Args:
        tokenizer: without truncation and padding.
        max_tokens: longest window, special tokens included; at least 8.
        overlap: tokens that neighbouring windows share; under half of ``max_tokens``.
    """

    def __init__(self, tokenizer: Tokenizer, max_tokens: int = 256, overlap: int = 64) -> None:
        if max_tokens < 8 or not 0 <= overlap < max_tokens // 2:
            raise ReleaseCorrupt(
                f"编码参数无效：max_tokens={max_tokens}，overlap={overlap}",
                f"bad encoding: max_tokens={max_tokens}, overlap={overlap}",
            )
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        self.overlap = overlap
        self.opening, self.closing = tokenizer.encode("").ids
        known = (tokenizer.token_to_id(name) for name in ("<unk>", "[UNK]"))
        self.unknown = next((number for number in known if number is not None), -1)

    @classmethod
    def load(cls, path: Path, max_tokens: int = 256, overlap: int = 64) -> Encoding:
        """Read ``tokenizer.json``.

        Raises:
            ReleaseCorrupt: the file is not a tokenizer, or it does not put one token before and one after the text.
        """
        try:
            return cls(Tokenizer.from_file(str(path)), max_tokens, overlap)
        except ReleaseCorrupt:
            raise
        except Exception as error:  # tokenizers raises bare Exception
            raise ReleaseCorrupt(f"分词器 {path.name} 无法读取", f"cannot read the tokenizer {path.name}") from error

    def windows(self, messages: Iterable[Normalized]) -> list[list[Window]]:
        """Windows of each message, in order; at least one, empty text gives the two special tokens alone."""
        messages = list(messages)
        texts = [canonical(message.text) for message in messages]
        encoded = self.tokenizer.encode_batch([text.text for text in texts], add_special_tokens=False)
        return [
            self._cut(found.ids, _raw_spans(found.offsets, text, message))
            for found, text, message in zip(encoded, texts, messages, strict=True)
        ]

    def _cut(self, ids: Sequence[int], spans: Sequence[tuple[int, int]]) -> list[Window]:
        room = self.max_tokens - 2
        step = room - self.overlap
        starts = range(0, max(1, len(ids) - self.overlap), step) if len(ids) > room else range(1)
        return [
            Window(
                (self.opening, *ids[start : start + room], self.closing),
                ((0, 0), *spans[start : start + room], (0, 0)),
            )
            for start in starts
        ]


def _raw_spans(offsets: Sequence[tuple[int, int]], text: ModelText, message: Normalized) -> list[tuple[int, int]]:
    spans = []
    for start, end in offsets:
        if start >= end:
            spans.append((0, 0))
        else:
            spans.append(message.raw_span(text.starts[start], text.ends[end - 1]))
    return spans
