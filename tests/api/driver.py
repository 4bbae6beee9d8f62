"""Speaks ASGI to an application directly: bodies in pieces, clients that leave, many requests at once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI

TEXT = "有人冒充公检法打电话，让我把钱转到安全账户"


@dataclass
class Got:
    """What an application answered."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    read: int = 0

    def json(self) -> Any:
        return json.loads(self.body)


@asynccontextmanager
async def running(app: FastAPI) -> AsyncIterator[None]:
    """The application's lifespan, entered and ready."""
    async with app.router.lifespan_context(app):
        while not app.state.service.ready:
            await asyncio.sleep(0.001)
        yield


async def send(
    app: FastAPI,
    key: str,
    pieces: Sequence[bytes],
    leave: asyncio.Event | None = None,
    more: bool = False,
    path: str = "/v1/classify",
    **headers: str,
) -> Got:
    """Send a body in pieces.

    Args:
        leave: when set, the client is gone.
        more: the last piece is not the end; then the client is silent until ``leave``.
    """
    got = Got()
    gone = leave or asyncio.Event()
    named = {"authorization": f"Bearer {key}", "content-type": "application/json", **headers}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in named.items()],
        "client": ("10.0.0.1", 40000),
        "server": ("test", 80),
    }

    async def receive() -> dict[str, Any]:
        if got.read < len(pieces):
            got.read += 1
            return {
                "type": "http.request",
                "body": pieces[got.read - 1],
                "more_body": more or got.read < len(pieces),
            }
        await gone.wait()
        return {"type": "http.disconnect"}

    async def answer(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            got.status = message["status"]
            got.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            got.body += message.get("body", b"")

    await app(scope, receive, answer)
    return got


def body_of(*texts: str) -> bytes:
    """A body of ``/v1/classify``."""
    return json.dumps({"inputs": texts}, ensure_ascii=False).encode()
