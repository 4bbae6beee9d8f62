"""What people see: decisions, summaries and comparisons, with rich.

Text of a report is never read as markup, and characters that steer a terminal are shown as a replacement sign.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from triage.bulk import Summary
from triage.decision import Decision
from triage.golden import Report
from triage.taxonomy import Taxonomy, Urgency

ROUTES: Final = {"auto": "自动派发", "review": "人工复核"}
REASONS: Final = {
    "low_confidence": "把握不足",
    "ambiguous": "两类难分",
    "fraud_floor": "不能排除诈骗",
    "fire_floor": "不能排除火灾隐患",
    "out_of_scope": "不像中文线索",
    "windows_disagree": "前后内容不一致",
    "truncated": "过长未读完",
    "media_only": "只有图片语音等",
    "empty": "没有内容",
}
ENTITIES: Final = {
    "mobile": "手机号",
    "landline": "座机",
    "service_number": "服务号码",
    "link": "链接",
    "email": "邮箱",
    "bank_card": "银行卡",
    "id_number": "身份证号",
    "plate": "车牌",
    "qq": "QQ",
    "wechat": "微信",
    "contact_id": "联系账号",
    "amount": "金额（元）",
    "time": "时间",
    "road": "道路",
    "place": "地点",
}

_URGENCY_STYLES = {Urgency.EMERGENCY: "bold red", Urgency.URGENT: "yellow", Urgency.ROUTINE: ""}
# C0 and C1 without tab and line feed; marks that turn the writing direction.
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def shown(text: str) -> str:
    """Text that is safe for a terminal; as long as before, so that offsets hold."""
    return _STEERING.sub("\ufffd", text)


def decision_panel(text: str, decision: Decision, taxonomy: Taxonomy) -> RenderableType:
    """One decision with its message, the evidence highlighted."""
    label = taxonomy[decision.label]
    message = Text(shown(text))
    for span in decision.evidence:
        message.stylize("bold black on yellow", span.start, span.end)
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in _facts(text, decision, taxonomy):
        grid.add_row(name, value)
    title = Text.assemble((label.name, "bold"), f" {label.id} · {decision.confidence:.1%}")
    return Panel(Group(message, "", grid), title=title, title_align="left", expand=False)


def _facts(text: str, decision: Decision, taxonomy: Taxonomy) -> Iterator[tuple[str, Text]]:
    route = Text(ROUTES[decision.route], style="green" if decision.route == "auto" else "yellow")
    if decision.reasons:
        route.append("：" + "、".join(REASONS.get(reason, reason) for reason in decision.reasons))
    yield "去向", route
    yield "单位", Text(decision.unit)
    urgency = Text(taxonomy.urgency_names[decision.urgency], style=_URGENCY_STYLES[decision.urgency])
    if decision.urgency_reasons:
        urgency.append("（" + "、".join(decision.urgency_reasons) + "）")
    yield "紧急程度", urgency
    if decision.secondary:
        yield "另涉", Text("、".join(taxonomy[key].name for key in decision.secondary))
    if decision.evidence:
        words = (f"{shown(text[span.start : span.end])} {span.weight:.0%}" for span in decision.evidence)
        yield "依据", Text("、".join(words))
    if decision.entities:
        found = (f"{ENTITIES.get(item.kind, item.kind)} {shown(item.value)}" for item in decision.entities)
        yield "要素", Text("\n".join(found))
    ranked = sorted(decision.scores.items(), key=lambda item: -item[1])
    yield "分数", Text(" · ".join(f"{taxonomy[key].name} {score:.1%}" for key, score in ranked))
    if decision.truncated:
        yield "已读", Text(f"第 {decision.read[0] + 1} 至 {decision.read[1]} 字，共 {len(text)} 字")


def summary_table(summary: Summary, taxonomy: Taxonomy) -> Table:
    """What a run over a file did."""
    rows = {
        "读入 read": f"{summary.read:,}",
        "写出 written": f"{summary.written:,}",
        "搁置 kept aside": f"{summary.kept_aside:,}" + (f" → {summary.errors}" if summary.errors else ""),
        **({"续做 resumed at": f"{summary.resumed_at:,}"} if summary.resumed_at else {}),
        **{taxonomy[key].name: f"{count:,}" for key, count in _most(summary.by_label)},
        **{ROUTES.get(key, key): f"{count:,}" for key, count in _most(summary.by_route)},
        "速度 rate": f"{summary.rate:,.0f} 条/秒 messages/s（{summary.seconds:.1f} s）",
        "输出 output": str(summary.output),
    }
    return _table(rows)


def _most(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def report_table(report: Report, files: int) -> Table:
    """What ``triage check`` found."""
    limits = report.limits
    verdict = Text("不一致 DRIFT", style="bold red") if report.drifted else Text("一致 ok", style="green")
    return _table(
        {
            "版本 release": report.version,
            "文件校验 checksums": f"{files} 个文件无误 files ok",
            "基准条数 golden rows": f"{report.rows}（{report.firm} 条无疑 without doubt）",
            "标签不同 labels": _numbers(report.labels) + "（上限 limit 0）",
            "边缘标签不同 close calls": _numbers(report.unfirm_labels),
            "去向不同 routes": _numbers(report.routes),
            "紧急程度不同 urgencies": _numbers(report.urgencies),
            "最大分差 max difference": f"{report.max_difference:.6f}（上限 limit {limits.max_difference}）",
            "平均分差 mean difference": f"{report.mean_difference:.6f}（上限 limit {limits.mean_difference}）",
            "结论 verdict": verdict,
        }
    )


def _numbers(rows: tuple[int, ...], most: int = 10) -> str:
    if not rows:
        return "0"
    listed = ", ".join(map(str, rows[:most])) + (", …" if len(rows) > most else "")
    return f"{len(rows)}（第 {listed} 行 rows）"


def _table(rows: Mapping[str, str | Text]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, value if isinstance(value, Text) else Text(value))
    return table
