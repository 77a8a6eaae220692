"""What a run may cost, its forecast's 90th percentile, is kept back from its project's budget until it has ended."""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("reserved_micro", sa.BigInteger(), server_default=sa.text("0"), nullable=False))
    op.execute("UPDATE runs SET reserved_micro = planned_micro")  # all that is known of runs from before


def downgrade() -> None:
    op.drop_column("runs", "reserved_micro")
