"""Runs are claimed by due time: when they became ready, an hour earlier for each point of priority."""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

QUEUED = sa.text("state = 'queued'")


def upgrade() -> None:
    op.drop_index("ix_runs_claim", "runs")
    due = ["queue", sa.text("(run_after - (priority * 3600.0))"), "id"]
    op.create_index("ix_runs_claim", "runs", due, sqlite_where=QUEUED, postgresql_where=QUEUED)


def downgrade() -> None:
    op.drop_index("ix_runs_claim", "runs")
    before = [sa.text("priority DESC"), "run_after", "id"]
    op.create_index("ix_runs_claim", "runs", before, sqlite_where=QUEUED, postgresql_where=QUEUED)
