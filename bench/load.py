"""A lean HTTP client that keeps a fixed number of requests under way, one message each, over kept-open connections."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Load:
    """What a server did under one number of clients.

    Attributes:
        clients: requests under way at a time.
        per_second: messages answered per second.
        p50, p95, p99: seconds from request to answer.
        failed: answers other than 200.
    """

    clients: int
    per_second: float
    p50: float
    p95: float
    p99: float
    failed: int


async def _client(
    url: str, key: str, texts: Sequence[str], turn: object, until: float, times: list[float], failed: list[int]
) -> None:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    for text in turn:  # type: ignore[attr-defined]
        if time.perf_counter() >= until:
            break
        body = json.dumps({"inputs": [text]}, ensure_ascii=False).encode()
        head = (
            f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        start = time.perf_counter()
        writer.write(head.encode() + body)
        status = int((await reader.readline()).split()[1])
        length = 0
        while (line := await reader.readline()) != b"\r\n":
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        await reader.readexactly(length)
        times.append(time.perf_counter() - start)
        if status != 200:
            failed.append(status)
    writer.close()


async def _run(url: str, key: str, texts: Sequence[str], clients: int, seconds: float) -> Load:
    turn, times, failed = cycle(texts), [], []
    start = time.perf_counter()
    await asyncio.gather(*(_client(url, key, texts, turn, start + seconds, times, failed) for _ in range(clients)))
    took = time.perf_counter() - start
    if len(times) < 2:
        raise RuntimeError(f"{url} answered {len(times)} requests in {took:.0f} s")
    cuts = statistics.quantiles(times, n=100, method="inclusive")
    return Load(clients, len(times) / took, cuts[49], cuts[94], cuts[98], len(failed))


def load(url: str, key: str, texts: Sequence[str], clients: int, seconds: float) -> Load:
    """Put load on a server.

    Args:
        url: of the classify endpoint, on this machine.
        key: API key.
        texts: taken in turn.
        clients: requests under way at a time.
        seconds: how long new requests are sent.
    """
    return asyncio.run(_run(url, key, texts, clients, seconds))
