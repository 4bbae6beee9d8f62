"""How Alembic runs the migrations: inside the transaction that ``Store.upgrade`` began."""

from __future__ import annotations

from alembic import context

from triage.cases.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    # Store.upgrade holds the transaction; it commits all revisions together or none.
    transactional_ddl=False,
)
context.run_migrations()
