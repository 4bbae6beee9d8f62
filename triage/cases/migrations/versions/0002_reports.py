"""Reports, their decisions, the chain of events, the outbox."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
GUARDS = {
    "sqlite": (
        "CREATE TRIGGER events_no_update BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'append-only'); END",
        "CREATE TRIGGER events_no_delete BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'append-only'); END",
    ),
    "postgresql": (
        "CREATE FUNCTION events_append_only() RETURNS trigger LANGUAGE plpgsql"
        " AS $$ BEGIN RAISE EXCEPTION 'append-only'; END $$",
        "CREATE TRIGGER events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON events"
        " EXECUTE FUNCTION events_append_only()",
    ),
}


def upgrade() -> None:
    _reports()
    _request_names()
    op.create_table(
        "decisions",
        sa.Column("report_id", sa.Integer(), nullable=False),
        sa.Column("decided", MOMENT, nullable=False),
        sa.Column("model", sa.String(64), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("report_id", name="pk_decisions"),
        sa.ForeignKeyConstraint(["report_id"], ["reports.id"], name="fk_decisions_report_id"),
    )
    _events()
    _outbox()


def _reports() -> None:
    op.create_table(
        "reports",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("uid", sa.String(36), nullable=False),
        sa.Column("key_id", sa.Integer(), nullable=False),
        sa.Column("external_id", sa.String(128), nullable=True),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("channel", sa.String(32), nullable=False),
        sa.Column("grid", sa.String(64), nullable=False),
        sa.Column("reporter", sa.String(64), nullable=True),
        sa.Column("time", MOMENT, nullable=True),
        sa.Column("received", MOMENT, nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("attachments", sa.JSON(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("label", sa.String(64), nullable=True),
        sa.Column("urgency", sa.String(16), nullable=True),
        sa.Column("deferred", sa.Boolean(), nullable=False),
        sa.Column("due", MOMENT, nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_reports"),
        sa.ForeignKeyConstraint(["key_id"], ["api_keys.id"], name="fk_reports_key_id"),
        sa.UniqueConstraint("uid", name="uq_reports_uid"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_reports_key_id", "reports", ["key_id", "id"])
    op.create_index("ix_reports_status", "reports", ["status", "id"])


def _request_names() -> None:
    op.create_table(
        "request_names",
        sa.Column("key_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(160), nullable=False),
        sa.Column("report_id", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("key_id", "name", name="pk_request_names"),
        sa.ForeignKeyConstraint(["key_id"], ["api_keys.id"], name="fk_request_names_key_id"),
        sa.ForeignKeyConstraint(["report_id"], ["reports.id"], name="fk_request_names_report_id"),
    )


def _events() -> None:
    op.create_table(
        "events",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("actor", sa.String(128), nullable=False),
        sa.Column("report_id", sa.Integer(), nullable=True),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_events"),
        sa.ForeignKeyConstraint(["report_id"], ["reports.id"], name="fk_events_report_id"),
    )
    op.create_index("ix_events_report_id", "events", ["report_id"])
    for statement in GUARDS[op.get_bind().dialect.name]:
        op.execute(statement)


def _outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("report_id", sa.Integer(), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("created", MOMENT, nullable=False),
        sa.Column("delivered", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
        sa.ForeignKeyConstraint(["report_id"], ["reports.id"], name="fk_outbox_report_id"),
        sa.UniqueConstraint("report_id", "kind", name="uq_outbox_report"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_outbox_delivered", "outbox", ["delivered", "id"])


def downgrade() -> None:
    for table in ("outbox", "events", "decisions", "request_names", "reports"):
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION events_append_only()")
