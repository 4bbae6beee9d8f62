"""``GET /metrics``: for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Response

from api.deps import SECURITY_SCHEMES, ServiceDep, reader_of_metrics
from api.metrics import CONTENT_TYPE
from api.routes.problems import problems

router = APIRouter(tags=["运行"])


@router.get(
    "/metrics",
    summary="Prometheus 指标",
    description="请求、延迟、排队、批次、各阶段耗时与结论的计数，不含任何文本。本机访问免密钥，其他地址须带密钥，"
    "`TRIAGE_METRICS_OPEN=true` 时对所有人开放。",
    response_class=Response,
    responses={
        200: {
            "description": "Prometheus 文本格式",
            "content": {"text/plain": {"schema": {"type": "string"}, "example": "triage_queue_tokens 0.0"}},
        },
        **problems(401, 403),
    },
    openapi_extra={"security": [{}, *({name: []} for name in SECURITY_SCHEMES)]},
    dependencies=[Depends(reader_of_metrics)],
)
async def metrics(service: ServiceDep) -> Response:
    """All counters."""
    return Response(service.metrics.render(), media_type=CONTENT_TYPE)
