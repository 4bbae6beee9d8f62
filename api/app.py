"""The application factory: settings and doubles in, application out. Nothing is built at import."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.deps import SECURITY_SCHEMES
from api.errors import install_handlers
from api.middleware import BodyLimit, RequestRecord
from api.routes import classify, health, metrics, model, reports
from api.schemas import Problem
from api.service import Service
from api.settings import Settings
from triage import __version__
from triage.cases.store import Store
from triage.engine import Classifier

DESCRIPTION: Final = """\
读城市平台收到的举报与求助文本，给出类别、置信度、紧急程度、处置单位和依据。

认证：`Authorization: Bearer <密钥>`，密钥由 `triage keys create` 生成。
错误：`application/problem+json`（RFC 9457），`code` 稳定，说明有中英文，绝不含请求中的文本。
追踪：每个响应带 `X-Request-ID`；客户端可以自带 UUID。
"""


def create_app(settings: Settings, engine: Classifier | None = None, store: Store | None = None) -> FastAPI:
    """Build the application.

    Args:
        settings: how it runs.
        engine: a double; None loads the release that the settings name, in the background of the lifespan.
        store: an open database; None opens the one that the settings name.

    Returns:
        The application; its ``state.service`` is the ``Service``.
    """
    service = Service(settings, engine, store)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with service.running():
            yield

    app = FastAPI(
        title="tip-triage",
        version=__version__,
        summary="群众举报文本研判",
        description=DESCRIPTION,
        # The usual pages fetch their scripts from a CDN; a closed network has none.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.service = service
    for module in (classify, reports, model, health, metrics):
        app.include_router(module.router)
    install_handlers(app)
    app.add_middleware(BodyLimit, limit=settings.max_body_bytes)
    app.add_middleware(RequestRecord, metrics=service.metrics)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            summary=app.summary,
            description=app.description,
            routes=app.routes,
        )
        schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        document["components"]["securitySchemes"] = SECURITY_SCHEMES
        schemas = document["components"]["schemas"]
        schemas |= schema.pop("$defs")
        schemas["Problem"] = schema
        app.openapi_schema = document
    return app.openapi_schema
