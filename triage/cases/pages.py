"""Reports in pages, newest first.

A page ends where the next begins: at a report, not at a count. What was stored before a walk began stands on its pages
once, whatever is stored meanwhile; what is stored meanwhile comes first on the next walk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from triage.cases.models import DecisionRow, Report
from triage.errors import CursorUnreadable

MAX_PAGE: Final = 200


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which reports; None is no condition.

    Attributes:
        key: number of the API key that asks; it sees its own.
        status, label, grid, channel: equal to these.
        since: received at this moment or later.
        until: received before.
    """

    key: int
    status: str | None = None
    label: str | None = None
    grid: str | None = None
    channel: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Reports with their decisions, and the cursor of the next page; None on the last."""

    rows: Sequence[tuple[Report, Mapping[str, Any] | None]]
    cursor: str | None


def page(session: Session, wanted: Wanted, cursor: str | None, limit: int) -> Page:
    """One page.

    Args:
        cursor: of the page before; None for the first page.
        limit: 1–200 reports.

    Raises:
        CursorUnreadable: no page before can have named this cursor.
    """
    query = select(Report, DecisionRow.body).outerjoin(DecisionRow).where(*_conditions(wanted))
    if cursor is not None:
        query = query.where(Report.id < _place(session, wanted.key, cursor))
    found = session.execute(query.order_by(Report.id.desc()).limit(limit + 1)).all()
    rows = [(report, body) for report, body in found[:limit]]
    return Page(rows, rows[-1][0].uid if len(found) > limit else None)


def _conditions(wanted: Wanted) -> list[ColumnElement[bool]]:
    found = [Report.key_id == wanted.key]
    for column in (Report.status, Report.label, Report.grid, Report.channel):
        if (value := getattr(wanted, column.key)) is not None:
            found.append(column == value)
    if wanted.since is not None:
        found.append(Report.received >= wanted.since)
    if wanted.until is not None:
        found.append(Report.received < wanted.until)
    return found


def _place(session: Session, key: int, cursor: str) -> int:
    number = session.scalar(select(Report.id).where(Report.uid == cursor, Report.key_id == key))
    if number is None:
        raise CursorUnreadable(
            "cursor 无效，请使用上一页应答中的 next，或去掉它从第一页开始",
            "no such cursor; use the answer's `next`, or leave it out to begin at the first page",
        )
    return number
