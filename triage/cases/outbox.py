"""The outbox: what other systems must be told, written in the same transaction as what it tells."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from sqlalchemy.orm import Session

from triage.cases.models import OutboxRow, Report
from triage.decision import Decision

DISPATCH: Final = "dispatch"


def dispatch(session: Session, report: Report, decision: Decision) -> OutboxRow:
    """Tell the unit that acts about a report that needs no officer."""
    payload = {
        "id": report.uid,
        "external_id": report.external_id,
        "channel": report.channel,
        "grid": report.grid,
        "label": decision.label,
        "secondary": list(decision.secondary),
        "urgency": decision.urgency.value,
        "unit": decision.unit,
    }
    row = OutboxRow(kind=DISPATCH, report_id=report.id, payload=payload, created=datetime.now(UTC), delivered=None)
    session.add(row)
    return row
