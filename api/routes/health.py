"""``/health/live`` and ``/health/ready``: for process supervisors and load balancers. No key needed."""

from __future__ import annotations

from fastapi import APIRouter

from api.deps import ServiceDep
from api.routes.problems import problems
from api.schemas import HealthBody

router = APIRouter(prefix="/health", tags=["运行"])


@router.get(
    "/live",
    summary="进程是否存活",
    description="进程能应答即为 200；不查模型，不查数据库。失败时应重启进程。",
    response_description="存活",
    responses={200: {"content": {"application/json": {"example": {"status": "alive"}}}}},
)
async def live() -> HealthBody:
    """The process answers."""
    return HealthBody(status="alive")


@router.get(
    "/ready",
    summary="能否接受请求",
    description="模型已载入且没有在停止时为 200，否则 503。失败时应暂停转发请求，不必重启。",
    response_description="就绪",
    responses={200: {"content": {"application/json": {"example": {"status": "ready"}}}}, **problems(503)},
)
async def ready(service: ServiceDep) -> HealthBody:
    """The engine is loaded and nothing stops."""
    service.require_ready()
    return HealthBody(status="ready")
