"""``/v1/reports``: take reports in, show them again."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from api.body import JSON, check_length
from api.deps import NEEDS_KEY, BatchDep, CallerDep, DeadlineDep, IdempotencyDep, ReportDep, ServiceDep
from api.errors import InvalidRequest, problem, status_of
from api.invalid import complaints
from api.report_schemas import (
    EXAMPLE_EVENT,
    EXAMPLE_ID,
    EXAMPLE_RECEIPT,
    EXAMPLE_REPORT,
    EXAMPLE_STORED,
    BatchRequest,
    BatchResponse,
    CaseBody,
    Channel,
    Grid,
    Moment,
    PageResponse,
    ReceiptBody,
    ReportRequest,
    Status,
    Word,
    history_json,
    receipt_json,
    report_json,
)
from api.routes.problems import EXAMPLE_ID as EXAMPLE_REQUEST
from api.routes.problems import EXAMPLES, problems
from triage.cases import audit, pages, reports
from triage.cases.pages import MAX_PAGE, Wanted
from triage.cases.reports import Draft, Receipt
from triage.errors import InputError, TriageError

router = APIRouter(prefix="/v1/reports", tags=["举报"])

CREATED: Final = 201
DEFAULT_PAGE: Final = 50
UidPath = Annotated[str, Path(alias="id", description="举报编号", examples=[EXAMPLE_ID])]
EXAMPLE_OUTCOMES: Final[dict[str, Any]] = {
    "outcomes": [
        {"status": CREATED, "report": EXAMPLE_RECEIPT},
        {"status": 409, "problem": problem(EXAMPLES[409][1], EXAMPLE_REQUEST)},
    ]
}


def _body(model: type[BaseModel], example: dict[str, Any]) -> dict[str, Any]:
    """The body of an operation; what its schema refers to is in the document already, with the answers."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    return {"requestBody": {"required": True, "content": {JSON: {"schema": schema, "example": example}}}, **NEEDS_KEY}


@router.post(
    "",
    summary="提交举报",
    description="先入库、后应答。置信度足够的直接派单（`dispatched`），其余转人工（`review`，附原因）；只有图片、语音的转人工。"
    "模型未就绪、过载或超过时限时仍然受理（`accepted`，`decision` 为 null），稍后研判，结果用编号查询。"
    "以 `Idempotency-Key` 请求头或 `external_id` 幂等：同一请求重发得到同样的应答，内容不同则 409。",
    response_model=ReceiptBody,
    status_code=CREATED,
    responses={
        CREATED: {"description": "已入库", "content": {JSON: {"example": EXAMPLE_RECEIPT}}},
        **problems(400, 401, 403, 408, 409, 413, 415, 422, 503),
    },
    openapi_extra=_body(ReportRequest, EXAMPLE_REPORT),
)
async def submit(
    request: Request,
    service: ServiceDep,
    caller: CallerDep,
    deadline: DeadlineDep,
    name: IdempotencyDep = None,
    *,
    body: ReportDep,
) -> Response:
    """Take a report in."""
    (taken,) = await service.intake.submit(caller.id, [body.draft(name)], deadline)
    if not isinstance(taken, Receipt):
        raise taken
    request.scope["record"]["answer"] = taken.status
    where = {"Location": f"{router.prefix}/{taken.uid}"}
    return Response(to_json(receipt_json(taken)), CREATED, where, media_type=JSON)


