"""Who decides on a report that waits: one process at a time, for so long, and then another.

A lease saves work. That nothing is decided twice does not rest on it but on ``reports.decide``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from triage.cases.models import Report
from triage.cases.reports import ACCEPTED


@dataclass(frozen=True, slots=True)
class Lease:
    """A report that the holder may decide.

    Attributes:
        number: ``Report.id``.
        text: what to read.
        attempts: this one included; those that ended with the process count as well.
    """

    number: int
    text: str
    attempts: int


def claim(session: Session, limit: int, now: datetime, until: datetime) -> Sequence[Lease]:
    """Take reports that nobody has, oldest first.

    Args:
        limit: how many at most.
        until: when another process may take what is not decided by then.
    """
    free = (Report.status == ACCEPTED, Report.due <= now)
    numbers = session.scalars(select(Report.id).where(*free).order_by(Report.id).limit(limit)).all()
    rows = session.execute(
        update(Report)
        .where(Report.id.in_(numbers), *free)
        .values(due=until, attempts=Report.attempts + 1)
        .returning(Report.id, Report.text, Report.attempts)
    )
    return sorted((Lease(*row) for row in rows), key=lambda lease: lease.number)


def release(session: Session, lease: Lease, due: datetime, counted: bool) -> None:
    """Give back a report that was not decided, unless the lease ran out and another holder has it.

    Args:
        due: not to be taken up before.
        counted: False when it was not the report's fault: the attempt does not count.
    """
    session.execute(
        update(Report)
        # Each holder counts one attempt more: the number tells whose lease it is.
        .where(Report.id == lease.number, Report.status == ACCEPTED, Report.attempts == lease.attempts)
        .values(due=due, attempts=Report.attempts - (0 if counted else 1))
    )
