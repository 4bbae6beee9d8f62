from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from triage.cases import audit, leases, reports
from triage.cases.models import DecisionRow, OutboxRow, Report
from triage.cases.reports import Attachment, Draft
from triage.cases.store import Store
from triage.errors import ReportConflict, ReportNotFound
from triage.testing import KeywordEngine

ENGINE = KeywordEngine()


def take(store: Store, draft: Draft, due: datetime, key: int = 1) -> tuple[int, bool]:
    with store.write() as session:
        report, fresh = reports.accept(session, key, draft, due)
        return report.id, fresh


def decide(store: Store, number: int, text: str) -> bool:
    (decision,) = ENGINE.classify([text])
    with store.write() as session:
        return reports.decide(session, number, decision)


def receipt(store: Store, number: int) -> reports.Receipt:
    with store.read() as session:
        return reports.receipts(session, [number])[number]


def kinds(store: Store, number: int) -> list[str]:
    with store.read() as session:
        return [event.kind for event in audit.history(session, number)]


def test_everything_that_was_given_is_kept(store: Store, due: datetime) -> None:
    when = datetime(2026, 11, 3, 8, 30, tzinfo=timezone(timedelta(hours=8)))
    media = (Attachment("image", "oss://tips/1.jpg", "楼道.jpg"), Attachment("audio", "oss://tips/2.amr"))
    number, fresh = take(store, Draft("wechat", "g1", "楼道堆物 👍", "e-1", "u-77", when, media), due)
    with store.read() as session:
        row = session.get_one(Report, number)
    assert fresh
    assert (row.channel, row.grid, row.text, row.external_id, row.reporter) == (
        "wechat",
        "g1",
        "楼道堆物 👍",
        "e-1",
        "u-77",
    )
    assert row.time == when
    assert row.attachments == [
        {"kind": "image", "ref": "oss://tips/1.jpg", "name": "楼道.jpg"},
        {"kind": "audio", "ref": "oss://tips/2.amr", "name": None},
    ]
    assert (row.status, row.reasons, row.label, row.deferred) == ("accepted", [], None, False)
    assert kinds(store, number) == ["accepted"]


def test_what_is_sure_is_dispatched_with_its_decision(store: Store, draft: Draft, due: datetime) -> None:
    number, _ = take(store, draft, due)
    assert decide(store, number, draft.text)
    found = receipt(store, number)
    assert (found.status, found.settled, found.reasons) == ("dispatched", True, [])
    assert found.decision == ENGINE.classify([draft.text])[0].to_json()
    with store.read() as session:
        (row,) = session.scalars(select(OutboxRow)).all()
        (events,) = [audit.history(session, number)]
        report = session.get_one(Report, number)
    assert (row.kind, row.report_id, row.delivered) == ("dispatch", number, None)
    assert row.payload == {
        "id": found.uid,
        "external_id": "2026-0001",
        "channel": "hotline",
        "grid": "丰城-03",
        "label": "telecom_fraud",
        "secondary": [],
        "urgency": "routine",
        "unit": "反诈中心",
    }
    assert [event.kind for event in events] == ["accepted", "decided", "dispatched"]
    assert [event.actor for event in events] == ["key:1", "model:keyword-1", "system"]
    assert (report.label, report.urgency) == ("telecom_fraud", "routine")


def test_what_is_not_sure_goes_to_review_with_reasons(store: Store, draft: Draft, due: datetime) -> None:
    number, _ = take(store, replace(draft, text="说不清楚的事"), due)
    assert decide(store, number, "说不清楚的事")
    found = receipt(store, number)
    assert (found.status, found.reasons) == ("review", ["low_confidence", "ambiguous"])
    assert kinds(store, number) == ["accepted", "decided", "queued"]
    with store.read() as session:
        assert session.scalars(select(OutboxRow)).all() == []


@pytest.mark.parametrize(
    ("text", "media", "reason"),
    [("", True, "media_only"), ("😀", True, "media_only"), ("😀", False, "media_only"), ("", False, "empty")],
)
def test_media_only_tips_go_to_review(
    store: Store, draft: Draft, due: datetime, text: str, media: bool, reason: str
) -> None:
    attachments = (Attachment("image", "oss://1"),) if media else ()
    number, _ = take(store, replace(draft, text=text, attachments=attachments), due)
    decide(store, number, text)
    found = receipt(store, number)
    assert (found.status, found.reasons) == ("review", [reason])
    assert found.decision
    assert found.decision["reasons"] == [reason]


