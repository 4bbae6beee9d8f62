"""``POST /v1/classify``: texts in, decisions out; nothing is stored."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Request, Response
from pydantic_core import to_json

from api.body import JSON
from api.deps import NEEDS_KEY, ClassifyDep, DeadlineDep, ServiceDep
from api.routes.problems import problems
from api.schemas import EXAMPLE_DECISION, EXAMPLE_TEXT, ClassifyRequest, ClassifyResponse

router = APIRouter(tags=["研判"])

# The body is read by ``api.body`` and not by FastAPI: faster, and with errors that say no text.
REQUEST_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {JSON: {"schema": ClassifyRequest.model_json_schema(), "example": {"inputs": [EXAMPLE_TEXT]}}},
    }
}
EXAMPLE: Final = {"model": "2026.1", "decisions": [EXAMPLE_DECISION]}


@router.post(
    "/v1/classify",
    summary="研判文本",
    description="对 1–64 条文本给出类别、置信度、派单方式、紧急程度和依据。不保存任何内容。空白或只有表情、图片标记的"
    "文本得到 `review` 决定（原因 `empty` 或 `media_only`）。结论与输入同序，偏移按原文的 Unicode 码点计。",
    response_model=ClassifyResponse,
    responses={
        200: {"description": "每条文本一个结论", "content": {JSON: {"example": EXAMPLE}}},
        **problems(400, 401, 403, 408, 413, 415, 422, 429, 503),
    },
    openapi_extra={**REQUEST_BODY, **NEEDS_KEY},
)
async def classify(request: Request, service: ServiceDep, deadline: DeadlineDep, body: ClassifyDep) -> Response:
    """Decide on texts."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    answer = await service.batcher.classify(body.inputs, deadline, gone)
    request.scope["record"]["tokens"] = answer.tokens
    decisions = [decision.to_json() for decision in answer.decisions]
    return Response(to_json({"model": answer.model, "decisions": decisions}), media_type=JSON)
