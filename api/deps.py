"""What handlers ask for: the service, the caller, the deadline, the checked body.

FastAPI spends as long on each dependency as the rest of the API on a whole request, so there are few, and none of them
stands on another but for the caller.
"""

from __future__ import annotations

import ipaddress
import time
from typing import Annotated, Any, Final

from fastapi import Depends, Header, Request

from api.body import Body, check_length, check_lengths, parse, read_body
from api.report_schemas import BatchRequest, ReportRequest
from api.schemas import ClassifyRequest
from api.security import Caller
from api.service import Service

# For the OpenAPI document; ``_key_of`` reads the same headers.
SECURITY_SCHEMES: Final[dict[str, Any]] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "密钥由 `triage keys create` 生成"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "同一密钥的另一种写法"},
}
NEEDS_KEY: Final[dict[str, Any]] = {"security": [{"bearer": []}, {"header": []}]}


async def service_of(request: Request) -> Service:
    """The running service."""
    return _service(request)


ServiceDep = Annotated[Service, Depends(service_of)]


async def caller_of(request: Request) -> Caller:
    """Whose request it is; its key's number goes into the log line.

    Raises:
        KeyMissing, KeyRevoked: the request may not go on.
    """
    caller = await _service(request).keys.check(_key_of(request))
    request.scope["record"]["key"] = caller.id
    return caller


CallerDep = Annotated[Caller, Depends(caller_of)]


async def reader_of_metrics(request: Request) -> None:
    """Lets in whoever is on this machine or holds a key; everybody where the settings say so."""
    if not _service(request).settings.metrics_open and not _local(request):
        await caller_of(request)


async def deadline_of(
    request: Request,
    timeout_ms: Annotated[
        int | None,
        Header(alias="X-Request-Timeout-Ms", ge=1, description="愿意等待的毫秒数；只能短于服务的时限", examples=[2000]),
    ] = None,
) -> float:
    """``time.monotonic`` until which the client waits."""
    limit = _service(request).settings.request_timeout_s * 1000
    return time.monotonic() + min(limit, timeout_ms or limit) / 1000


DeadlineDep = Annotated[float, Depends(deadline_of)]


async def classify_body(request: Request, caller: CallerDep) -> ClassifyRequest:
    """The checked body of ``/v1/classify``.

    Raises:
        NotReady: before anything is read.
        InputError: it cannot be read.
    """
    service = _service(request)
    service.require_ready()
    body = parse(await read_body(request, service.settings.request_timeout_s), ClassifyRequest)
    request.scope["record"]["inputs"] = len(body.inputs)
    check_lengths(body.inputs, service.settings.max_text_chars)
    return body


async def report_body(request: Request, caller: CallerDep) -> ReportRequest:
    """The checked body of ``/v1/reports``; the model need not be ready.

    Raises:
        NotReady: the service stops.
        InputError: it cannot be read.
    """
    body = await _report(request, ReportRequest)
    check_length(body.text, _service(request).settings.max_text_chars, "text")
    return body


async def batch_body(request: Request, caller: CallerDep) -> BatchRequest:
    """The body of ``/v1/reports/batch``, whose items are checked one by one later.

    Raises:
        NotReady: the service stops.
        InputError: it cannot be read.
    """
    body = await _report(request, BatchRequest)
    request.scope["record"]["reports"] = len(body.reports)
    return body


ClassifyDep = Annotated[ClassifyRequest, Depends(classify_body)]


ReportDep = Annotated[ReportRequest, Depends(report_body)]
BatchDep = Annotated[BatchRequest, Depends(batch_body)]
IdempotencyDep = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern="^[!-~]{1,128}$",
        description="同一密钥下重发同一请求得到同样的应答；1–128 个可见 ASCII 字符",
        examples=["3f0c9a52-7d1e-4b7c-9a55-0d8c3a1f2b11"],
    ),
]


async def _report(request: Request, model: type[Body]) -> Body:
    service = _service(request)
    service.require_intake()
    return parse(await read_body(request, service.settings.request_timeout_s), model)


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _key_of(request: Request) -> str:
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key", "")


def _local(request: Request) -> bool:
    # Behind a proxy on this machine everybody seems to be local.
    if request.client is None or any(name in request.headers for name in ("forwarded", "x-forwarded-for")):
        return False
    try:
        return ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False
