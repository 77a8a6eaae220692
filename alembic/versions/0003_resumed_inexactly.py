"""What a run's numbers may differ by from an uninterrupted one's: the words of its trainer, empty for nothing."""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("inexact", sa.Text(), server_default="", nullable=False))


def downgrade() -> None:
    op.drop_column("runs", "inexact")
