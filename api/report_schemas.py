"""Reports as they go in and out over HTTP."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from api.schemas import EXAMPLE_DECISION, EXAMPLE_TEXT, DecisionBody, Problem
from triage.cases.models import Event, Report
from triage.cases.reports import Attachment, Draft, Receipt

MAX_BATCH: Final = 256
MAX_ATTACHMENTS: Final = 20
# PostgreSQL keeps no U+0000, and nobody writes one: refused on every database alike.
NO_NUL: Final = r"^[^\x00]*$"
VISIBLE: Final = r"^[^\x00-\x1f\x7f]+$"
EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(2100, 1, 1, tzinfo=UTC)

EXAMPLE_ID: Final = "6d1f6a0e-2b7c-4f0e-8a55-3b0a4c9e7d21"
EXAMPLE_REPORT: Final[dict[str, Any]] = {
    "external_id": "12345-20261128-0007",
    "channel": "hotline",
    "grid": "丰城街道-03",
    "reporter": "u-7f31",
    "time": "2026-11-28T08:00:00+08:00",
    "text": EXAMPLE_TEXT,
    "attachments": [{"kind": "image", "ref": "oss://tips/2026/11/28/7.jpg", "name": "转账页面.jpg"}],
}
EXAMPLE_RECEIPT: Final[dict[str, Any]] = {
    "id": EXAMPLE_ID,
    "external_id": "12345-20261128-0007",
    "received": "2026-11-28T00:00:03.120000Z",
    "status": "dispatched",
    "reasons": [],
    "decision": EXAMPLE_DECISION,
}
EXAMPLE_STORED: Final[dict[str, Any]] = {**EXAMPLE_REPORT, **EXAMPLE_RECEIPT, "time": "2026-11-28T00:00:00Z"}
EXAMPLE_EVENT: Final[dict[str, Any]] = {
    "at": "2026-11-28T00:00:03.120000+00:00",
    "kind": "accepted",
    "actor": "key:1",
    "data": {"attachments": 1, "chars": 21},
}

Channel = Annotated[
    str,
    Field(max_length=32, pattern=VISIBLE, description="来源渠道，如 hotline、wechat、sms、app", examples=["hotline"]),
]
Grid = Annotated[str, Field(max_length=64, pattern=VISIBLE, description="所属网格", examples=["丰城街道-03"])]
Word = Annotated[str, Field(max_length=64, pattern=VISIBLE)]
Moment = Annotated[AwareDatetime, Field(ge=EARLIEST, le=LATEST)]
Status = Literal["accepted", "dispatched", "review"]
STATUS_HELP: Final = "accepted：已受理待研判；dispatched：已派单；review：等待人工"


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AttachmentBody(_Body):
    """一个附件，只传引用，本服务不读取。"""

    kind: Annotated[Literal["image", "audio", "video", "file"], Field(description="种类")]
    ref: Annotated[
        str, Field(max_length=512, pattern=VISIBLE, description="存放位置", examples=["oss://tips/2026/11/28/7.jpg"])
    ]
    name: Annotated[str | None, Field(max_length=128, pattern=VISIBLE, description="文件名")] = None


class ReportRequest(_Body):
    """一条举报。"""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_REPORT]})

    channel: Channel
    grid: Grid
    text: Annotated[str, Field(pattern=NO_NUL, description="原始文本；只有图片、语音的举报可为空，转人工")]
    external_id: Annotated[
        str | None, Field(max_length=128, pattern=VISIBLE, description="平台自己的编号；重发得到同样的应答")
    ] = None
    reporter: Annotated[
        str | None, Field(max_length=64, pattern=VISIBLE, description="举报人化名或内部编号，勿传姓名、电话")
    ] = None
    time: Annotated[Moment | None, Field(description="举报时间，带时区")] = None
    attachments: Annotated[
        tuple[AttachmentBody, ...], Field(max_length=MAX_ATTACHMENTS, description="附件，按引用")
    ] = ()

    def draft(self, idempotency_key: str | None) -> Draft:
        """The same for ``triage.cases.reports``."""
        given = {name: getattr(self, name) for name in type(self).model_fields if name != "attachments"}
        attachments = tuple(Attachment(item.kind, item.ref, item.name) for item in self.attachments)
        return Draft(**given, attachments=attachments, idempotency_key=idempotency_key)


class BatchRequest(_Body):
    """多条举报；每条各自成败。"""

    reports: Annotated[list[Any], Field(min_length=1, max_length=MAX_BATCH, description="1–256 条举报")]


class ReceiptBody(_Body):
    """对一条举报的应答；同一请求重发，应答不变。"""

    id: Annotated[str, Field(description="举报编号", examples=[EXAMPLE_ID])]
    external_id: Annotated[str | None, Field(description="平台自己的编号")]
    received: Annotated[datetime, Field(description="入库时间（UTC）")]
    status: Annotated[Status, Field(description=STATUS_HELP)]
    reasons: Annotated[list[str], Field(description="转人工的原因；不转人工时为空")]
    decision: Annotated[DecisionBody | None, Field(description="研判结论；accepted 时为 null，稍后查询")]


class OutcomeBody(_Body):
    """一条的结果：201 时有 report，否则有 problem。"""

    status: Annotated[int, Field(description="这一条的 HTTP 状态码", examples=[201])]
    report: Annotated[ReceiptBody | None, Field(description="成功时的应答")] = None
    problem: Annotated[Problem | None, Field(description="失败的原因")] = None


class BatchResponse(_Body):
    """每条举报一个结果，与输入同序。"""

    outcomes: Annotated[list[OutcomeBody], Field(description="结果")]


class ReportBody(ReceiptBody):
    """一条举报的现状。"""

    channel: Channel
    grid: Grid
    reporter: Annotated[str | None, Field(description="举报人化名或内部编号")]
    time: Annotated[datetime | None, Field(description="举报时间（UTC）")]
    text: Annotated[str, Field(description="原始文本")]
    attachments: Annotated[list[AttachmentBody], Field(description="附件")]


class EventBody(_Body):
    """经过中的一步；不含举报内容。"""

    at: Annotated[datetime, Field(description="时间（UTC）")]
    kind: Annotated[str, Field(description="accepted、decided、dispatched 或 queued", examples=["accepted"])]
    actor: Annotated[str, Field(description="由谁：key:编号、model:版本或 system", examples=["key:1"])]
    data: Annotated[dict[str, Any], Field(description="细节", examples=[{"chars": 21}])]


class CaseBody(ReportBody):
    """一条举报的现状与经过。"""

    history: Annotated[list[EventBody], Field(description="经过，从早到晚")]


class PageResponse(_Body):
    """一页举报，新的在前。"""

    reports: Annotated[list[ReportBody], Field(description="举报")]
    next: Annotated[str | None, Field(description="下一页的 cursor；最后一页为 null", examples=[EXAMPLE_ID])]


def receipt_json(receipt: Receipt) -> dict[str, Any]:
    """What ``ReceiptBody`` describes."""
    return {
        "id": receipt.uid,
        "external_id": receipt.external_id,
        "received": receipt.received,
        "status": receipt.status,
        "reasons": list(receipt.reasons),
        "decision": receipt.decision,
    }


def report_json(report: Report, decision: Mapping[str, Any] | None) -> dict[str, Any]:
    """What ``ReportBody`` describes."""
    names = set(ReportBody.model_fields) - {"id", "decision"}
    return {"id": report.uid, **{name: getattr(report, name) for name in sorted(names)}, "decision": decision}


def history_json(events: Iterable[Event]) -> list[dict[str, Any]]:
    """What ``EventBody`` describes, of each."""
    return [{"at": event.at, "kind": event.kind, "actor": event.actor, "data": event.details} for event in events]
