"""Pure ASGI middlewares: what surrounds every request. They cost microseconds and see neither text nor key."""

from __future__ import annotations

import re
import time
import uuid
from typing import Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import BodyTooLarge, problem_response
from api.logs import trace_of
from api.metrics import Metrics

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
UNMATCHED: Final = "unmatched"
# Ids are logged, so nothing but a UUID is taken from a client: anything else may be a phone number.
_REQUEST_ID = re.compile(rb"[0-9a-fA-F]{8}(?:-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}")

log = structlog.get_logger("triage.access")


class RequestRecord:
    """Request id, log line, metrics, and the last resort for exceptions that nobody expected.

    Handlers add to the log line through ``scope["record"]``, a dict.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = scope["request_id"] = _request_id(scope)
        scope["record"] = {}
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            await self.app(scope, receive, answer)
        except Exception as error:  # a fault of the service; the server would log its message
            log.error("crashed", request_id=request_id, **trace_of(error))
            if not status:
                await problem_response(error, request_id)(scope, receive, answer)
        finally:
            self._record(scope, status or 499, time.perf_counter() - started)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", UNMATCHED)
        method = scope["method"] if scope["method"] in METHODS else "OTHER"
        self.metrics.answer(route, method, status, seconds)
        # Probes come every few seconds and say nothing as long as all is well.
        write = log.debug if route.startswith(("/health", "/metrics")) and status < 400 else log.info
        write(
            "request",
            request_id=scope["request_id"],
            method=method,
            route=route,
            status=status,
            ms=round(seconds * 1000, 2),
            **scope["record"],
        )


class BodyLimit:
    """Refuses bodies over a limit, by their declared length or, where none is declared, while they come in."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
        size = 0

        async def counted() -> Message:
            nonlocal size
            if declared.isdigit() and int(declared[:20]) > self.limit:
                raise self._too_large()
            message = await receive()
            size += len(message.get("body", b""))
            if size > self.limit:
                raise self._too_large()
            return message

        await self.app(scope, counted, send)

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(
            f"请求体超过上限 {self.limit} 字节，请分批发送",
            f"the body is over the limit of {self.limit} bytes; send several requests",
        )


def _request_id(scope: Scope) -> str:
    given: bytes = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
    return given.decode() if _REQUEST_ID.fullmatch(given) else str(uuid.uuid4())
