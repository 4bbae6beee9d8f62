"""The tables."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, ForeignKey, Index, MetaData, String, Text, UniqueConstraint
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

# Constraints have names, so that later migrations can change them on every database.
NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Moment(TypeDecorator[datetime]):
    """A time zone aware datetime, kept in UTC; SQLite has no time zones of its own."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError("a moment needs a time zone")
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Base of all tables."""

    metadata = MetaData(naming_convention=NAMING)


class ApiKey(Base):
    """A key that lets a system call the API. The key itself is never kept.

    Attributes:
        id: number that stands in logs.
        name: whose key it is; unique, 1–64 characters.
        prefix: first characters of the key, to tell keys apart.
        digest: sha256 of the key in hex. The key holds 256 random bits, so a slow hash would add nothing.
        created: when.
        revoked: since when it is refused; None while it is good.
    """

    __tablename__ = "api_keys"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    prefix: Mapped[str] = mapped_column(String(16))
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    created: Mapped[datetime] = mapped_column(Moment)
    revoked: Mapped[datetime | None] = mapped_column(Moment)


class Report(Base):
    """What a citizen sent, and how far it has come.

    Attributes:
        id: order of acceptance; never shown, since it would tell how many there are.
        uid: the id that its sender knows, a random UUID.
        key_id: the API key that sent it; nobody else's key sees it.
        external_id: the sender's own id.
        fingerprint: sha256 of everything the sender gave, in hex; tells a repetition from another report.
        channel: where it came from, such as ``hotline``.
        grid: where it belongs.
        reporter: pseudonym of who reported, by the sender's own count.
        time: when it was reported, by the sender's clock.
        received: when it was stored here.
        text: the raw text; empty when only media came.
        attachments: ``{"kind", "ref", "name"}`` of each; the media themselves stay where they are.
        status: ``ACCEPTED``, ``DISPATCHED`` or ``REVIEW`` of ``triage.cases.reports``.
        reasons: why an officer looks at it; empty otherwise.
        label: primary label of its decision; None as long as there is none.
        urgency: the same of its urgency.
        deferred: its sender was told that it is accepted and not yet decided; the answer stays so.
        due: while it is not decided, when the next process may take it up. Until then one has it, or it rests.
        attempts: how often the model was asked without an answer.
    """

    __tablename__ = "reports"
    __table_args__ = (
        Index("ix_reports_key_id", "key_id", "id"),
        Index("ix_reports_status", "status", "id"),
        # Rows are never deleted by the service, but if somebody does, a number must not come again.
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    uid: Mapped[str] = mapped_column(String(36), unique=True)
    key_id: Mapped[int] = mapped_column(ForeignKey("api_keys.id"))
    external_id: Mapped[str | None] = mapped_column(String(128))
    fingerprint: Mapped[str] = mapped_column(String(64))
    channel: Mapped[str] = mapped_column(String(32))
    grid: Mapped[str] = mapped_column(String(64))
    reporter: Mapped[str | None] = mapped_column(String(64))
    time: Mapped[datetime | None] = mapped_column(Moment)
    received: Mapped[datetime] = mapped_column(Moment)
    text: Mapped[str] = mapped_column(Text)
    attachments: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    status: Mapped[str] = mapped_column(String(16))
    reasons: Mapped[list[str]] = mapped_column(JSON)
    label: Mapped[str | None] = mapped_column(String(64))
    urgency: Mapped[str | None] = mapped_column(String(16))
    deferred: Mapped[bool]
    due: Mapped[datetime] = mapped_column(Moment)
    attempts: Mapped[int]


class RequestName(Base):
    """A name under which a report came; under the same name comes the same report or none.

    Attributes:
        key_id: the API key that sent it.
        name: its ``Idempotency-Key`` or its external id, with a prefix that tells them apart.
        report_id: the report.
    """

    __tablename__ = "request_names"

    key_id: Mapped[int] = mapped_column(ForeignKey("api_keys.id"), primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(160), primary_key=True)
    report_id: Mapped[int] = mapped_column(ForeignKey("reports.id"))


class DecisionRow(Base):
    """What the model decided on a report; the primary key allows one decision and no second.

    Attributes:
        report_id: the report.
        decided: when.
        model: version of the release.
        body: ``Decision.to_json``.
    """

    __tablename__ = "decisions"

    report_id: Mapped[int] = mapped_column(ForeignKey("reports.id"), primary_key=True)
    decided: Mapped[datetime] = mapped_column(Moment)
    model: Mapped[str] = mapped_column(String(64))
    body: Mapped[dict[str, Any]] = mapped_column(JSON)


class Event(Base):
    """One link of the audit chain, and one line in the history of its report. See ``triage.cases.audit``.

    Triggers of the database refuse to change or delete one; a migration that rebuilds this table must make them anew.

    Attributes:
        number: 1, 2, 3, … without a gap.
        at: when, in UTC, as ISO 8601 with microseconds; text, as ``data`` is.
        kind: what happened.
        actor: who did it: ``key:3``, ``model:2026.11.6``, ``system``.
        report_id: the report that it happened to; None where it was none.
        data: JSON, kept as text because the hash counts every byte. Never a word of a report.
        previous: hash of the event before; of the first, 64 zeros.
        hash: sha256 over everything above, in hex.
    """

    __tablename__ = "events"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[str] = mapped_column(String(32))
    kind: Mapped[str] = mapped_column(String(32))
    actor: Mapped[str] = mapped_column(String(128))
    report_id: Mapped[int | None] = mapped_column(ForeignKey("reports.id"), index=True)
    data: Mapped[str] = mapped_column(Text)
    previous: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))

    @property
    def details(self) -> dict[str, Any]:
        """``data`` as values."""
        found: dict[str, Any] = json.loads(self.data)
        return found


class OutboxRow(Base):
    """Something that must be told to another system, written together with what it tells.

    Attributes:
        id: order; what is delivered twice has the same one.
        kind: what is told, such as ``dispatch``; once for each report.
        report_id: about which report.
        payload: what to say; no word of the report's text.
        created: when.
        delivered: when the other side had it; None until then.
    """

    __tablename__ = "outbox"
    __table_args__ = (
        UniqueConstraint("report_id", "kind", name="uq_outbox_report"),
        Index("ix_outbox_delivered", "delivered", "id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(32))
    report_id: Mapped[int] = mapped_column(ForeignKey("reports.id"))
    payload: Mapped[dict[str, Any]] = mapped_column(JSON)
    created: Mapped[datetime] = mapped_column(Moment)
    delivered: Mapped[datetime | None] = mapped_column(Moment)
