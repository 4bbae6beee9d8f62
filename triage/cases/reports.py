"""Reports: take one in, keep its decision, find it again. Plain functions over a session; the caller's write keeps it.

A report is ``accepted`` until it is decided; then it is ``dispatched``, or it waits in ``review`` for an officer. Its
sender gets one answer, however often the same request comes: the decision, or, where the sender could not wait for it,
that the report is accepted (``Report.deferred``).
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from triage.cases import audit, outbox
from triage.cases.models import DecisionRow, Report, RequestName
from triage.decision import Decision
from triage.errors import ReportConflict, ReportNotFound

ACCEPTED: Final = "accepted"
DISPATCHED: Final = "dispatched"
REVIEW: Final = "review"

UID: Final = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
SYSTEM: Final = "system"
# Reasons of the engine for a text that holds nothing to read, and of this module for one that comes with media.
EMPTY: Final = "empty"
MEDIA_ONLY: Final = "media_only"


@dataclass(frozen=True, slots=True)
class Attachment:
    """A picture, recording or file that stays where it is.

    Attributes:
        kind: image, audio, video or file.
        ref: where the sender keeps it; nobody here opens it.
        name: what it is called; None where it has no name.
    """

    kind: str
    ref: str
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """What a sender gives; the columns of the same names in ``Report`` say what each is.

    Attributes:
        idempotency_key: not part of what is compared when it comes again.
    """

    channel: str
    grid: str
    text: str
    external_id: str | None = None
    reporter: str | None = None
    time: datetime | None = None
    attachments: tuple[Attachment, ...] = ()
    idempotency_key: str | None = None

    @property
    def fingerprint(self) -> str:
        """sha256 of everything but the idempotency key, in hex."""
        time = self.time and self.time.astimezone(UTC).isoformat()
        said = asdict(replace(self, idempotency_key=None)) | {"time": time}
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    @property
    def names(self) -> tuple[str, ...]:
        """Names under which it must not come with other content; none, and it is new each time."""
        given = (("request", self.idempotency_key), ("report", self.external_id))
        return tuple(f"{kind}:{name}" for kind, name in given if name is not None)


@dataclass(frozen=True, slots=True)
class Receipt:
    """The answer to a sender.

    Attributes:
        number: ``Report.id``.
        settled: False while the answer may still become another: not decided, and nobody told so.
        status, reasons, decision: as they are answered; ``decision`` is ``Decision.to_json`` or None.
    """

    number: int
    uid: str
    external_id: str | None
    received: datetime
    settled: bool
    status: str
    reasons: Sequence[str]
    decision: Mapping[str, Any] | None


def accept(session: Session, key: int, draft: Draft, due: datetime) -> tuple[Report, bool]:
    """Store a report, unless it is there already.

    Args:
        key: number of the API key that sends it.
        due: until when the caller means to have it decided; after that any process may.

    Returns:
        The report, and whether it is new.

    Raises:
        ReportConflict: the key or the external id was used for a report that says something else.
    """
    report = _known(session, key, draft)
    if report is not None:
        return report, False
    report = _stored(session, key, draft, due)
    _name(session, report, draft.names)
    size = {"chars": len(draft.text), "attachments": len(draft.attachments)}
    audit.append(session, ACCEPTED, f"key:{key}", report.id, size)
    return report, True


def decide(session: Session, number: int, decision: Decision) -> bool:
    """Keep what the model decided, and dispatch the report or let it wait for an officer.

    Returns:
        False when it was decided before; then nothing changes.
    """
    report = _undecided(session, number)
    if report is None:
        return False
    decision = with_media(decision, bool(report.attachments))
    body = decision.to_json()
    session.add(DecisionRow(report_id=number, decided=datetime.now(UTC), model=decision.model, body=body))
    said = ("label", "confidence", "secondary", "route", "urgency", "unit", "stage")
    audit.append(session, "decided", f"model:{decision.model}", number, {name: body[name] for name in said})
    report.label, report.urgency = decision.label, decision.urgency.value
    if decision.route == "auto":
        report.status = DISPATCHED
        outbox.dispatch(session, report, decision)
        audit.append(session, DISPATCHED, SYSTEM, number, {"unit": decision.unit})
    else:
        _refer(session, report, decision.reasons)
    return True


def refer(session: Session, number: int, reason: str) -> bool:
    """Let an officer look at a report that the model cannot decide; False when it was decided before."""
    report = _undecided(session, number)
    if report is not None:
        _refer(session, report, (reason,))
    return report is not None


def defer(session: Session, numbers: Collection[int]) -> None:
    """Fix the answer of those that are not decided: their senders do not wait any longer."""
    session.execute(update(Report).where(Report.id.in_(numbers), Report.status == ACCEPTED).values(deferred=True))


def receipts(session: Session, numbers: Collection[int]) -> dict[int, Receipt]:
    """The answers for reports, by number."""
    rows = session.execute(select(Report, DecisionRow.body).outerjoin(DecisionRow).where(Report.id.in_(numbers)))
    return {report.id: _receipt(report, body) for report, body in rows}


def find(session: Session, key: int, uid: str) -> tuple[Report, Mapping[str, Any] | None]:
    """A report and its decision.

    Args:
        key: number of the API key that asks.
        uid: as the sender was told.

    Raises:
        ReportNotFound: there is none, or it is somebody else's.
    """
    query = select(Report, DecisionRow.body).outerjoin(DecisionRow).where(Report.uid == uid, Report.key_id == key)
    row = session.execute(query).first() if UID.fullmatch(uid) else None
    if row is None:
        raise ReportNotFound(
            "没有这条举报，或它不属于此密钥；编号见提交时的应答",
            "no such report, or it is not this key's; the answer to its sender holds its id",
        )
    return row[0], row[1]


def load(session: Session, numbers: Collection[int]) -> Sequence[Report]:
    """Reports, read at once; keep them while the others of this module are called on each, which then need not read."""
    return session.scalars(select(Report).where(Report.id.in_(numbers))).all()


def pending(session: Session) -> int:
    """How many reports wait for a decision."""
    return session.scalar(select(func.count()).select_from(Report).where(Report.status == ACCEPTED)) or 0


def with_media(decision: Decision, media: bool) -> Decision:
    """The decision on an empty text that came with media: it is not empty, an officer must open what came."""
    if not media or EMPTY not in decision.reasons:
        return decision
    return replace(decision, reasons=tuple(MEDIA_ONLY if reason == EMPTY else reason for reason in decision.reasons))


def _known(session: Session, key: int, draft: Draft) -> Report | None:
    """The report that came under one of the draft's names before; from now on it has them all."""
    query = select(RequestName.name, Report).join(Report, RequestName.report_id == Report.id)
    found = {
        name: report
        for name, report in session.execute(query.where(RequestName.key_id == key, RequestName.name.in_(draft.names)))
    }
    if any(report.fingerprint != draft.fingerprint for report in found.values()):
        raise _conflict()
    report = next(iter(found.values()), None)
    if report is not None:
        _name(session, report, [name for name in draft.names if name not in found])
    return report


