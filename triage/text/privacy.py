"""Personal data in a text: hiding it, and telling invented numbers from real ones.

Names of persons are beyond it: nothing here finds or hides them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from triage.decision import Entity

MASK = "*"

# How many letters and digits stay readable at the beginning and at the end, by kind.
_SHOWN: Mapping[str, tuple[int, int]] = {
    "mobile": (3, 4),
    "landline": (3, 2),
    "bank_card": (4, 4),
    "id_number": (3, 2),
    "plate": (2, 2),
    "wechat": (1, 2),
    "qq": (2, 2),
    "contact_id": (1, 2),
    "email": (1, 0),
}
# Kinds that lead to a person; a link does only where it names a user or carries a query.
PERSONAL = frozenset(_SHOWN)

_FICTITIOUS_HOST = re.compile(r"(?:^|\.)(?:example(?:\.(?:com|cn|net|org))?|test)$", re.IGNORECASE)
_LINK = re.compile(
    r"(?:[A-Za-z]+://?)?(?:(?P<user>[^/?#@]*)@)?(?P<host>[^/?#:@]*)(?::[0-9]*)?[^?#]*(?P<rest>[?#].*)?",
    re.DOTALL,
)


def mask(text: str, entities: Iterable[Entity]) -> str:
    """The raw ``text`` with personal entities hidden: 138****1234.

    The result has the length of ``text``, so that all offsets still hold; masking it again, with the same entities or
    with those found in it, changes nothing. Offsets beyond the text are passed over.
    """
    characters = list(text)
    for entity in entities:
        for at in _hidden(text, entity):
            characters[at] = MASK
    return "".join(characters)


def personal(entities: Iterable[Entity]) -> tuple[Entity, ...]:
    """Those of ``entities`` that lead to a person, fictitious or not, in their order."""
    return tuple(entity for entity in entities if entity.kind in PERSONAL or _is_personal_link(entity))


def is_fictitious(entity: Entity) -> bool:
    """True where the value is invented by the corpus's rules, so that it can belong to nobody.

    Mobile numbers have 0000 as their middle four digits; landlines, plates and contact ids hold 0000 (a plate 000);
    cards and identity numbers hold 00000000; hosts of links and addresses lie under .example, .test or
    example.com|cn|net|org. Kinds without a rule (amounts, times, roads, service numbers) are never fictitious.
    """
    value = entity.value
    match entity.kind:
        case "mobile":
            return value[3:7] == "0000"
        case "landline" | "wechat" | "qq" | "contact_id":
            return "0000" in value
        case "bank_card" | "id_number":
            return "00000000" in value
        case "plate":
            return "000" in value
        case "link" | "email":
            return _FICTITIOUS_HOST.search(host_of(value)) is not None
    return False


def host_of(link: str) -> str:
    """The host of a link or mail address, as written."""
    match = _LINK.match(link)
    return match.group("host") if match else ""


def _is_personal_link(entity: Entity) -> bool:
    if entity.kind != "link":
        return False
    match = _LINK.match(entity.value)
    return match is not None and bool(match.group("user") or match.group("rest"))


def _hidden(text: str, entity: Entity) -> list[int]:
    """Positions of ``text`` that masking hides."""
    start, end = max(entity.start, 0), min(entity.end, len(text))
    if entity.kind == "link":
        match = _LINK.match(text[start:end])
        spans = [match.span(group) for group in ("user", "rest")] if match else []
        # The ? or # that opens the rest stays, so that the link still reads as one.
        opened = [(first + (number == 1), last) for number, (first, last) in enumerate(spans) if first >= 0]
        return [start + at for first, last in opened for at in range(first, last)]
    if entity.kind == "email":
        end = start + text[start:end].rfind("@") if "@" in text[start:end] else end
    first, last = _SHOWN.get(entity.kind, (0, 0))
    if entity.kind not in _SHOWN:
        return []
    content = [at for at in range(start, end) if text[at].isalnum() or text[at] == MASK]
    if len(content) <= first + last:
        first, last = min(first, 1), 0
    inner = content[first : len(content) - last]
    return list(range(inner[0], inner[-1] + 1)) if inner else []