def test_a_report_is_decided_once(store: Store, draft: Draft, due: datetime) -> None:
    number, _ = take(store, draft, due)
    assert decide(store, number, draft.text)
    before = receipt(store, number)
    assert not decide(store, number, "着火")
    with store.write() as session:
        assert not reports.refer(session, number, "model_failed")
    assert receipt(store, number) == before
    assert kinds(store, number) == ["accepted", "decided", "dispatched"]


def test_what_no_model_can_decide_goes_to_review(store: Store, draft: Draft, due: datetime) -> None:
    number, _ = take(store, draft, due)
    with store.write() as session:
        assert reports.refer(session, number, "model_failed")
    found = receipt(store, number)
    assert (found.status, found.reasons, found.decision) == ("review", ["model_failed"], None)


def test_an_answer_that_was_given_stays(store: Store, draft: Draft, due: datetime) -> None:
    number, _ = take(store, draft, due)
    assert not receipt(store, number).settled
    with store.write() as session:
        reports.defer(session, [number])
    given = receipt(store, number)
    assert (given.settled, given.status, given.decision) == (True, "accepted", None)
    decide(store, number, draft.text)
    assert receipt(store, number) == given
    with store.read() as session:
        report, body = reports.find(session, 1, given.uid)
    assert (report.status, body and body["label"]) == ("dispatched", "telecom_fraud")


def test_a_decision_that_came_first_wins_over_impatience(store: Store, draft: Draft, due: datetime) -> None:
    number, _ = take(store, draft, due)
    decide(store, number, draft.text)
    with store.write() as session:
        reports.defer(session, [number])
    assert receipt(store, number).status == "dispatched"


@pytest.mark.parametrize(
    "change",
    [
        {"text": "别的"},
        {"grid": "g2"},
        {"channel": "sms"},
        {"reporter": "u"},
        {"time": datetime(2026, 1, 1, tzinfo=UTC)},
        {"attachments": (Attachment("image", "oss://1"),)},
    ],
)
def test_another_report_under_the_same_name_is_a_conflict(
    store: Store, draft: Draft, due: datetime, change: dict[str, object]
) -> None:
    take(store, draft, due)
    with pytest.raises(ReportConflict) as error:
        take(store, replace(draft, **change), due)
    assert draft.text not in str(error.value)
    assert take(store, draft, due) == (1, False)


def test_every_name_that_was_used_stays_used(store: Store, draft: Draft, due: datetime) -> None:
    assert take(store, replace(draft, idempotency_key="k1"), due) == (1, True)
    assert take(store, replace(draft, idempotency_key="k2"), due) == (1, False)
    with pytest.raises(ReportConflict):
        take(store, replace(draft, external_id="e2", idempotency_key="k2"), due)
    # A request key is no external id, though it be spelt the same.
    assert take(store, replace(draft, external_id="k2"), due) == (2, True)


def test_names_belong_to_their_key_and_nameless_reports_are_new(store: Store, draft: Draft, due: datetime) -> None:
    assert take(store, draft, due, key=1) == (1, True)
    assert take(store, draft, due, key=2) == (2, True)
    nameless = replace(draft, external_id=None)
    assert [take(store, nameless, due) for _ in range(2)] == [(3, True), (4, True)]


def test_the_same_moment_in_another_zone_is_the_same_report(draft: Draft) -> None:
    here = datetime(2026, 1, 1, 8, tzinfo=timezone(timedelta(hours=8)))
    there = datetime(2026, 1, 1, tzinfo=UTC)
    assert replace(draft, time=here).fingerprint == replace(draft, time=there).fingerprint


def test_somebody_elses_report_is_not_found(store: Store, draft: Draft, due: datetime) -> None:
    number, _ = take(store, draft, due)
    uid = receipt(store, number).uid
    for key, wanted in ((2, uid), (1, "nonsense")):
        with store.read() as session, pytest.raises(ReportNotFound):
            reports.find(session, key, wanted)


