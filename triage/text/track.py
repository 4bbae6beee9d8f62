"""A text under change that remembers where each of its characters came from."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

# One change: the span [start, end) of the current text, and what stands there instead.
Edit = tuple[int, int, str]


class Tracked:
    """A text and, for each of its code points, the raw span that it stands for.

    Attributes:
        text: the current text.
        starts: first raw code point by position; non-decreasing.
        ends: one past the last raw code point by position; non-decreasing.
    """

    __slots__ = ("ends", "starts", "text")

    def __init__(self, raw: str) -> None:
        self.text = raw
        self.starts = array("I", range(len(raw)))
        self.ends = array("I", range(1, len(raw) + 1))

    def apply(self, edits: Sequence[Edit]) -> bool:
        """Make ``edits``: ordered, not overlapping, spans nonempty.

        A replacement of the same length maps character by character; any other stands as a whole for the span that it
        replaces, which keeps the map monotone.

        Returns:
            True when the text changed.
        """
        changed = [edit for edit in edits if self.text[edit[0] : edit[1]] != edit[2]]
        if not changed:
            return False
        pieces: list[str] = []
        starts, ends = array("I"), array("I")
        last = 0
        for start, end, new in changed:
            pieces += (self.text[last:start], new)
            if len(new) == end - start:
                starts += self.starts[last:end]
                ends += self.ends[last:end]
            else:
                starts += self.starts[last:start]
                ends += self.ends[last:start]
                starts.extend([self.starts[start]] * len(new))
                ends.extend([self.ends[end - 1]] * len(new))
            last = end
        pieces.append(self.text[last:])
        starts += self.starts[last:]
        ends += self.ends[last:]
        self.text, self.starts, self.ends = "".join(pieces), starts, ends
        return True

    def replace_each(self, pieces: Sequence[str]) -> None:
        """Put ``pieces[i]`` (of any length) where the i-th code point stands."""
        if all(len(piece) == 1 for piece in pieces):
            self.text = "".join(pieces)
            return
        starts, ends = array("I"), array("I")
        for piece, start, end in zip(pieces, self.starts, self.ends, strict=True):
            if len(piece) == 1:
                starts.append(start)
                ends.append(end)
            elif piece:
                starts.extend([start] * len(piece))
                ends.extend([end] * len(piece))
        self.text, self.starts, self.ends = "".join(pieces), starts, ends
