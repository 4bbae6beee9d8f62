"""``GET /v1/model``: which release serves, with its labels and thresholds."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime

from fastapi import APIRouter

from api.deps import NEEDS_KEY, CallerDep, ServiceDep
from api.following import Candidate
from api.routes.problems import problems
from api.schemas import CandidateBody, LabelBody, ModelBody
from triage.engine import Classifier

router = APIRouter(tags=["模型"])


@router.get(
    "/v1/model",
    summary="当前模型",
    description="正在服务的模型版本、标签（中文名与处置单位）、校准与派单阈值、发布时的评测指标。"
    "`triage release promote` 之后新版本在后台载入并核对基准输出，成功才换用；正在载入或被拒绝的版本见 `candidate`。",
    response_description="当前模型",
    responses=problems(401, 403, 503),
    openapi_extra=NEEDS_KEY,
)
async def model(service: ServiceDep, caller: CallerDep) -> ModelBody:
    """The release that serves."""
    service.require_ready()
    return _body(service.engine, service.loaded_at, service.candidate)


def _body(engine: Classifier, loaded_at: datetime, candidate: Candidate | None) -> ModelBody:
    manifest, taxonomy = engine.manifest, engine.taxonomy
    return ModelBody(
        version=engine.version,
        stage=manifest.stage,
        labels=[
            LabelBody(**{name: getattr(label, name) for name in LabelBody.model_fields}) for label in taxonomy.labels
        ],
        urgencies={key.value: name for key, name in taxonomy.urgency_names.items()},
        max_tokens=manifest.max_tokens,
        max_windows=manifest.max_windows,
        calibration=asdict(manifest.calibration),
        routing=asdict(manifest.routing),
        metrics=dict(manifest.metrics),
        loaded_at=loaded_at,
        candidate=_candidate(candidate) if candidate else None,
    )


def _candidate(candidate: Candidate) -> CandidateBody:
    error = candidate.error
    why = {"code": error.code, "detail": error.en, "detail_zh": error.zh} if error else {}
    return CandidateBody(version=candidate.version, state=candidate.state, since=candidate.since, **why)
