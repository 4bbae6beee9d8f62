"""Takes reports in: stored first, then decided as long as the sender waits, then answered from what is stored."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy.orm import Session

from api.deciding import CHUNK, Decider
from api.metrics import Metrics
from triage.cases import reports
from triage.cases.leases import Lease
from triage.cases.reports import Draft, Receipt
from triage.cases.store import Store
from triage.errors import ReportConflict

# A lease outlasts the sender's patience by so much, since the decision must still be written.
LEASE_FACTOR: Final = 1.5
# How often a repeated request looks whether the first one has its answer.
LOOK_S: Final = 0.02


class Intake:
    """Takes reports in.

    Args:
        store: where they are kept.
        metrics: where they are counted.
        decider: the way to the model.
    """

    def __init__(self, store: Store, metrics: Metrics, decider: Decider) -> None:
        self._store = store
        self._metrics = metrics
        self._decider = decider

    async def submit(self, key: int, drafts: Sequence[Draft], deadline: float) -> list[Receipt | ReportConflict]:
        """Store reports and decide on those that are new.

        Args:
            key: number of the API key that sends them.
            drafts: what it sends.
            deadline: ``time.monotonic`` until which it waits for decisions; after that it is told ``accepted``.

        Returns:
            For each draft its receipt, the same for each repetition, or why it was refused.

        Raises:
            StoreError: the database does not answer. What was stored by then is decided all the same.
        """
        lease = timedelta(seconds=max(0.0, deadline - time.monotonic()) * LEASE_FACTOR)
        taken, held = await asyncio.to_thread(self._accept, key, drafts, lease)
        if held and (left := await self._decider.decide(held, deadline)):
            await asyncio.to_thread(self._defer, left)
        answers = await self._answers({number for number in taken if isinstance(number, int)}, deadline)
        return [answers[item] if isinstance(item, int) else item for item in taken]

    def _accept(
        self, key: int, drafts: Sequence[Draft], lease: timedelta
    ) -> tuple[list[int | ReportConflict], list[Lease]]:
        taken: list[int | ReportConflict] = []
        held: list[Lease] = []
        for start in range(0, len(drafts), CHUNK):
            with self._store.write() as session:
                due = datetime.now(UTC) + lease  # not before: it must not run out while this waits to write
                for draft in drafts[start : start + CHUNK]:
                    taken.append(_taken(session, key, draft, due, held))
        self._count(taken, len(held))
        return taken, held

    def _count(self, taken: Sequence[int | ReportConflict], fresh: int) -> None:
        conflicts = sum(isinstance(item, ReportConflict) for item in taken)
        counts = {"accepted": fresh, "repeated": len(taken) - fresh - conflicts, "conflict": conflicts}
        for outcome, count in counts.items():
            self._metrics.reports.labels(outcome).inc(count)

    async def _answers(self, numbers: Collection[int], deadline: float) -> dict[int, Receipt]:
        """The receipts; those of reports that another request or process holds are waited for."""
        while True:
            found = await asyncio.to_thread(self._receipts, numbers)
            open_ones = [number for number, receipt in found.items() if not receipt.settled]
            if not open_ones:
                return found
            if time.monotonic() < deadline:
                await asyncio.sleep(LOOK_S)
            else:
                await asyncio.to_thread(self._defer, open_ones)

    def _receipts(self, numbers: Collection[int]) -> dict[int, Receipt]:
        with self._store.read() as session:
            return reports.receipts(session, numbers)

    def _defer(self, numbers: Collection[int]) -> None:
        with self._store.write() as session:
            reports.defer(session, numbers)


def _taken(session: Session, key: int, draft: Draft, due: datetime, held: list[Lease]) -> int | ReportConflict:
    """The number of a report that is stored now, or why it is not; one that is new joins ``held``."""
    try:
        report, fresh = reports.accept(session, key, draft, due)
    except ReportConflict as error:
        return error
    if fresh:
        held.append(Lease(report.id, report.text, report.attempts))
    return report.id
