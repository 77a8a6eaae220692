"""What each worker offers a run, so that a run which nobody alive has room for can say so."""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("workers", sa.Column("queue", sa.Text()))  # null: it takes no run from any
    for name in ("gpus", "cpus"):
        op.add_column("workers", sa.Column(name, sa.Integer(), server_default=sa.text("0"), nullable=False))
    for name in ("gpu_memory_gb", "memory_gb"):
        op.add_column("workers", sa.Column(name, sa.Float(53), server_default=sa.text("0"), nullable=False))


def downgrade() -> None:
    for name in ("queue", "gpus", "cpus", "gpu_memory_gb", "memory_gb"):
        op.drop_column("workers", name)
