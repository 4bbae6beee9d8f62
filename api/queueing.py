"""What waits for the model, and what runs next. Plain data and rules: no threads, no event loop, no engine.

Order. Every text has a rank, in seconds: when its request came, plus the time that the texts before it in the same
request take. The smallest rank runs first. So a request of one text is not stuck behind one of sixty-four, and a large
one is never starved: whoever comes later than a rank stands behind it.

Batches. The oldest window sets the tone; windows of the nearest length join it as long as the padded batch fits the
token budget and the padding that they bring is no more than they are worth.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from triage.decision import Decision
from triage.engine import Prepared
from triage.model.encoder import Logits
from triage.model.encoding import Window

# Seconds of rank that one token costs its own request. About what one core does; only the order depends on it.
SECONDS_PER_TOKEN: Final = 1 / 10_000
# Special tokens that every text gets.
SPECIAL: Final = 2
# Texts made ready in one go: enough to make the cost of the call vanish, few enough to keep the workers responsive.
CHUNK_TEXTS: Final = 16
CHUNK_CHARS: Final = 2_000
# Windows kept ready for the model, in batches: from these the like-sized ones are picked.
STOCK_BATCHES: Final = 4
# Padding that is always worth its while, in tokens: a run of its own would cost more.
FREE_PADDING: Final = 32


@dataclass(eq=False, slots=True)
class Message:
    """One text of a request on its way.

    Attributes:
        tokens: estimated from above until the text is prepared, then exact.
        left: windows that the model has not read yet.
    """

    ticket: Ticket
    index: int
    text: str
    tokens: int
    rank: float
    prepared: Prepared | None = None
    logits: list[Logits | None] = field(default_factory=list)
    left: int = 0

    def __lt__(self, other: Message) -> bool:
        return self.rank < other.rank


@dataclass(eq=False, slots=True)
class Slot:
    """One window that waits for the model, and where its result belongs."""

    message: Message
    index: int
    window: Window
    rank: float

    @property
    def tokens(self) -> int:
        return len(self.window.ids)


@dataclass(eq=False, slots=True)
class Ticket:
    """One accepted request.

    Attributes:
        deadline: ``time.monotonic`` after which nobody waits for it.
        settle: called once, with the decisions or with an error.
        open: False once it is answered, failed or dropped.
        tokens: tokens of its texts that were read.
    """

    deadline: float
    settle: Callable[[list[Decision] | Exception], None]
    decisions: list[Decision | None] = field(default_factory=list)
    left: int = 0
    open: bool = True
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Work:
    """What a worker does next: prepare texts or run windows, never both."""

    texts: Sequence[Message] = ()
    windows: Sequence[Slot] = ()


class WorkQueue:
    """Not thread-safe; its owner holds a lock.

    Args:
        batch_tokens: tokens in one batch, padding included.
        longest: most tokens that are read of one text.
    """

    def __init__(self, batch_tokens: int, longest: int) -> None:
        self.tickets: set[Ticket] = set()
        self.waiting = 0
        self._batch_tokens = batch_tokens
        self._longest = longest
        self._texts: list[Message] = []
        self._slots: list[Slot] = []
        self._ready = 0
        self._next_deadline = float("inf")

    def estimate(self, texts: Sequence[str]) -> int:
        """Tokens that the texts have at most: a Chinese character is one token or less."""
        return sum(self._estimate(text) for text in texts)

    def add(self, ticket: Ticket, texts: Sequence[str], now: float) -> None:
        """Let a request wait."""
        rank = now
        for index, text in enumerate(texts):
            message = Message(ticket, index, text, self._estimate(text), rank)
            rank += message.tokens * SECONDS_PER_TOKEN
            self.waiting += message.tokens
            heapq.heappush(self._texts, message)
        ticket.decisions = [None] * len(texts)
        ticket.left = len(texts)
        self.tickets.add(ticket)
        self._next_deadline = min(self._next_deadline, ticket.deadline)

    def prepared(self, message: Message, prepared: Prepared) -> bool:
        """Take what the engine made of a text; True when the model has nothing to read of it."""
        message.prepared = prepared
        message.tokens = prepared.tokens
        message.left = len(prepared.windows)
        message.logits = [None] * message.left
        rank = message.rank
        for index, window in enumerate(prepared.windows):
            slot = Slot(message, index, window, rank)
            rank += slot.tokens * SECONDS_PER_TOKEN
            self._slots.append(slot)
            self.waiting += slot.tokens
            self._ready += slot.tokens
        return not prepared.windows

    def read(self, slot: Slot, logits: Logits) -> bool:
        """Take the model's result; True when it was the last of its text."""
        message = slot.message
        message.logits[slot.index] = logits
        message.left -= 1
        return message.left == 0

    def decided(self, message: Message, decision: Decision) -> bool:
        """Take a decision; True when it was the last of its request."""
        ticket = message.ticket
        ticket.decisions[message.index] = decision
        ticket.tokens += message.tokens
        ticket.left -= 1
        return ticket.left == 0

    def close(self, ticket: Ticket) -> None:
        """Forget a request and everything of it that waits."""
        if not ticket.open:
            return
        ticket.open = False
        self.tickets.discard(ticket)
        if ticket.left:
            self.waiting -= sum(item.tokens for item in self._texts if item.ticket is ticket)
            self._texts = [item for item in self._texts if item.ticket is not ticket]
            heapq.heapify(self._texts)
            self._remove({slot for slot in self._slots if slot.message.ticket is ticket})

    def expired(self, now: float) -> Iterator[Ticket]:
        """Requests whose deadline has passed; the caller closes them."""
        if now < self._next_deadline:
            return
        yield from [ticket for ticket in self.tickets if ticket.deadline <= now]
        self._next_deadline = min((ticket.deadline for ticket in self.tickets), default=float("inf"))

    @property
    def more(self) -> bool:
        """Whether ``take`` would give something."""
        return bool(self._texts or self._slots)

    def take(self) -> Work | None:
        """What to do next, taken off the queue; None when nothing waits.

        Texts are prepared until enough windows lie ready to choose from, then the model runs.
        """
        if self._texts and self._ready < STOCK_BATCHES * self._batch_tokens:
            return Work(texts=self._take_texts())
        return Work(windows=self._take_batch()) if self._slots else None

    def _take_texts(self) -> list[Message]:
        chunk: list[Message] = []
        chars = 0
        while self._texts and len(chunk) < CHUNK_TEXTS and (not chunk or chars < CHUNK_CHARS):
            message = heapq.heappop(self._texts)
            self.waiting -= message.tokens
            chars += len(message.text)
            chunk.append(message)
        return chunk

    def _take_batch(self) -> list[Slot]:
        oldest = min(self._slots, key=lambda slot: slot.rank)
        batch = [oldest]
        shortest = longest = oldest.tokens
        for slot in sorted(self._slots, key=lambda slot: (abs(slot.tokens - oldest.tokens), slot.rank)):
            width = max(longest, slot.tokens)
            if slot is oldest or width - min(shortest, slot.tokens) > max(FREE_PADDING, min(shortest, slot.tokens)):
                continue
            if width * (len(batch) + 1) > self._batch_tokens:
                break
            batch.append(slot)
            shortest, longest = min(shortest, slot.tokens), width
        self._remove(set(batch))
        return batch

    def _remove(self, gone: set[Slot]) -> None:
        if gone:
            tokens = sum(slot.tokens for slot in gone)
            self._slots = [slot for slot in self._slots if slot not in gone]
            self._ready -= tokens
            self.waiting -= tokens

    def _estimate(self, text: str) -> int:
        return min(len(text) + SPECIAL, self._longest)
