"""How each error stands in the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from api.errors import (
    PROBLEM_JSON,
    BodyTimeout,
    BodyTooLarge,
    InvalidRequest,
    KeyMissing,
    KeyRevoked,
    MalformedBody,
    QueueFull,
    UnsupportedMediaType,
    problem,
)
from api.invalid import complaint
from triage.errors import NotReady, ReportConflict, ReportNotFound, TriageError

EXAMPLE_ID: Final = "0b7f3c1e-5d0a-4c59-9a51-2f1d2f6f9d10"
REFERENCE: Final = "#/components/schemas/Problem"

EXAMPLES: Final[Mapping[int, tuple[str, TriageError]]] = {
    400: (
        "请求体不是合法的 UTF-8 JSON，或嵌套过深",
        MalformedBody("请求体不是合法的 UTF-8 JSON", "the body is not UTF-8 JSON: expected value at line 1 column 1"),
    ),
    401: ("缺少 API 密钥，或密钥错误", KeyMissing("缺少有效的 API 密钥", "no valid API key")),
    403: ("密钥已吊销", KeyRevoked("此 API 密钥已吊销", "this API key was revoked")),
    408: ("请求体没有按时收完", BodyTimeout("请求体在 10 秒内没有收完", "the body did not arrive within 10 s")),
    404: (
        "没有这条举报，或它不属于此密钥",
        ReportNotFound("没有这条举报，或它不属于此密钥", "no such report, or it is not this key's"),
    ),
    409: (
        "Idempotency-Key 或 external_id 已用于内容不同的举报",
        ReportConflict("此 external_id 已用于内容不同的举报", "this external_id was used for another report"),
    ),
    413: (
        "请求体或某条文本过大",
        BodyTooLarge("请求体超过上限 1048576 字节", "the body is over the limit of 1048576 bytes"),
    ),
    415: (
        "请求体的 Content-Type 不是 application/json",
        UnsupportedMediaType("请求体须为 JSON", "the body must be JSON"),
    ),
    422: (
        "参数或 JSON 的形状不对：类型、条数、长度或格式（逐字段见 errors）",
        InvalidRequest([complaint("string_type", ("inputs", 3), {})]),
    ),
    429: ("排队已满，按 Retry-After 的秒数重试", QueueFull("排队已满，请在 2 秒后重试", "the queue is full", 2)),
    503: (
        "模型或数据库未就绪、服务正在停止、超过时限或模型出错（见 code）",
        NotReady("模型正在载入，请稍后重试", "the model is loading; try again shortly"),
    ),
}
HEADERS: Final[Mapping[int, dict[str, Any]]] = {
    401: {"WWW-Authenticate": {"description": "要求的认证方式", "schema": {"type": "string"}}},
    429: {"Retry-After": {"description": "多少秒后重试", "schema": {"type": "integer"}}},
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Entries for ``responses`` of an operation."""
    return {status: _entry(status) for status in statuses}


def _entry(status: int) -> dict[str, Any]:
    description, error = EXAMPLES[status]
    content = {"schema": {"$ref": REFERENCE}, "example": problem(error, EXAMPLE_ID)}
    entry: dict[str, Any] = {"description": description, "content": {PROBLEM_JSON: content}}
    return {**entry, "headers": HEADERS[status]} if status in HEADERS else entry
