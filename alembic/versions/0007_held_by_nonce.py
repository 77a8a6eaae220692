"""The index of what workers hold goes by nonce: by state, PostgreSQL read all of it to find one run by its id."""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

NAME = "ix_runs_held"
OLD, NEW = sa.text("state IN ('leased', 'running', 'stopping')"), sa.text("claim_nonce <> ''")


def upgrade() -> None:
    _replace(NEW)


def downgrade() -> None:
    _replace(OLD)


def _replace(held: sa.TextClause) -> None:
    op.drop_index(NAME, "runs")
    op.create_index(NAME, "runs", ["claim_nonce"], sqlite_where=held, postgresql_where=held)