def _name(session: Session, report: Report, names: Iterable[str]) -> None:
    session.add_all(RequestName(key_id=report.key_id, name=name, report_id=report.id) for name in names)


def _stored(session: Session, key: int, draft: Draft, due: datetime) -> Report:
    report = Report(
        uid=str(uuid.uuid4()),
        key_id=key,
        external_id=draft.external_id,
        fingerprint=draft.fingerprint,
        channel=draft.channel,
        grid=draft.grid,
        reporter=draft.reporter,
        time=draft.time,
        received=datetime.now(UTC),
        text=draft.text,
        attachments=[asdict(item) for item in draft.attachments],
        status=ACCEPTED,
        reasons=[],
        deferred=False,
        due=due,
        attempts=1,
    )
    session.add(report)
    session.flush()
    return report


def _conflict() -> ReportConflict:
    return ReportConflict(
        "此 Idempotency-Key 或 external_id 已用于内容不同的举报；重发请保持内容不变，新举报请换一个",
        "this Idempotency-Key or external_id was used for another report; repeat it unchanged or choose a new one",
    )


def _undecided(session: Session, number: int) -> Report | None:
    # The one condition on which everything after it hangs: nobody else writes until this write ends.
    report = session.get(Report, number)
    return report if report is not None and report.status == ACCEPTED else None


def _refer(session: Session, report: Report, reasons: Sequence[str]) -> None:
    report.status = REVIEW
    report.reasons = list(reasons)
    audit.append(session, "queued", SYSTEM, report.id, {"reasons": list(reasons)})


def _receipt(report: Report, body: Mapping[str, Any] | None) -> Receipt:
    settled = report.deferred or report.status != ACCEPTED
    common = (report.id, report.uid, report.external_id, report.received, settled)
    if report.deferred or report.status == ACCEPTED:
        return Receipt(*common, ACCEPTED, (), None)
    # Not ``report.status``: an officer may have closed it since, and the answer stays what it was.
    status = DISPATCHED if body and body["route"] == "auto" else REVIEW
    return Receipt(*common, status, report.reasons, body)
