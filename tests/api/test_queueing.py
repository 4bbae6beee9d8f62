from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.queueing import CHUNK_TEXTS, SECONDS_PER_TOKEN, Message, Slot, Ticket, Work, WorkQueue
from triage.testing import KeywordEngine

ENGINE = KeywordEngine()
LATE = float("inf")


def queue(batch_tokens: int = 512) -> WorkQueue:
    return WorkQueue(batch_tokens, 4096)


def ticket(deadline: float = LATE) -> Ticket:
    return Ticket(deadline, lambda _: None)


def prepare(waits: WorkQueue, messages: Sequence[Message]) -> None:
    for message, item in zip(messages, ENGINE.prepare([m.text for m in messages]), strict=True):
        waits.prepared(message, item)


def take(waits: WorkQueue) -> Work:
    work = waits.take()
    assert work is not None
    return work


def batches(waits: WorkQueue) -> list[list[Slot]]:
    found = []
    while work := waits.take():
        prepare(waits, work.texts)
        if work.windows:
            found.append(list(work.windows))
    return found


def lengths(found: list[list[Slot]]) -> list[list[int]]:
    return [[slot.tokens for slot in batch] for batch in found]


def test_nothing_waits() -> None:
    waits = queue()
    assert waits.take() is None
    assert not waits.more
    assert waits.waiting == 0


def test_one_text_is_prepared_and_then_run() -> None:
    waits = queue()
    waits.add(ticket(), ["着火"], now=0)
    assert waits.waiting == 4
    work = take(waits)
    assert [message.text for message in work.texts] == ["着火"]
    prepare(waits, work.texts)
    assert waits.waiting == 4
    work = take(waits)
    assert [slot.tokens for slot in work.windows] == [4]
    assert waits.waiting == 0


def test_texts_are_prepared_in_chunks() -> None:
    waits = queue()
    waits.add(ticket(), ["啊"] * 40 + ["啊" * 1500] * 3, now=0)
    sizes = []
    while (work := waits.take()) and work.texts:
        sizes.append([len(message.text) for message in work.texts])
    assert sizes == [[1] * CHUNK_TEXTS, [1] * CHUNK_TEXTS, [1] * 8 + [1500, 1500], [1500]]


def test_batches_hold_the_budget_with_padding() -> None:
    waits = queue(100)
    waits.add(ticket(), ["啊" * 18] * 12, now=0)
    assert lengths(batches(waits)) == [[20] * 5, [20] * 5, [20] * 2]


def test_the_oldest_sets_the_tone_and_its_like_join() -> None:
    waits = queue(400)
    for now, size in enumerate((98, 8, 96, 248, 9, 95)):
        waits.add(ticket(), ["啊" * size], now)
    assert lengths(batches(waits)) == [[100, 98, 97], [10, 11], [250]]


def test_a_small_request_overtakes_the_rest_of_a_large_one() -> None:
    waits = queue(100)
    large, small, later = ticket(), ticket(), ticket()
    waits.add(large, ["啊" * 98] * 10, now=0)
    waits.add(small, ["啊" * 98], now=150 * SECONDS_PER_TOKEN)
    waits.add(later, ["啊" * 98], now=2000 * SECONDS_PER_TOKEN)
    order = [batch[0].message.ticket for batch in batches(waits)]
    assert order == [large, large, small, *[large] * 8, later]


def test_a_closed_request_leaves_nothing_behind() -> None:
    waits = queue()
    first, second = ticket(), ticket()
    waits.add(first, ["啊" * 600] * 2, now=0)
    prepare(waits, take(waits).texts)
    waits.add(first_more := ticket(), ["啊" * 10], now=0)
    waits.add(second, ["啊" * 4], now=1)
    waits.close(first)
    waits.close(first)
    waits.close(first_more)
    assert waits.waiting == 6
    assert [batch[0].message.ticket for batch in batches(waits)] == [second]
    assert (waits.waiting, waits.tickets) == (0, {second})


def test_what_expired_is_named_once() -> None:
    waits = queue()
    soon, late = ticket(5), ticket(9)
    waits.add(late, ["a"], now=0)
    waits.add(soon, ["a"], now=0)
    assert list(waits.expired(4.9)) == []
    found = []
    for item in waits.expired(5):
        found.append(item)
        waits.close(item)
    assert found == [soon]
    assert list(waits.expired(8)) == []
    assert list(waits.expired(9)) == [late]


def test_the_estimate_is_never_under_what_is_read() -> None:
    waits = queue()
    for text in ("", "着火", "啊" * 250, "啊" * 4000):
        read = ENGINE.prepare([text])[0].tokens
        assert waits.estimate([text]) >= min(read, len(text))


@given(
    st.lists(st.lists(st.integers(0, 900), min_size=1, max_size=8), max_size=12),
    st.sampled_from([64, 128, 512]),
    st.sets(st.integers(0, 11)),
)
def test_every_window_runs_once_and_the_books_balance(
    requests: list[list[int]], budget: int, leaving: set[int]
) -> None:
    waits = queue(budget)
    tickets = [ticket() for _ in requests]
    for now, (item, sizes) in enumerate(zip(tickets, requests, strict=True)):
        waits.add(item, ["啊" * size for size in sizes], now / 1000)
    left = {id(tickets[index]) for index in leaving if index < len(tickets)}
    seen: list[Slot] = []
    rounds = 0
    while work := waits.take():
        rounds += 1
        prepare(waits, [message for message in work.texts if message.ticket.open])
        seen.extend(work.windows)
        padded = max((slot.tokens for slot in work.windows), default=0) * len(work.windows)
        assert padded <= budget or len(work.windows) == 1
        if rounds == 3:
            for item in tickets:
                if id(item) in left:
                    waits.close(item)
        if rounds > 3:
            assert all(slot.message.ticket.open for slot in work.windows)
    assert waits.waiting == 0
    assert waits._ready == 0
    assert len({id(slot) for slot in seen}) == len(seen)
    for item, sizes in zip(tickets, requests, strict=True):
        if id(item) not in left:
            expected = sum(len(found.windows) for found in ENGINE.prepare(["啊" * size for size in sizes]))
            assert sum(slot.message.ticket is item for slot in seen) == expected


@pytest.mark.parametrize("size", [300, 5000])
def test_one_text_longer_than_everything_still_runs(size: int) -> None:
    waits = queue(64)
    waits.add(ticket(), ["啊" * size], now=0)
    assert all(len(batch) == 1 for batch in batches(waits))
