"""Errors of the service and the one table that turns an error's class into an HTTP status.

InputError
├── MalformedBody           400  not JSON, or not UTF-8
├── BodyTimeout             408  the body did not arrive in time
├── BodyTooLarge            413
├── UnsupportedMediaType    415
└── InvalidRequest          422  JSON, but not what the operation takes
AccessError
├── KeyMissing              401  no key, or one that nobody was given
└── KeyRevoked              403
ServiceError
├── Overloaded ─ QueueFull  429
├── NotReady ─ Draining     503
├── ModelFailed             503
└── ClientGone              499  nobody reads the answer
NoSuchPath                  404
ReportNotFound              404  nobody's, or somebody else's
ReportConflict              409  its key was used for another report
MethodNotAllowed            405
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from api.invalid import Complaint, complaints
from triage.errors import (
    DeadlineExceeded,
    InputError,
    NotReady,
    Overloaded,
    ReportConflict,
    ReportNotFound,
    ServiceError,
    StoreError,
    TextTooLong,
    TriageError,
)

PROBLEM_JSON: Final = "application/problem+json"
PROBLEM_TYPE: Final = "urn:tip-triage:problem:"


class MalformedBody(InputError):
    code = "malformed_body"


class BodyTimeout(InputError):
    code = "body_timeout"


class BodyTooLarge(InputError):
    code = "body_too_large"


class UnsupportedMediaType(InputError):
    code = "unsupported_media_type"


class InvalidRequest(InputError):
    """Carries what is wrong with each field."""

    code = "invalid_request"

    def __init__(self, found: Sequence[Complaint]) -> None:
        super().__init__(found[0].zh, found[0].en)
        self.complaints = tuple(found)


class AccessError(TriageError):
    code = "access_denied"


class KeyMissing(AccessError):
    code = "key_missing"


class KeyRevoked(AccessError):
    code = "key_revoked"


class QueueFull(Overloaded):
    """Carries the seconds after which the queue should have room."""

    def __init__(self, zh: str, en: str, retry_after: int) -> None:
        super().__init__(zh, en)
        self.retry_after = retry_after


class Draining(NotReady):
    code = "draining"


class ModelFailed(ServiceError):
    code = "model_failed"


class ClientGone(ServiceError):
    code = "client_gone"


class NoSuchPath(TriageError):
    code = "not_found"


class MethodNotAllowed(TriageError):
    code = "method_not_allowed"


# The first class of an error's own line of descent that stands here decides.
STATUS: Final[Mapping[type[BaseException], int]] = {
    MalformedBody: 400,
    KeyMissing: 401,
    AccessError: 403,
    NoSuchPath: 404,
    ReportNotFound: 404,
    MethodNotAllowed: 405,
    BodyTimeout: 408,
    ReportConflict: 409,
    BodyTooLarge: 413,
    TextTooLong: 413,
    UnsupportedMediaType: 415,
    InputError: 422,
    Overloaded: 429,
    ClientGone: 499,
    DeadlineExceeded: 503,
    ServiceError: 503,
    StoreError: 503,
    TriageError: 500,
}

TITLES: Final[Mapping[int, str]] = {
    400: "Malformed request",
    401: "API key required",
    403: "Access denied",
    404: "Not found",
    405: "Method not allowed",
    408: "Request body too slow",
    409: "Conflict",
    413: "Content too large",
    415: "Unsupported media type",
    422: "Invalid request",
    429: "Too many requests",
    499: "Client closed the request",
    500: "Internal error",
    503: "Service unavailable",
}


def status_of(error: BaseException) -> int:
    """HTTP status of an error; 500 for one that nobody raised on purpose."""
    return next((STATUS[cls] for cls in type(error).__mro__ if cls in STATUS), 500)


def problem(error: BaseException, request_id: str) -> dict[str, Any]:
    """The RFC 9457 body of an error; never the message of one that nobody raised on purpose."""
    status = status_of(error)
    known = error if isinstance(error, TriageError) and status != 500 else None
    code = known.code if known else "internal_error"
    body: dict[str, Any] = {
        "type": PROBLEM_TYPE + code,
        "title": TITLES[status],
        "status": status,
        "detail": known.en if known else "the service failed; report the request id to its operator",
        "detail_zh": known.zh if known else "服务内部错误，请把请求编号告知运维人员",
        "code": code,
        "request_id": request_id,
    }
    if isinstance(error, InvalidRequest):
        body["errors"] = [item.to_json() for item in error.complaints]
    return body


def problem_headers(error: BaseException) -> dict[str, str]:
    """Headers that belong to an error besides its body."""
    headers = {}
    if isinstance(error, KeyMissing):
        headers["WWW-Authenticate"] = 'Bearer realm="tip-triage"'
    if isinstance(error, QueueFull):
        headers["Retry-After"] = str(error.retry_after)
    elif isinstance(error, NotReady):
        headers["Retry-After"] = "5"
    if isinstance(error, BodyTooLarge | BodyTimeout | Draining):
        # What the client still sends is not read.
        headers["Connection"] = "close"
    return headers


def problem_response(error: BaseException, request_id: str, headers: Mapping[str, str] | None = None) -> Response:
    """An error as an answer."""
    content = json.dumps(problem(error, request_id), ensure_ascii=False).encode()
    all_headers = {**problem_headers(error), **(headers or {})}
    return Response(content, status_of(error), all_headers, media_type=PROBLEM_JSON)


def install_handlers(app: FastAPI) -> None:
    """Answer every error of the application with a problem."""
    app.add_exception_handler(TriageError, _answer)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(RequestValidationError, _answer_validation)


async def _answer(request: Request, error: Exception) -> Response:
    return problem_response(error, _request_id(request))


async def _answer_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        wrong: TriageError = MethodNotAllowed(f"此路径只接受 {allowed}", f"this path takes {allowed}")
        return problem_response(wrong, _request_id(request), {"Allow": allowed})
    wrong = NoSuchPath("没有这个路径，接口说明见 /openapi.json", "no such path; the operations are in /openapi.json")
    return problem_response(wrong, _request_id(request))


async def _answer_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return problem_response(InvalidRequest(complaints(error.errors())), _request_id(request))


def _request_id(request: Request) -> str:
    return str(request.scope.get("request_id", ""))