@router.post(
    "/batch",
    summary="批量提交举报",
    description="1–256 条举报，各自成败，结果与输入同序；每条与单独提交相同，`status` 是这一条的状态码。"
    "`Idempotency-Key` 对每条连同其位置生效。",
    response_model=BatchResponse,
    responses={
        200: {"description": "每条举报一个结果", "content": {JSON: {"example": EXAMPLE_OUTCOMES}}},
        **problems(400, 401, 403, 408, 413, 415, 422, 503),
    },
    openapi_extra=_body(BatchRequest, {"reports": [EXAMPLE_REPORT]}),
)
async def submit_batch(
    request: Request,
    service: ServiceDep,
    caller: CallerDep,
    deadline: DeadlineDep,
    name: IdempotencyDep = None,
    *,
    body: BatchDep,
) -> Response:
    """Take many reports in."""
    limit = service.settings.max_text_chars
    # A single request's key holds no space, so the two never meet.
    names = [name and f"{name} {index}" for index in range(len(body.reports))]
    drafts = [_draft(item, index, names[index], limit) for index, item in enumerate(body.reports)]
    good = [draft for draft in drafts if isinstance(draft, Draft)]
    taken = iter(await service.intake.submit(caller.id, good, deadline) if good else ())
    found = [next(taken) if isinstance(draft, Draft) else draft for draft in drafts]
    outcomes = [_outcome(item, request.scope["request_id"]) for item in found]
    return Response(to_json({"outcomes": outcomes}), media_type=JSON)


@router.get(
    "",
    summary="查询举报",
    description="此密钥提交的举报，新的在前，分页。把应答中的 `next` 作为 `cursor` 取下一页：翻页期间有新举报入库，"
    "已有的仍不重不漏。`since`（含）与 `until`（不含）按入库时间。",
    response_model=PageResponse,
    responses={
        200: {
            "description": "一页举报",
            "content": {JSON: {"example": {"reports": [EXAMPLE_STORED], "next": EXAMPLE_ID}}},
        },
        **problems(401, 403, 422, 503),
    },
    openapi_extra=NEEDS_KEY,
)
def listed(
    service: ServiceDep,
    caller: CallerDep,
    status: Annotated[Status | None, Query(description="状态")] = None,
    label: Annotated[Word | None, Query(description="主标签", examples=["fire_hazard"])] = None,
    grid: Annotated[Grid | None, Query()] = None,
    channel: Annotated[Channel | None, Query()] = None,
    since: Annotated[Moment | None, Query(description="入库时间不早于", examples=["2026-11-28T00:00:00Z"])] = None,
    until: Annotated[Moment | None, Query(description="入库时间早于", examples=["2026-11-29T00:00:00Z"])] = None,
    cursor: Annotated[Word | None, Query(description="上一页的 `next`")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="每页条数")] = DEFAULT_PAGE,
) -> Response:
    """One page."""
    wanted = Wanted(caller.id, status, label, grid, channel, since, until)
    with service.store.read() as session:
        page = pages.page(session, wanted, cursor, limit)
    found = [report_json(report, decision) for report, decision in page.rows]
    return Response(to_json({"reports": found, "next": page.cursor}), media_type=JSON)


@router.get(
    "/{id}",
    summary="查询一条举报",
    description="一条举报的现状、研判结论与经过。别的密钥提交的举报与不存在的一样，都是 404。",
    response_model=CaseBody,
    responses={
        200: {
            "description": "现状与经过",
            "content": {JSON: {"example": {**EXAMPLE_STORED, "history": [EXAMPLE_EVENT]}}},
        },
        **problems(401, 403, 404, 422, 503),
    },
    openapi_extra=NEEDS_KEY,
)
def one(service: ServiceDep, caller: CallerDep, uid: UidPath) -> Response:
    """One report with its history."""
    with service.store.read() as session:
        report, decision = reports.find(session, caller.id, uid)
        history = history_json(audit.history(session, report.id))
    return Response(to_json({**report_json(report, decision), "history": history}), media_type=JSON)


def _draft(item: object, index: int, name: str | None, limit: int) -> Draft | InputError:
    try:
        body = ReportRequest.model_validate(item)
        check_length(body.text, limit, f"reports[{index}].text")
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        return InvalidRequest(complaints([{**row, "loc": ("reports", index, *row["loc"])} for row in found]))
    except InputError as error:
        return error
    return body.draft(name)


def _outcome(item: Receipt | TriageError, request_id: str) -> dict[str, Any]:
    if isinstance(item, Receipt):
        return {"status": CREATED, "report": receipt_json(item)}
    return {"status": status_of(item), "problem": problem(item, request_id)}
