"""Putting runs into the queue: idempotent by `spec_hash`, all of a file or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoestring_trainer.config import TrainConfig
from shoestring_trainer.drawing import DrawConfig
from shoestring_trainer.run_dir import checkpoint_id
from sqlalchemy import Connection, Row, func, insert, select

from shoestring.budgets import Fund, afford, set_cap
from shoestring.bulk import append
from shoestring.db import Database, retried, take_turns
from shoestring.errors import Conflict, NotFound
from shoestring.garbage import uncollected
from shoestring.moves import note
from shoestring.resources import ANY_MACHINE, Resources
from shoestring.rows import micro
from shoestring.tables import checkpoints, dependencies, events, runs

if TYPE_CHECKING:
    from shoestring.request import Request
    from shoestring.run_plan import RunPlan

MAX_PRIORITY = 1_000_000
MANY = 1000  # values in one IN list
SUBMIT = "submit"  # what transactions that add runs take turns at


@dataclass(frozen=True)
class Submission:
    """A priced run, ready for the queue."""

    name: str
    experiment: str
    project: str
    seed: int
    spec_hash: str
    config: TrainConfig | DrawConfig
    spec: dict[str, Any] | Request = field(default_factory=dict)
    plan: dict[str, Any] = field(default_factory=dict)
    kind: str = "experiment"
    parent_id: int | None = None
    sweep_id: int | None = None
    priority: int = 0
    tags: tuple[str, ...] = ()
    max_usd: float | None = None
    planned_usd: float = 0.0
    reserved_usd: float = 0.0  # the forecast's 90th percentile
    provenance: dict[str, Any] = field(default_factory=dict)
    depends_on: tuple[int, ...] = ()
    queue: str = "default"
    resources: Resources = ANY_MACHINE

    @property
    def promised_usd(self) -> float:
        """What is kept back for it until it has ended."""
        return max(self.planned_usd, self.reserved_usd)


@dataclass(frozen=True)
class Submitted:
    """What became of a submission: the run, whether it was there already, its state, and what to do about that."""

    run_id: int
    existed: bool
    state: str
    hint: str = ""


@uncollected()
def submit_plans(
    db: Database,
    plans: Sequence[RunPlan],
    *,
    runs_dir: Path,
    again: bool = False,
    fund: Fund | None = None,
    dry_run: bool = False,
    now: float | None = None,
    **origin: Any,
) -> list[Submitted]:
    """Queue priced plans as `submit` does; `origin` are fields that they share: kind, parent_id, sweep_id, provenance,
    depends_on."""
    ready = [submission(plan, **origin) for plan in plans]
    return submit(db, ready, runs_dir=runs_dir, again=again, fund=fund, dry_run=dry_run, now=now)


def submission(plan: RunPlan, **origin: Any) -> Submission:
    """A priced plan as a row to be; `origin` as in `submit_plans`."""
    request = plan.request
    return Submission(
        name=plan.name,
        experiment=request.experiment,
        project=request.project,
        seed=request.seed,
        spec_hash=plan.spec_hash,
        config=plan.config,
        spec=request,
        plan=plan.as_json(),
        priority=request.priority,
        tags=request.tags,
        max_usd=request.max_usd,
        planned_usd=plan.usd.p50,
        reserved_usd=plan.usd.p90,
        queue=request.queue,
        resources=request.resources,
        **origin,
    )


@retried
def submit(
    db: Database,
    submissions: Sequence[Submission],
    *,
    runs_dir: Path,
    again: bool = False,
    fund: Fund | None = None,
    dry_run: bool = False,
    now: float | None = None,
) -> list[Submitted]:
    """Queue every submission, or none; a run with the same `spec_hash` is returned instead, unless `again`.

    With a `fund`, its cap is set, and refuses what it may not pay (BudgetRefused). `dry_run` writes nothing; ids of
    new runs are 0 then. Raises NotFound for an unknown dependency, Conflict for one that cannot succeed any more.
    """
    at = db.now(now)
    others = {other for one in submissions for other in one.depends_on}
    with db.write() as conn:
        take_turns(conn, SUBMIT)
        # locked, so that none of them ends unnoticed between the look at its state and this run's commit
        look = select(runs.c.id, runs.c.state).where(runs.c.id.in_(others)).order_by(runs.c.id).with_for_update()
        states = {row.id: row.state for row in conn.execute(look)} if others else {}
        newest = _newest(conn, [one.spec_hash for one in submissions])
        answers, new = list[tuple[_Known, bool]](), list[tuple[Submission, _Known]]()
        for one in submissions:
            found = newest.get(one.spec_hash)
            existed = found is not None and not again
            if found is None or again:
                waits = _check_dependencies(one, states)
                generation = 0 if found is None else found.generation + 1
                found = newest[one.spec_hash] = _Known(0, "blocked" if waits else "queued", generation)
                new.append((one, found))
            answers.append((found, existed))
        if fund and new:
            afford(conn, fund, [one.promised_usd for one, _ in new])
        if fund and fund.max_usd is not None and not dry_run:
            set_cap(conn, fund.project, fund.max_usd, at)
        if not dry_run:
            _insert_all(conn, new, runs_dir, at)
    return [Submitted(known.id, existed, known.state, known.hint if existed else "") for known, existed in answers]


@dataclass
class _Known:
    """The newest run of a spec_hash: in the table, or about to be (then its id is 0 until it is inserted)."""

    id: int
    state: str
    generation: int

    @property
    def hint(self) -> str:
        return f"shoestring retry {self.id}" if self.state in ("failed", "cancelled") else ""


def _newest(conn: Connection, hashes: Sequence[str]) -> dict[str, _Known]:
    """The newest run of each spec_hash that has any."""
    columns = (runs.c.spec_hash, runs.c.id, runs.c.state, runs.c.generation)
    found = {}
    for start in range(0, len(hashes), MANY):
        some = select(*columns).where(runs.c.spec_hash.in_(hashes[start : start + MANY]))
        for row in conn.execute(some.order_by(runs.c.generation)):  # so that the last of a hash stays
            found[row.spec_hash] = _Known(row.id, row.state, row.generation)
    return found


def _insert_all(conn: Connection, new: Sequence[tuple[Submission, _Known]], runs_dir: Path, at: float) -> None:
    """Insert the runs, their events and what they wait for, a few statements for all; write their ids into `new`."""
    if not new:
        return
    values = [_values(one, known.generation) | {"state": known.state} for one, known in new]
    for (_, known), run_id in zip(new, _insert(conn, values, runs_dir, at), strict=True):
        known.id = run_id
    waits = [{"run_id": known.id, "depends_on": on} for one, known in new for on in sorted(set(one.depends_on))]
    if waits:
        conn.execute(insert(dependencies), waits)


@retried
def record_import(
    db: Database, one: Submission, *, run_dir: Path, checkpoint: Path, now: float | None = None
) -> Submitted:
    """Enter a run whose weights came from elsewhere: succeeded at its last step, with this checkpoint in its folder.

    A run with the same `spec_hash` is returned instead.
    """
    at = db.now(now)
    with db.write() as conn:
        take_turns(conn, SUBMIT)
        found = conn.execute(select(runs.c.id, runs.c.state).where(runs.c.spec_hash == one.spec_hash)).first()
        if found is not None:
            return Submitted(found.id, True, found.state)
        step, token = checkpoint_id(checkpoint)
        done = {"state": "succeeded", "step": step, "checkpoint_step": step, "started_at": at, "ended_at": at}
        row = {**_values(one, 0), **done, "run_dir": str(run_dir), "run_after": at, "created_at": at}
        run_id = conn.execute(insert(runs).values(row).returning(runs.c.id)).scalar_one()
        n_bytes = sum(file.stat().st_size for file in checkpoint.iterdir())
        published = {"run_id": run_id, "step": step, "token": token, "path": str(checkpoint), "bytes": n_bytes}
        conn.execute(insert(checkpoints).values({**published, "created_at": at}))
        note(conn, at, "imported", run_id, to="succeeded", name=one.name, **one.provenance.get("imported", {}))
        return Submitted(run_id, False, "succeeded")


def _values(one: Submission, generation: int) -> dict[str, Any]:
    """The columns that say what was asked for."""
    compute, least = one.config.compute, one.resources
    gpus = compute.processes if compute.device == "cuda" else 0
    return {
        "name": one.name,
        "experiment": one.experiment,
        "project": one.project,
        "seed": one.seed,
        "kind": one.kind,
        "parent_id": one.parent_id,
        "sweep_id": one.sweep_id,
        "spec_hash": one.spec_hash,
        "generation": generation,
        "spec": one.spec,
        "config": one.config,
        "plan": one.plan,
        "provenance": one.provenance,
        "tags": list(one.tags),
        "priority": checked_priority(one.priority),
        "queue": one.queue,
        "gpus": gpus,
        "gpu_memory_gb": least.gpu_memory_gb if gpus else 0.0,
        "cpus": least.cpus,
        "memory_gb": least.memory_gb,
        "n_steps": one.config.n_steps,
        "planned_micro": micro(one.planned_usd),
        "reserved_micro": micro(one.promised_usd),
        "max_micro": None if one.max_usd is None else micro(one.max_usd),
    }


def _insert(conn: Connection, values: Sequence[dict[str, Any]], runs_dir: Path, at: float) -> list[int]:
    """Insert rows of one transaction, each with its folder and its event; return their ids, in order."""
    ids = _next_ids(conn, len(values))
    when = {"run_after": at, "created_at": at}
    rows = [{**row, **when, "id": i, "run_dir": str(runs_dir / f"{i:05d}")} for i, row in zip(ids, values, strict=True)]
    append(conn, runs, rows)
    notes = [{"to": row["state"], "name": row["name"]} for row in values]
    said = {"at": at, "kind": "submitted", "token": None}
    append(conn, events, [{**said, "run_id": i, "detail": note} for i, note in zip(ids, notes, strict=True)])
    return ids


def _next_ids(conn: Connection, n: int) -> list[int]:
    """`n` ids that no run has had: a run's folder carries its id, and a row written once is half the work of two."""
    if conn.dialect.name == "postgresql":
        drawn = "SELECT nextval(pg_get_serial_sequence('runs', 'id')) FROM generate_series(1, %(n)s)"
        return list(conn.exec_driver_sql(drawn, {"n": n}).scalars())
    last = conn.exec_driver_sql("SELECT seq FROM sqlite_sequence WHERE name = 'runs'").scalar() or 0
    return list(range(last + 1, last + n + 1))  # the caller holds the write lock


