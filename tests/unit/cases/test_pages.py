from __future__ import annotations

import random
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from triage.cases import pages, reports
from triage.cases.pages import Wanted
from triage.cases.reports import Draft
from triage.cases.store import Store
from triage.errors import CursorUnreadable
from triage.testing import KeywordEngine

ENGINE = KeywordEngine()


def add(store: Store, count: int, due: datetime, key: int = 1, **given: str) -> list[str]:
    draft = replace(Draft("hotline", "g1", "天气"), **given)
    uids = []
    for _ in range(count):
        with store.write() as session:
            uids.append(reports.accept(session, key, draft, due)[0].uid)
    return uids


def walk(store: Store, wanted: Wanted, limit: int, between: object = None) -> list[str]:
    found: list[str] = []
    cursor = None
    while True:
        with store.read() as session:
            page = pages.page(session, wanted, cursor, limit)
        assert len(page.rows) <= limit
        found += [report.uid for report, _ in page.rows]
        cursor = page.cursor
        if callable(between):
            between()
        if cursor is None:
            return found


@pytest.mark.parametrize("limit", [1, 3, 4, 12, 200])
def test_pages_hold_everything_once_newest_first(store: Store, due: datetime, limit: int) -> None:
    uids = add(store, 12, due)
    add(store, 2, due, key=2)
    assert walk(store, Wanted(1), limit) == uids[::-1]


def test_pages_are_stable_while_reports_come_in(store: Store, due: datetime) -> None:
    before = add(store, 30, due)
    stop = threading.Event()

    def keep_adding() -> None:
        while not stop.is_set():
            add(store, 1, due)

    threads = [threading.Thread(target=keep_adding) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            found = walk(store, Wanted(1), random.Random(0).randint(2, 7))
            assert len(set(found)) == len(found)
            assert found[-30:] == before[::-1]
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_filters(store: Store, due: datetime) -> None:
    add(store, 2, due, grid="g1", channel="sms")
    (fire,) = add(store, 1, due, grid="g2", text="着火")
    (odd,) = add(store, 1, due, grid="g2", text="说不清")
    with store.write() as session:
        for uid, text in ((fire, "着火"), (odd, "说不清")):
            report, _ = reports.find(session, 1, uid)
            reports.decide(session, report.id, ENGINE.classify([text])[0])
    assert walk(store, Wanted(1, grid="g2"), 9) == [odd, fire]
    assert walk(store, Wanted(1, status="dispatched"), 9) == [fire]
    assert walk(store, Wanted(1, status="review"), 9) == [odd]
    assert walk(store, Wanted(1, label="fire_hazard", grid="g2"), 9) == [fire]
    assert walk(store, Wanted(1, label="fire_hazard", grid="g1"), 9) == []
    assert len(walk(store, Wanted(1, channel="sms"), 1)) == 2
    with store.read() as session:
        (row,) = pages.page(session, Wanted(1, status="dispatched"), None, 9).rows
    assert row[1] == ENGINE.classify(["着火"])[0].to_json()


def test_since_is_in_and_until_is_out(store: Store, due: datetime) -> None:
    uids = add(store, 3, due)
    with store.read() as session:
        moments = [reports.find(session, 1, uid)[0].received for uid in uids]
    assert walk(store, Wanted(1, since=moments[1]), 9) == uids[:0:-1]
    assert walk(store, Wanted(1, until=moments[1]), 9) == uids[:1]
    assert walk(store, Wanted(1, since=datetime.now(UTC) + timedelta(seconds=1)), 9) == []


def test_strange_cursors_are_refused(store: Store, due: datetime) -> None:
    (theirs,) = add(store, 1, due, key=2)
    for cursor in ("", "x", theirs):
        with store.read() as session, pytest.raises(CursorUnreadable):
            pages.page(session, Wanted(1), cursor, 9)
