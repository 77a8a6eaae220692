"""What users do to the queue: draw, cancel, pause, resume, prioritise, tag, drain. One transaction each.

Submitting is in `submissions`, what a sweep writes in `trials`, what people ask of a sweep in `steering`; import all of
it from here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, select, update

from shoestring.budgets import Fund, set_cap
from shoestring.bulk import upsert
from shoestring.db import Database, retried
from shoestring.errors import BudgetRefused, Conflict, NotFound
from shoestring.moves import move, note
from shoestring.records import DRAWING, closing_usd
from shoestring.rows import micro, usd
from shoestring.states import LEASED, TERMINAL
from shoestring.steering import ask_point, set_sweep_cap, stop_sweep
from shoestring.stored import mapping
from shoestring.submissions import (
    Submission,
    Submitted,
    checked_priority,
    record_import,
    retry,
    run_row,
    submission,
    submit,
    submit_plans,
)
from shoestring.tables import metrics, runs, workers
from shoestring.trials import create_sweep, finish_sweep, finish_trial, promote, propose_trial, prune

if TYPE_CHECKING:
    from shoestring.draw_plan import DrawPlan

__all__ = [
    "Fund", "Submission", "Submitted", "ask_point", "cancel", "create_sweep", "drain_worker", "draw", "finish_sweep",
    "finish_trial", "pause", "promote", "propose_trial", "prune", "record_evaluation", "record_import", "resume",
    "retry", "set_budget", "set_priority", "set_sweep_cap", "stop_sweep", "submission", "submit", "submit_plans",
    "tag",
]  # fmt: skip


def draw(
    db: Database, plan: DrawPlan, *, runs_dir: Path, provenance: dict[str, Any] | None = None, now: float | None = None
) -> Submitted:
    """Queue pictures of a run's checkpoint as a small run of its own, paid by the run's project.

    The same checkpoint, prompts, seed and way of drawing give the same run. Raises BudgetRefused.
    """
    one = Submission(
        name=plan.config.name[:200],
        experiment=DRAWING,
        project=plan.run.project,
        seed=plan.config.samples.seed,
        spec_hash=plan.spec_hash,
        config=plan.config,
        spec=plan.spec,
        plan=plan.as_json(),
        kind=DRAWING,
        parent_id=plan.run.id,
        planned_usd=plan.usd.p50,
        reserved_usd=plan.usd.p90,
        provenance=provenance or {},
        queue=plan.run.queue,
    )
    try:
        return submit(db, [one], runs_dir=runs_dir, fund=Fund(one.project), now=now)[0]
    except BudgetRefused as refused:
        hint = f"fewer prompts or steps, or a larger budget: budget.max_usd of project {one.project}"
        raise BudgetRefused(refused.message, hint) from None


@retried
def cancel(db: Database, run_id: int, *, now: float | None = None) -> str:
    """Cancel a run: at once when nobody holds it, else its worker stops it; return its state. Raises Conflict."""
    at = db.now(now)
    with db.write() as conn:
        row = run_row(conn, run_id)
        if row.state in TERMINAL:
            raise Conflict(f"run {run_id} has {row.state} already", "only a run that is not finished can be cancelled")
        if row.state in LEASED:
            _want(conn, row, "cancel", "", at)
            return row.state
        columns = {"reason": "cancelled", "lease_token": row.lease_token + 1}
        move(conn, run_id, (row.state, "cancelled"), at, "cancelled", token=row.lease_token, **columns)
        return "cancelled"


@retried
def pause(db: Database, run_id: int, *, now: float | None = None) -> str:
    """Pause a run: at once when it waits, else after its next checkpoint; return its state. Raises Conflict."""
    at = db.now(now)
    with db.write() as conn:
        row = run_row(conn, run_id)
        if row.state == "paused" or row.state in TERMINAL or row.state == "blocked":
            raise Conflict(f"run {run_id} is {row.state}", "only a run that is queued or running can be paused")
        if row.state in LEASED:
            if row.want == "cancel":
                raise Conflict(f"run {run_id} is being cancelled", f"shoestring status {run_id}")
            _want(conn, row, "pause", "by hand", at)
            return row.state
        move(conn, run_id, ("queued", "paused"), at, "paused", token=row.lease_token, reason="by hand")
        return "paused"


@retried
def resume(db: Database, run_id: int, *, max_usd: float | None = None, now: float | None = None) -> str:
    """Queue a paused run again, with a higher cap where its money was spent; return its state. Raises Conflict."""
    at = db.now(now)
    with db.write() as conn:
        row = run_row(conn, run_id)
        if row.state in LEASED and row.want == "pause":
            _want(conn, row, "run", "", at)
            return row.state
        if row.state != "paused":
            raise Conflict(f"run {run_id} is {row.state}, not paused", f"shoestring status {run_id}")
        cap = row.max_micro if max_usd is None else micro(max_usd)
        closing = micro(closing_usd(mapping(row.plan)))
        if cap is not None and row.spent_micro + closing >= cap:
            kept = f", and a pause costs ${usd(closing):.4f}" if closing else ""
            raise Conflict(
                f"run {run_id} has spent ${usd(row.spent_micro):.4f} of max_usd ${usd(cap):.4f}{kept}",
                f"give it a higher cap: shoestring resume {run_id} --max-usd "
                f"{2 * usd(row.spent_micro + closing) or 1:.4f}",
            )
        columns: dict[str, Any] = {"reason": "", "max_micro": cap, "run_after": at}
        move(conn, run_id, ("paused", "queued"), at, "resumed", token=row.lease_token, **columns)
        return "queued"


@retried
def set_priority(db: Database, run_id: int, priority: int, *, now: float | None = None) -> None:
    """Set a run's priority; bigger is sooner. Raises Conflict for a finished run."""
    with db.write() as conn:
        row = run_row(conn, run_id)
        if row.state in TERMINAL:
            raise Conflict(f"run {run_id} has {row.state}: its priority changes nothing", "shoestring status")
        conn.execute(update(runs).where(runs.c.id == run_id).values(priority=checked_priority(priority)))
        note(conn, db.now(now), "priority", run_id, before=row.priority, after=priority)