def _check_dependencies(one: Submission, states: Mapping[int, str]) -> bool:
    """Say whether the run has to wait for others, whose states are given. Raises NotFound, Conflict."""
    for other in one.depends_on:
        if other not in states:
            raise NotFound(f"{one.name} depends on run {other}, which does not exist", "shoestring status")
        if states[other] in ("failed", "cancelled"):
            raise Conflict(f"{one.name} depends on run {other}, which has {states[other]}", f"shoestring retry {other}")
    return any(states[other] != "succeeded" for other in one.depends_on)


@retried
def retry(db: Database, run_id: int, *, now: float | None = None) -> Submitted:
    """Make a new run with a failed or cancelled one as its parent; the old one stays as it is. Raises Conflict.

    A later run of the same spec that has not failed is returned instead of a second retry.
    """
    at = db.now(now)
    with db.write() as conn:
        take_turns(conn, SUBMIT)
        row = run_row(conn, run_id)
        if row.state not in ("failed", "cancelled"):
            hint = f"shoestring resume {run_id}" if row.state == "paused" else f"shoestring status {run_id}"
            raise Conflict(f"run {run_id} is {row.state}: only failed and cancelled runs are retried", hint)
        if row.failure_class == "poisonous":
            hint = "submit its experiment once more: shoestring submit experiments.yaml --again"
            raise Conflict(f"run {run_id} cannot be retried: what is stored of it cannot be trained", hint)
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
            *("memory_gb", "n_steps", "planned_micro", "reserved_micro", "max_micro"),
        )
        values = {name: getattr(row, name) for name in copied}
        values |= {"parent_id": run_id, "generation": (newest or 0) + 1}
        [new] = _insert(conn, [values | {"state": "queued"}], Path(row.run_dir).parent, at)
        return Submitted(new, False, "queued")


def run_row(conn: Connection, run_id: int) -> Row[Any]:
    """The run's row, locked. Raises NotFound."""
    row = None
    if 0 < run_id < 2**63:
        row = conn.execute(select(runs).where(runs.c.id == run_id).with_for_update()).one_or_none()
    if row is None:
        raise NotFound(f"there is no run {run_id}", "shoestring status lists the runs")
    return row


def checked_priority(priority: int) -> int:
    """The priority, in range. Raises Conflict."""
    if not -MAX_PRIORITY <= priority <= MAX_PRIORITY:
        raise Conflict(f"priority {priority} is out of range", f"−{MAX_PRIORITY} to {MAX_PRIORITY}; bigger is sooner")
    return priority
