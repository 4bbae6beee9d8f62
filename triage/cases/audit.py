"""The audit chain: what happened, in order, each event sealed with the hash of the one before.

Whoever changes, inserts or removes an event breaks every seal that follows. Whoever recomputes all seals, or cuts the
end off, is found out by a head that was noted elsewhere before: ``verify`` returns the head and takes one to compare.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from triage.cases.models import Event
from triage.errors import AuditBroken

FIRST: Final = "0" * 64
# Events that ``verify`` holds in memory at a time.
STRETCH: Final = 1000
HEAD: Final = "audit_head"


@dataclass(frozen=True, slots=True)
class Head:
    """The end of the chain: how many events, and the last one's hash."""

    number: int = 0
    hash: str = FIRST


def append(session: Session, kind: str, actor: str, report: int | None, data: Mapping[str, Any]) -> Event:
    """Add an event; the caller's write keeps it, together with what it tells.

    Args:
        kind: what happened, such as ``accepted``.
        actor: who did it.
        report: number of the report that it happened to.
        data: JSON values; never a word of a report.
    """
    # There is one writer at a time: within its session the end that it read is the end that it made.
    last: Head = session.info.get(HEAD) or head(session)
    event = Event(
        number=last.number + 1,
        at=datetime.now(UTC).isoformat(timespec="microseconds"),
        kind=kind,
        actor=actor,
        report_id=report,
        data=json.dumps(data, ensure_ascii=False, sort_keys=True, separators=(",", ":")),
        previous=last.hash,
    )
    event.hash = seal(event)
    session.add(event)
    session.info[HEAD] = Head(event.number, event.hash)
    return event


def head(session: Session) -> Head:
    """Where the chain ends now."""
    row = session.execute(select(Event.number, Event.hash).order_by(Event.number.desc()).limit(1)).first()
    return Head(*row) if row else Head()


def seal(event: Event) -> str:
    """sha256 over everything an event says, in hex."""
    said = [event.number, event.at, event.kind, event.actor, event.report_id]
    line = json.dumps([*said, event.data, event.previous], ensure_ascii=False)
    return hashlib.sha256(line.encode()).hexdigest()


def history(session: Session, report: int) -> Sequence[Event]:
    """Everything that happened to a report, oldest first."""
    return session.scalars(select(Event).where(Event.report_id == report).order_by(Event.number)).all()


def verify(session: Session, noted: Head | None = None) -> Head:
    """Recompute the chain.

    Args:
        noted: a head that was written down earlier; it must still be part of the chain.

    Returns:
        Where the chain ends.

    Raises:
        AuditBroken: names the first event that is not as it was written, or that is missing.
    """
    end = Head()
    while events := session.scalars(
        select(Event).where(Event.number > end.number).order_by(Event.number).limit(STRETCH)
    ).all():
        for event in events:
            end = _next(end, event)
            if noted and noted.number == end.number and noted.hash != end.hash:
                raise _broken(end.number)
        session.expunge_all()
    if noted and noted.number > end.number:
        raise _broken(end.number + 1)
    return end


def _next(end: Head, event: Event) -> Head:
    if (event.number, event.previous, event.hash) != (end.number + 1, end.hash, seal(event)):
        raise _broken(end.number + 1)
    return Head(event.number, event.hash)


def _broken(number: int) -> AuditBroken:
    return AuditBroken(
        f"审计链在第 {number} 条断开：该记录被改动或删除，请保全数据库并与备份比对",
        f"the audit chain breaks at event {number}: changed or removed; keep the database and compare it with a backup",
    )
