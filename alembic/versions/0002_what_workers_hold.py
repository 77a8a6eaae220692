"""An index of the runs that workers hold, so that claims and reapers do not read the whole queue."""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

HELD = sa.text("state IN ('leased', 'running', 'stopping')")


def upgrade() -> None:
    op.create_index("ix_runs_held", "runs", ["claim_nonce"], sqlite_where=HELD, postgresql_where=HELD)


def downgrade() -> None:
    op.drop_index("ix_runs_held", "runs")