def tag(db: Database, run_id: int, tags: Sequence[str], *, now: float | None = None) -> None:
    """Replace a run's tags."""
    with db.write() as conn:
        run_row(conn, run_id)
        conn.execute(update(runs).where(runs.c.id == run_id).values(tags=list(dict.fromkeys(tags))))
        note(conn, db.now(now), "tagged", run_id, tags=list(tags))


def set_budget(db: Database, project: str, max_usd: float, *, now: float | None = None) -> None:
    """Cap what all runs of a project spend together: no more claims, and running ones pause, once it is reached."""
    at = db.now(now)
    with db.write() as conn:
        set_cap(conn, project, max_usd, at)


def record_evaluation(
    db: Database, run_id: int, step: int, values: Mapping[str, float], *, now: float | None = None
) -> None:
    """Write what was measured on a run that has ended, as metric points at `step`. Raises NotFound, Conflict.

    Their other axes (images, FLOPs, dollars, seconds) are those of the run's last point up to that step.
    """
    with db.write() as conn:
        row = run_row(conn, run_id)
        if row.state not in TERMINAL:
            raise Conflict(f"run {run_id} is {row.state}: its worker writes its metrics", "wait until it has ended")
        before = select(metrics).where(metrics.c.run_id == run_id, metrics.c.step <= step)
        near = conn.execute(before.order_by(metrics.c.step.desc()).limit(1)).one_or_none()
        axes = {name: getattr(near, name, 0.0) for name in ("images", "flops", "usd", "seconds")}
        points = [{"run_id": run_id, "key": key, "step": step, "value": float(v), **axes} for key, v in values.items()]
        upsert(conn, metrics, points)
        note(conn, db.now(now), "evaluated", run_id, step=step, values=dict(values))


def drain_worker(db: Database, worker_id: str, *, now: float | None = None) -> None:
    """Ask a worker to end after its current run. Raises NotFound, Conflict."""
    with db.write() as conn:
        state = conn.scalar(select(workers.c.state).where(workers.c.id == worker_id))
        if state is None:
            raise NotFound(f"there is no worker {worker_id}", "shoestring status lists the workers")
        if state == "gone":
            raise Conflict(f"worker {worker_id} is gone already", "shoestring status lists the workers")
        conn.execute(update(workers).where(workers.c.id == worker_id).values(want="drain"))
        note(conn, db.now(now), "drain", None, worker=worker_id)


def _want(conn: Connection, row: Row[Any], want: str, reason: str, at: float) -> None:
    conn.execute(update(runs).where(runs.c.id == row.id).values(want=want, reason=reason))
    note(conn, at, f"want_{want}", row.id, row.lease_token)
