"""The answer to one request, and how a worker thread hands it to the event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from triage.decision import Decision


@dataclass(frozen=True, slots=True)
class Answer:
    """Decisions in the order of the texts, how many tokens were read for them, and which release decided."""

    decisions: Sequence[Decision]
    tokens: int
    model: str


def settler(
    loop: asyncio.AbstractEventLoop, future: asyncio.Future[list[Decision]]
) -> Callable[[list[Decision] | Exception], None]:
    """A function that settles a future from any thread; only its first call counts."""

    def settle(result: list[Decision] | Exception) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed, and with it the connection
            loop.call_soon_threadsafe(_settle, future, result)

    return settle


def _settle(future: asyncio.Future[list[Decision]], result: list[Decision] | Exception) -> None:
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
        future.exception()  # read, because perhaps nobody is left to read it
    else:
        future.set_result(result)
