"""What users do to the queue: submit, cancel, pause, resume, retry, prioritise, tag, drain. One transaction each.

What users do to a sweep is in `trials`; import both from here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shoestring_trainer.config import TrainConfig
from sqlalchemy import Connection, Row, func, insert, select, update

from shoestring.db import Database, upsert
from shoestring.errors import Conflict, NotFound
from shoestring.moves import move, note
from shoestring.rows import micro, usd
from shoestring.states import LEASED, TERMINAL
from shoestring.tables import budgets, dependencies, runs, workers
from shoestring.trials import create_sweep, finish_sweep, propose_trial, tell_trial

__all__ = [
    "Submission", "Submitted", "cancel", "create_sweep", "drain_worker", "finish_sweep", "pause", "propose_trial",
    "resume", "retry", "set_budget", "set_priority", "submit_plans", "tag", "tell_trial",
]  # fmt: skip

MAX_PRIORITY = 1_000_000


@dataclass(frozen=True)
class Submission:
    """A priced run, ready for the queue."""

    name: str
    experiment: str
    project: str
    seed: int
    spec_hash: str
    config: TrainConfig
    spec: dict[str, Any] = field(default_factory=dict)
    plan: dict[str, Any] = field(default_factory=dict)
    kind: str = "experiment"
    parent_id: int | None = None
    sweep_id: int | None = None
    priority: int = 0
    tags: tuple[str, ...] = ()
    max_usd: float | None = None
    planned_usd: float = 0.0
    provenance: dict[str, Any] = field(default_factory=dict)
    depends_on: tuple[int, ...] = ()
    queue: str = "default"


@dataclass(frozen=True)
class Submitted:
    """What became of a submission: the run, whether it was there already, its state, and what to do about that."""

    run_id: int
    existed: bool
    state: str
    hint: str = ""


def submit_plans(
    db: Database,
    submissions: Sequence[Submission],
    runs_root: Path,
    *,
    again: bool = False,
    now: float | None = None,
) -> list[Submitted]:
    """Queue every submission, or none; a run with the same `spec_hash` is returned instead, unless `again`.

    Raises NotFound for an unknown dependency, Conflict for one that cannot succeed any more.
    """
    at = db.now(now)
    with db.write() as conn:
        return [_submit(conn, one, runs_root, again, at) for one in submissions]


def _submit(conn: Connection, one: Submission, runs_root: Path, again: bool, at: float) -> Submitted:
    newest = select(runs.c.id, runs.c.state, runs.c.generation).where(runs.c.spec_hash == one.spec_hash)
    found = conn.execute(newest.order_by(runs.c.generation.desc()).limit(1)).one_or_none()
    if found is not None and not again:
        stuck = found.state in ("failed", "cancelled")
        return Submitted(found.id, True, found.state, f"shoestring retry {found.id}" if stuck else "")
    waits = _check_dependencies(conn, one)
    values = {
        "name": one.name,
        "experiment": one.experiment,
        "project": one.project,
        "seed": one.seed,
        "kind": one.kind,
        "parent_id": one.parent_id,
        "sweep_id": one.sweep_id,
        "spec_hash": one.spec_hash,
        "generation": 0 if found is None else found.generation + 1,
        "spec": one.spec,
        "config": one.config.model_dump(mode="json"),
        "plan": one.plan,
        "provenance": one.provenance,
        "tags": list(one.tags),
        "priority": _priority(one.priority),
        "queue": one.queue,
        "gpus": one.config.compute.processes if one.config.compute.device == "cuda" else 0,
        "n_steps": one.config.n_steps,
        "planned_micro": micro(one.planned_usd),
        "max_micro": None if one.max_usd is None else micro(one.max_usd),
    }
    run_id = _insert(conn, values, runs_root, "blocked" if waits else "queued", at)
    for other in sorted(set(one.depends_on)):
        conn.execute(insert(dependencies).values(run_id=run_id, depends_on=other))
    return Submitted(run_id, False, "blocked" if waits else "queued")


def _insert(conn: Connection, values: dict[str, Any], runs_root: Path, state: str, at: float) -> int:
    row = {**values, "state": state, "run_after": at, "created_at": at}
    run_id = conn.execute(insert(runs).values(row).returning(runs.c.id)).scalar_one()
    conn.execute(update(runs).where(runs.c.id == run_id).values(run_dir=str(runs_root / f"{run_id:05d}")))
    note(conn, at, "submitted", run_id, to=state, name=values["name"])
    return run_id


def _check_dependencies(conn: Connection, one: Submission) -> bool:
    """Say whether the run has to wait for others. Raises NotFound, Conflict."""
    states = dict(conn.execute(select(runs.c.id, runs.c.state).where(runs.c.id.in_(one.depends_on))).all())
    for other in one.depends_on:
        if other not in states:
            raise NotFound(f"{one.name} depends on run {other}, which does not exist", "shoestring status")
        if states[other] in ("failed", "cancelled"):
            raise Conflict(f"{one.name} depends on run {other}, which has {states[other]}", f"shoestring retry {other}")
    return any(state != "succeeded" for state in states.values())


def cancel(db: Database, run_id: int, *, now: float | None = None) -> str:
    """Cancel a run: at once when nobody holds it, else its worker stops it; return its state. Raises Conflict."""
    at = db.now(now)
    with db.write() as conn:
        row = _run(conn, run_id)
        if row.state in TERMINAL:
            raise Conflict(f"run {run_id} has {row.state} already", "only a run that is not finished can be cancelled")
        if row.state in LEASED:
            _want(conn, row, "cancel", "", at)
            return row.state
        columns = {"reason": "cancelled", "lease_token": row.lease_token + 1}
        move(conn, run_id, (row.state, "cancelled"), at, "cancelled", token=row.lease_token, **columns)
        return "cancelled"


def pause(db: Database, run_id: int, *, now: float | None = None) -> str:
    """Pause a run: at once when it waits, else after its next checkpoint; return its state. Raises Conflict."""
    at = db.now(now)
    with db.write() as conn:
        row = _run(conn, run_id)
        if row.state == "paused" or row.state in TERMINAL or row.state == "blocked":
            raise Conflict(f"run {run_id} is {row.state}", "only a run that is queued or running can be paused")
        if row.state in LEASED:
            if row.want == "cancel":
                raise Conflict(f"run {run_id} is being cancelled", f"shoestring status {run_id}")
            _want(conn, row, "pause", "by hand", at)
            return row.state
        move(conn, run_id, ("queued", "paused"), at, "paused", token=row.lease_token, reason="by hand")
        return "paused"


def resume(db: Database, run_id: int, *, max_usd: float | None = None, now: float | None = None) -> str:
    """Queue a paused run again, with a higher cap where its money was spent; return its state. Raises Conflict."""
    at = db.now(now)
    with db.write() as conn:
        row = _run(conn, run_id)
        if row.state in LEASED and row.want == "pause":
            _want(conn, row, "run", "", at)
            return row.state
        if row.state != "paused":
            raise Conflict(f"run {run_id} is {row.state}, not paused", f"shoestring status {run_id}")
        cap = row.max_micro if max_usd is None else micro(max_usd)
        if cap is not None and row.spent_micro >= cap:
            raise Conflict(
                f"run {run_id} has spent ${usd(row.spent_micro):.4f} of max_usd ${usd(cap):.4f}",
                f"give it a higher cap: shoestring resume {run_id} --max-usd {usd(row.spent_micro) * 2 or 1:.4f}",
            )
        columns = {"reason": "", "max_micro": cap, "run_after": at}
        move(conn, run_id, ("paused", "queued"), at, "resumed", token=row.lease_token, **columns)
        return "queued"


def retry(db: Database, run_id: int, *, now: float | None = None) -> Submitted:
    """Make a new run with a failed or cancelled one as its parent; the old one stays as it is. Raises Conflict.

    A later run of the same spec that has not failed is returned instead of a second retry.
    """
    at = db.now(now)
    with db.write() as conn:
        row = _run(conn, run_id)
        if row.state not in ("failed", "cancelled"):
            hint = f"shoestring resume {run_id}" if row.state == "paused" else f"shoestring status {run_id}"
            raise Conflict(f"run {run_id} is {row.state}: only failed and cancelled runs are retried", hint)
        same = select(runs.c.id, runs.c.state).where(
            runs.c.spec_hash == row.spec_hash, runs.c.state.not_in(["failed", "cancelled"])
        )
        found = conn.execute(same.order_by(runs.c.generation.desc()).limit(1)).one_or_none()
        if found is not None:
            return Submitted(found.id, True, found.state)
        newest = conn.scalar(select(func.max(runs.c.generation)).where(runs.c.spec_hash == row.spec_hash))
        copied = (
            *("name", "experiment", "project", "seed", "kind", "sweep_id", "spec_hash", "spec_version", "spec"),
            *("config", "plan", "provenance", "tags", "priority", "queue", "gpus", "gpu_memory_gb", "cpus"),
            *("memory_gb", "n_steps", "planned_micro", "max_micro"),
        )
        values = {name: getattr(row, name) for name in copied}
        values |= {"parent_id": run_id, "generation": (newest or 0) + 1}
        new = _insert(conn, values, Path(row.run_dir).parent, "queued", at)
        return Submitted(new, False, "queued")


def set_priority(db: Database, run_id: int, priority: int, *, now: float | None = None) -> None:
    """Set a run's priority; bigger is sooner. Raises Conflict for a finished run."""
    with db.write() as conn:
        row = _run(conn, run_id)
        if row.state in TERMINAL:
            raise Conflict(f"run {run_id} has {row.state}: its priority changes nothing", "shoestring status")
        conn.execute(update(runs).where(runs.c.id == run_id).values(priority=_priority(priority)))
        note(conn, db.now(now), "priority", run_id, before=row.priority, after=priority)


