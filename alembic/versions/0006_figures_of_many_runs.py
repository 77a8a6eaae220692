"""One index answers what pages add up of all runs: how many in each state, what is spent, planned and kept back."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

OLD, NEW = "ix_runs_project_spent_micro", "ix_runs_figures"


def upgrade() -> None:
    columns = ["project", "spent_micro", "state", "planned_micro", "reserved_micro", "sweep_id"]
    op.create_index(NEW, "runs", columns)
    op.drop_index(OLD, "runs")


def downgrade() -> None:
    op.create_index(OLD, "runs", ["project", "spent_micro"])
    op.drop_index(NEW, "runs")
