"""What goes in and out over HTTP, as OpenAPI shows it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, FailFast, Field

MAX_INPUTS: Final = 64

EXAMPLE_TEXT: Final = "有人冒充公检法打电话，让我把钱转到安全账户"
EXAMPLE_DECISION: Final[dict[str, Any]] = {
    "label": "telecom_fraud",
    "confidence": 0.97,
    "scores": {"traffic": 0.004, "public_safety": 0.014, "fire_hazard": 0.002, "telecom_fraud": 0.97, "other": 0.01},
    "secondary": [],
    "route": "auto",
    "reasons": [],
    "urgency": "urgent",
    "urgency_reasons": ["model"],
    "unit": "反诈中心",
    "entities": [],
    "evidence": [{"start": 17, "end": 21, "weight": 0.62}],
    "truncated": False,
    "read": [0, 21],
    "model": "2026.1",
    "stage": "encoder",
}


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ClassifyRequest(_Body):
    """要研判的文本。"""

    inputs: Annotated[
        list[str],
        FailFast(),
        Field(
            min_length=1,
            max_length=MAX_INPUTS,
            description="1–64 条原始文本；空白或只有表情的文本得到 review 决定，不报错",
            examples=[[EXAMPLE_TEXT]],
        ),
    ]


class EntityBody(_Body):
    """文本中的一个实体。"""

    kind: Annotated[str, Field(description="种类，如 mobile、link、bank_card、plate、amount、time、place")]
    start: Annotated[int, Field(description="原文起点（按 Unicode 码点计，含）")]
    end: Annotated[int, Field(description="原文终点（不含）")]
    value: Annotated[str, Field(description="规范写法")]


class EvidenceBody(_Body):
    """支持结论的一段原文。"""

    start: Annotated[int, Field(description="原文起点（按 Unicode 码点计，含）")]
    end: Annotated[int, Field(description="原文终点（不含）")]
    weight: Annotated[float, Field(description="占全部支持的比例，0–1")]


class DecisionBody(_Body):
    """一条文本的研判结论。偏移均按原文的 Unicode 码点计，起点含、终点不含。"""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_DECISION]})

    label: Annotated[str, Field(description="主标签")]
    confidence: Annotated[float, Field(description="校准后的置信度：0.9 表示十条中九条正确")]
    scores: Annotated[dict[str, float], Field(description="各标签的校准概率，和为 1")]
    secondary: Annotated[list[str], Field(description="同一文本中还需处置的其他标签")]
    route: Annotated[Literal["auto", "review"], Field(description="auto：直接派单；review：转人工")]
    reasons: Annotated[list[str], Field(description="转人工的原因；auto 时为空")]
    urgency: Annotated[Literal["emergency", "urgent", "routine"], Field(description="紧急程度")]
    urgency_reasons: Annotated[list[str], Field(description="紧急程度的依据")]
    unit: Annotated[str, Field(description="处置单位")]
    entities: Annotated[list[EntityBody], Field(description="文本中的实体")]
    evidence: Annotated[list[EvidenceBody], Field(description="依据的原文片段，最重的在前")]
    truncated: Annotated[bool, Field(description="文本过长、有一部分未读时为 true")]
    read: Annotated[tuple[int, int], Field(description="读到的原文范围")]
    model: Annotated[str, Field(description="模型版本")]
    stage: Annotated[str, Field(description="由谁得出：encoder、ensemble（编码器与线性模型合议）或 rule")]


class ClassifyResponse(_Body):
    """研判结论，与输入同序。"""

    model: Annotated[str, Field(description="模型版本", examples=["2026.1"])]
    decisions: Annotated[list[DecisionBody], Field(description="每条输入一个结论，顺序相同")]


class LabelBody(_Body):
    """一个标签。"""

    id: Annotated[str, Field(examples=["fire_hazard"])]
    name: Annotated[str, Field(description="中文名", examples=["火灾隐患"])]
    name_en: Annotated[str, Field(examples=["Fire hazard"])]
    dispatch: Annotated[bool, Field(description="是否有单位处置")]
    unit: Annotated[str, Field(description="处置单位", examples=["消防救援大队"])]
    unit_en: Annotated[str, Field(examples=["Fire and rescue"])]


class CandidateBody(_Body):
    """CURRENT 指向、但没有在服务的版本。"""

    version: Annotated[str, Field(description="版本；CURRENT 不指向任何版本时为空", examples=["2026.2"])]
    state: Annotated[
        Literal["loading", "refused"], Field(description="loading：正在载入；refused：已拒绝，旧版本继续服务")
    ]
    since: Annotated[datetime, Field(description="自何时（UTC）")]
    code: Annotated[str, Field(description="拒绝的错误代码", examples=["release_corrupt"])] = ""
    detail: Annotated[
        str, Field(description="拒绝的原因（英文）", examples=["checksum of 2026.2/model.onnx differs"])
    ] = ""
    detail_zh: Annotated[str, Field(description="拒绝的原因（中文）", examples=["2026.2/model.onnx 校验和不符"])] = ""


class ModelBody(_Body):
    """正在服务的模型。"""

    version: Annotated[str, Field(description="模型版本", examples=["2026.1"])]
    stage: Annotated[str, Field(description="encoder 或 ensemble", examples=["ensemble"])]
    labels: Annotated[list[LabelBody], Field(description="标签，按模型输出顺序")]
    urgencies: Annotated[dict[str, str], Field(description="紧急程度的中文名", examples=[{"emergency": "紧急"}])]
    max_tokens: Annotated[int, Field(description="一个窗口的词元数", examples=[256])]
    max_windows: Annotated[int, Field(description="一条文本最多读几个窗口", examples=[16])]
    calibration: Annotated[dict[str, Any], Field(description="校准参数", examples=[{"temperature": 1.4}])]
    routing: Annotated[dict[str, Any], Field(description="派单阈值", examples=[{"margin": 0.1}])]
    metrics: Annotated[dict[str, Any], Field(description="发布时的评测指标", examples=[{"test": {"macro_f1": 0.9}}])]
    loaded_at: Annotated[datetime, Field(description="载入时间（UTC）")]
    candidate: Annotated[
        CandidateBody | None, Field(description="CURRENT 已指向、但没有在服务的版本；一切正常时为 null")
    ] = None


class HealthBody(_Body):
    """服务状态。"""

    status: Annotated[Literal["alive", "ready"], Field(description="alive：进程在；ready：可以接请求")]


class FieldError(_Body):
    """一个字段的问题。"""

    field: Annotated[str, Field(description="字段路径", examples=["inputs[3]"])]
    code: Annotated[str, Field(description="问题代码", examples=["string_type"])]
    detail: Annotated[str, Field(examples=["inputs[3] must be a string"])]
    detail_zh: Annotated[str, Field(examples=["inputs[3] 应为字符串"])]


class Problem(_Body):
    """RFC 9457 错误说明；不含请求中的文本。"""

    type: Annotated[str, Field(description="错误类型的 URN", examples=["urn:tip-triage:problem:invalid_request"])]
    title: Annotated[str, Field(description="状态码的含义（英文）", examples=["Invalid request"])]
    status: Annotated[int, Field(description="HTTP 状态码", examples=[422])]
    detail: Annotated[str, Field(description="说明（英文）", examples=["inputs[3] must be a string"])]
    detail_zh: Annotated[str, Field(description="说明（中文）", examples=["inputs[3] 应为字符串"])]
    code: Annotated[str, Field(description="稳定的错误代码", examples=["invalid_request"])]
    request_id: Annotated[str, Field(description="请求编号，与 X-Request-ID 响应头相同")]
    errors: Annotated[list[FieldError] | None, Field(description="逐字段的问题，仅 422")] = None