def test_many_threads_with_one_name_make_one_report(store: Store, draft: Draft, due: datetime) -> None:
    found: list[tuple[int, bool]] = []
    threads = [threading.Thread(target=lambda: found.append(take(store, draft, due))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [number for number, _ in found] == [1] * 16
    assert sum(fresh for _, fresh in found) == 1


def test_many_threads_decide_once(store: Store, draft: Draft, due: datetime) -> None:
    number, _ = take(store, draft, due)
    found: list[bool] = []
    threads = [threading.Thread(target=lambda: found.append(decide(store, number, draft.text))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [False] * 7 + [True]
    with store.read() as session:
        assert len(session.scalars(select(DecisionRow)).all()) == len(session.scalars(select(OutboxRow)).all()) == 1


NAMES = st.sampled_from([None, "a", "b"])


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from([1, 2]), NAMES, NAMES, st.sampled_from("甲乙")), max_size=12))
def test_a_name_means_one_report(store: Store, requests: list[tuple[int, str | None, str | None, str]]) -> None:
    """Against a plain dict: the same names and content give the same report, other content a conflict."""
    due = datetime.now(UTC)
    # Each example in a transaction that is undone: the names of one must not meet those of another.
    known: dict[tuple[int, str, str], tuple[int, tuple[str | None, str]]] = {}
    with store.write() as session:
        for key, request, external, text in requests:
            names = [(key, kind, name) for kind, name in (("r", request), ("e", external)) if name is not None]
            content = (external, text)
            before = [known[name] for name in names if name in known]
            draft = Draft("c", "g", text, external, idempotency_key=request)
            if any(other != content for _, other in before):
                with pytest.raises(ReportConflict):
                    reports.accept(session, key, draft, due)
                continue
            report, fresh = reports.accept(session, key, draft, due)
            assert fresh == (not before)
            assert all(report.id == number for number, _ in before)
            known |= dict.fromkeys(names, (report.id, content))
        session.rollback()


def test_a_lease_is_held_by_one_and_returns(store: Store, draft: Draft) -> None:
    start = datetime.now(UTC)
    later, last = start + timedelta(seconds=10), start + timedelta(seconds=30)
    for name in "abc":
        take(store, replace(draft, external_id=name), later)
    with store.write() as session:
        assert leases.claim(session, 9, start, last) == []
    with store.write() as session:
        assert leases.claim(session, 2, later, last) == [
            leases.Lease(1, draft.text, 2),
            leases.Lease(2, draft.text, 2),
        ]
    with store.write() as session:
        assert [lease.number for lease in leases.claim(session, 9, later, last)] == [3]
    decide(store, 2, draft.text)
    with store.write() as session:
        for number in (1, 2):
            leases.release(session, leases.Lease(number, draft.text, 2), later, counted=False)
        leases.release(session, leases.Lease(3, draft.text, 2), later, counted=True)
    with store.write() as session:
        assert leases.claim(session, 9, later, last) == [
            leases.Lease(1, draft.text, 2),
            leases.Lease(3, draft.text, 3),
        ]
        assert reports.pending(session) == 2


def test_a_lease_that_ran_out_is_not_given_back_for_its_next_holder(store: Store, draft: Draft) -> None:
    start = datetime.now(UTC)
    later = start + timedelta(seconds=10)
    take(store, draft, start)
    with store.write() as session:
        assert leases.claim(session, 1, start, later) == [leases.Lease(1, draft.text, 2)]
        leases.release(session, leases.Lease(1, draft.text, 1), start, counted=False)
        assert leases.claim(session, 1, start, later) == []
        assert leases.claim(session, 1, later, later) == [leases.Lease(1, draft.text, 3)]


def test_two_that_claim_at_once_get_different_reports(store: Store, draft: Draft) -> None:
    now = datetime.now(UTC)
    for number in range(40):
        take(store, replace(draft, external_id=str(number)), now)
    found: list[int] = []

    def claim() -> None:
        for _ in range(5):
            with store.write() as session:
                got = leases.claim(session, 3, datetime.now(UTC), now + timedelta(minutes=1))
            found.extend(lease.number for lease in got)

    threads = [threading.Thread(target=claim) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(1, 41))