def tag(db: Database, run_id: int, tags: Sequence[str], *, now: float | None = None) -> None:
    """Replace a run's tags."""
    with db.write() as conn:
        _run(conn, run_id)
        conn.execute(update(runs).where(runs.c.id == run_id).values(tags=list(dict.fromkeys(tags))))
        note(conn, db.now(now), "tagged", run_id, tags=list(tags))


def set_budget(db: Database, project: str, max_usd: float, *, now: float | None = None) -> None:
    """Cap what all runs of a project spend together: no more claims, and running ones pause, once it is reached."""
    at = db.now(now)
    with db.write() as conn:
        upsert(conn, budgets, [{"project": project, "max_micro": micro(max_usd), "updated_at": at}])
        note(conn, at, "budget", None, project=project, max_usd=max_usd)


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


def _run(conn: Connection, run_id: int) -> Row[Any]:
    row = None
    if 0 < run_id < 2**63:
        row = conn.execute(select(runs).where(runs.c.id == run_id).with_for_update()).one_or_none()
    if row is None:
        raise NotFound(f"there is no run {run_id}", "shoestring status lists the runs")
    return row


def _want(conn: Connection, row: Row[Any], want: str, reason: str, at: float) -> None:
    conn.execute(update(runs).where(runs.c.id == row.id).values(want=want, reason=reason))
    note(conn, at, f"want_{want}", row.id, row.lease_token)


def _priority(priority: int) -> int:
    if not -MAX_PRIORITY <= priority <= MAX_PRIORITY:
        raise Conflict(f"priority {priority} is out of range", f"−{MAX_PRIORITY} to {MAX_PRIORITY}; bigger is sooner")
    return priority
