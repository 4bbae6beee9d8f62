"""What is wrong with a request, field by field: where, which limit, what to do. Never what the client wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

# By pydantic's error type: Chinese and English, with the limits of the error's context.
MESSAGES: Final[Mapping[str, tuple[str, str]]] = {
    "missing": ("缺少此字段", "is missing"),
    "extra_forbidden": ("不认识的字段，请删除", "is unknown; remove it"),
    "string_type": ("应为字符串", "must be a string"),
    "string_unicode": ("含有不成对的代理项，不是合法的 Unicode", "holds a lone surrogate, which is not valid Unicode"),
    "string_too_short": ("至少 {min_length} 个字符", "takes {min_length} characters or more"),
    "string_too_long": ("至多 {max_length} 个字符", "takes at most {max_length} characters"),
    "string_pattern_mismatch": ("含有不允许的字符（如控制字符）", "holds characters that are not allowed (controls)"),
    "literal_error": ("应为 {expected} 之一", "must be one of {expected}"),
    "datetime_type": ("应为 ISO 8601 时间", "must be an ISO 8601 time"),
    "datetime_parsing": ("应为 ISO 8601 时间", "must be an ISO 8601 time"),
    "datetime_from_date_parsing": ("应为 ISO 8601 时间", "must be an ISO 8601 time"),
    "timezone_aware": ("须带时区，如 2026-11-28T08:00:00+08:00", "needs a time zone, as in 2026-11-28T08:00:00+08:00"),
    "list_type": ("应为数组", "must be an array"),
    "model_type": ("应为 JSON 对象", "must be a JSON object"),
    "dict_type": ("应为 JSON 对象", "must be a JSON object"),
    "model_attributes_type": ("应为 JSON 对象", "must be a JSON object"),
    "too_short": ("至少 {min_length} 项", "takes {min_length} items or more, got {actual_length}"),
    "too_long": ("至多 {max_length} 项，请分批发送", "takes at most {max_length} items; send several requests"),
    "int_type": ("应为整数", "must be a whole number"),
    "int_parsing": ("应为整数", "must be a whole number"),
    "int_parsing_size": ("整数过大", "is too large a number"),
    "greater_than_equal": ("不能小于 {ge}", "must be at least {ge}"),
    "less_than_equal": ("不能大于 {le}", "must be at most {le}"),
}
OTHERWISE: Final = ("无效", "is not valid")
MAX_COMPLAINTS: Final = 10


@dataclass(frozen=True, slots=True)
class Complaint:
    """One field and what is wrong with it.

    Attributes:
        field: path such as ``inputs[3]``; the whole body is ``body``. Names that the client made up are not repeated.
        code: kind of the complaint, stable.
        zh: message in Chinese.
        en: the same in English.
    """

    field: str
    code: str
    zh: str
    en: str

    def to_json(self) -> dict[str, str]:
        return {"field": self.field, "code": self.code, "detail": self.en, "detail_zh": self.zh}


def complaints(errors: Sequence[Mapping[str, Any]]) -> tuple[Complaint, ...]:
    """Complaints from pydantic's errors, the first ten."""
    return tuple(complaint(error["type"], error["loc"], error.get("ctx", {})) for error in errors[:MAX_COMPLAINTS])


def complaint(kind: str, place: Sequence[int | str], context: Mapping[str, Any]) -> Complaint:
    """A complaint.

    Args:
        kind: pydantic's error type.
        place: pydantic's location.
        context: the limits that the message names.
    """
    # The name of an unknown field is the client's own text.
    field = _path(place[:-1] if kind == "extra_forbidden" else place)
    zh, en = (part.format_map(context) for part in MESSAGES.get(kind, OTHERWISE))
    return Complaint(field, kind if kind in MESSAGES else "invalid", f"{field} {zh}", f"{field} {en}")


def _path(place: Sequence[int | str]) -> str:
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in place]
    return "".join(parts).lstrip(".") or "body"
