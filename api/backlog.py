"""Decides on reports that nobody decided yet: the model was away or busy, or the process that held them died."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from api.deciding import Decider
from api.intake import LEASE_FACTOR
from api.logs import trace_of
from api.metrics import Metrics
from triage.cases import leases, reports
from triage.cases.leases import Lease
from triage.cases.store import Store
from triage.errors import StoreError

# How often an empty backlog is looked at.
LOOK_S: Final = 0.5
# Seconds that the model has for what is taken at a time; more where requests have more. Nobody waits for these reports,
# so a text that takes longer than a request may is no reason to give up. A full queue before them takes 7 s (32,768
# tokens at ``batching.FIRST_RATE``); a minute leaves room for a machine of an eighth of that speed. Not more, since the
# reports of a process that dies lie for ``LEASE_FACTOR`` times as long.
DECIDE_S: Final = 60.0
# Reports taken at a time: enough for full batches, few enough to leave room for live requests.
TAKE: Final = 32

log = structlog.get_logger("triage.backlog")


class Backlog:
    """Works the backlog off, alone or beside other processes.

    Args:
        store: where reports are.
        metrics: learns how many wait.
        decider: the way to the model.
        seconds: that the model has for what is taken at a time.
    """

    def __init__(self, store: Store, metrics: Metrics, decider: Decider, seconds: float) -> None:
        self._store = store
        self._metrics = metrics
        self._decider = decider
        self._seconds = seconds

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            if not await self._round():
                await asyncio.sleep(LOOK_S)

    async def _round(self) -> int:
        """Take some and decide on them; how many were decided."""
        try:
            held = await asyncio.to_thread(self._claim)
            left = await self._decide(held) if held else ()
        except StoreError as error:
            log.warning("backlog_waits", code=error.code)
            return 0
        except Exception as error:  # a fault of this module must not leave reports lying until a restart
            log.error("backlog_failed", **trace_of(error))
            return 0
        return len(held) - len(left)

    async def _decide(self, held: Sequence[Lease]) -> Collection[int]:
        return await self._decider.decide(held, time.monotonic() + self._seconds, late_counts=True)

    def _claim(self) -> Sequence[Lease]:
        with self._store.read() as session:
            waiting = reports.pending(session)
        self._metrics.pending.set(waiting)
        if not waiting:
            return ()
        with self._store.write() as session:
            now = datetime.now(UTC)
            return leases.claim(session, TAKE, now, now + timedelta(seconds=self._seconds * LEASE_FACTOR))
