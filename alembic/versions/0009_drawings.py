"""An index of the drawings: few among many runs, and the page that lists them had read every run to find none."""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

NAME, DRAWN = "ix_runs_drawings", sa.text("kind = 'drawing'")


def upgrade() -> None:
    op.create_index(NAME, "runs", ["id"], sqlite_where=DRAWN, postgresql_where=DRAWN)


def downgrade() -> None:
    op.drop_index(NAME, "runs")
