"""From a report that is held to its decision, or back to where it can be taken up again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy.orm import Session

from api.errors import ModelFailed
from triage.cases import leases, reports
from triage.cases.leases import Lease
from triage.cases.store import Store
from triage.decision import Decision
from triage.errors import DeadlineExceeded, ServiceError

# Errors that count as an attempt of the model.
Faults = tuple[type[ServiceError], ...]

# So often a model may fail on a report, take too long over it or die with it, before an officer gets it instead.
MAX_ATTEMPTS: Final = 5
MODEL_FAILED: Final = "model_failed"
# Seconds of rest for a report that the model had no room for, and the first for one that it failed on.
PAUSE_S: Final = 1.0
# Reports in one transaction: while it lasts, all other writers wait.
CHUNK: Final = 32


class Decider:
    """Asks the model about reports and keeps what it says.

    Args:
        store: where reports are.
        classify: decides on one text until a deadline (``time.monotonic``), or raises a ``ServiceError``.
    """

    def __init__(self, store: Store, classify: Callable[[str, float], Awaitable[Decision]]) -> None:
        self._store = store
        self._classify = classify

    async def decide(self, held: Sequence[Lease], deadline: float, late_counts: bool = False) -> Collection[int]:
        """Decide on reports that this process holds.

        Args:
            deadline: ``time.monotonic`` until which the model has time.
            late_counts: whether it is the report's fault when that is not enough: there was time for any report.

        Returns:
            Numbers of those that are not decided; another round, perhaps another process, takes them up.

        Raises:
            StoreError: the database does not answer; the leases run out by themselves.
        """
        found = await asyncio.gather(*(self._ask(lease, deadline) for lease in held))
        faults = (ModelFailed, DeadlineExceeded) if late_counts else (ModelFailed,)
        return await asyncio.to_thread(self._keep, held, found, faults)

    async def _ask(self, lease: Lease, deadline: float) -> Decision | ServiceError:
        if lease.attempts > MAX_ATTEMPTS:  # the process that tried last did not live to tell
            return _failed()
        try:
            return await self._classify(lease.text, deadline)
        except ServiceError as error:
            return error

    def _keep(self, held: Sequence[Lease], found: Sequence[Decision | ServiceError], faults: Faults) -> Collection[int]:
        left: list[int] = []
        pairs = list(zip(held, found, strict=True))
        for start in range(0, len(pairs), CHUNK):
            chunk = pairs[start : start + CHUNK]
            with self._store.write() as session:
                _read = reports.load(session, [lease.number for lease, _ in chunk])
                left += [lease.number for lease, said in chunk if not _kept(session, lease, said, faults)]
        return left


def _kept(session: Session, lease: Lease, said: Decision | ServiceError, faults: Faults) -> bool:
    if isinstance(said, Decision):
        reports.decide(session, lease.number, said)
        return True
    fault = isinstance(said, faults)
    if fault and lease.attempts >= MAX_ATTEMPTS:
        reports.refer(session, lease.number, MODEL_FAILED)
        return True
    pause = PAUSE_S * 2 ** (lease.attempts - 1) if fault else PAUSE_S
    leases.release(session, lease, datetime.now(UTC) + timedelta(seconds=pause), counted=fault)
    return False


def _failed() -> ModelFailed:
    return ModelFailed("模型多次无法处理此举报，已转人工", "the model failed on this report again and again")
