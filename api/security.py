"""Who may call: API keys, checked against a copy of the key table in memory."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from api.errors import KeyMissing, KeyRevoked
from triage.cases import keys
from triage.cases.store import Store
from triage.errors import StoreError

# A key that the copy does not know may be newer than the copy. This much age at least, so that wrong keys cannot
# make the database work.
MIN_AGE_S: Final = 0.5
# How long an old copy serves while the database does not answer.
STALE_S: Final = 60.0
# Pause after the database did not answer.
RETRY_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose request it is.

    Attributes:
        id: number of the key; it stands in the logs.
        name: name of the key.
        digest: sha256 of the key.
        revoked: True when it is refused.
    """

    id: int
    name: str
    digest: str
    revoked: bool


class KeyRing:
    """Checks keys; all methods belong to one event loop.

    Args:
        store: where the keys are kept.
        ttl: seconds that the copy in memory serves; so long may a revoked key still be good.
    """

    def __init__(self, store: Store, ttl: float) -> None:
        self._store = store
        self._ttl = ttl
        self._callers: Mapping[str, Caller] = {}
        self._read_at = self._retry_at = float("-inf")
        self._lock = asyncio.Lock()

    async def check(self, key: str) -> Caller:
        """Whose key it is.

        Raises:
            KeyMissing: there is none, or nobody was given it.
            KeyRevoked: it was good once.
            StoreError: the database does not answer, and the copy is too old.
        """
        if not key:
            raise _missing()
        digest = keys.digest(key)
        if time.monotonic() - self._read_at >= self._ttl:
            await self._refresh(self._ttl)
        if digest not in self._callers and time.monotonic() - self._read_at >= MIN_AGE_S:
            await self._refresh(MIN_AGE_S)
        if time.monotonic() - self._read_at > self._ttl + STALE_S:
            raise StoreError("密钥库没有响应，请稍后重试", "the key store does not answer; try again later")
        caller = self._callers.get(digest)
        if caller is None or not hmac.compare_digest(caller.digest, digest):
            raise _missing()
        if caller.revoked:
            raise KeyRevoked(
                "此 API 密钥已吊销，请向管理员申请新的密钥", "this API key was revoked; ask the operator for a new one"
            )
        return caller

    async def _refresh(self, age: float) -> None:
        async with self._lock:
            now = time.monotonic()
            if now - self._read_at < age or now < self._retry_at:
                return  # somebody else did, or tried in vain, while this one waited
            try:
                self._callers = await asyncio.to_thread(self._read)
            except StoreError:
                self._retry_at = time.monotonic() + RETRY_S
            else:
                self._read_at = time.monotonic()

    def _read(self) -> dict[str, Caller]:
        with self._store.read() as session:
            rows = keys.listed(session)
        return {row.digest: Caller(row.id, row.name, row.digest, row.revoked is not None) for row in rows}


def _missing() -> KeyMissing:
    return KeyMissing(
        "缺少有效的 API 密钥：请发送 Authorization: Bearer <密钥>，密钥由 triage keys create 生成",
        "no valid API key: send Authorization: Bearer <key>; `triage keys create` makes one",
    )
