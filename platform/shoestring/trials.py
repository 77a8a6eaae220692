"""What a sweep writes: itself, its trials, and what became of them. Each trial is an ordinary run of the queue."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, insert, select, update

from shoestring.db import Database
from shoestring.errors import Conflict, NotFound
from shoestring.moves import note
from shoestring.rows import canonical, micro
from shoestring.tables import sweeps, trials

TOLD = ("complete", "failed", "pruned")


def create_sweep(
    db: Database,
    name: str,
    project: str,
    base: str,
    spec: dict[str, Any],
    *,
    max_usd: float | None = None,
    now: float | None = None,
) -> int:
    """Return the id of the project's sweep with this name and spec; make it where there is none yet."""
    at = db.now(now)
    spec_hash = hashlib.sha256(canonical(spec).encode()).hexdigest()
    with db.write() as conn:
        same = (sweeps.c.project == project) & (sweeps.c.name == name) & (sweeps.c.spec_hash == spec_hash)
        found = conn.scalar(select(sweeps.c.id).where(same))
        if found is not None:
            return found
        values = {"name": name, "project": project, "base": base, "spec": spec, "spec_hash": spec_hash}
        values |= {"max_micro": None if max_usd is None else micro(max_usd), "state": "running", "created_at": at}
        sweep_id = conn.execute(insert(sweeps).values(values).returning(sweeps.c.id)).scalar_one()
        note(conn, at, "sweep_created", None, sweep=sweep_id, name=name)
        return sweep_id


def propose_trial(
    db: Database,
    sweep_id: int,
    number: int,
    params: dict[str, Any],
    *,
    run_id: int | None = None,
    now: float | None = None,
) -> None:
    """Write down a trial, first without a run, then (again) with the run that trains it. Raises NotFound, Conflict."""
    at = db.now(now)
    with db.write() as conn:
        if conn.scalar(select(func.count()).where(sweeps.c.id == sweep_id)) == 0:
            raise NotFound(f"there is no sweep {sweep_id}", "shoestring sweep")
        one = (trials.c.sweep_id == sweep_id) & (trials.c.number == number)
        row = conn.execute(select(trials).where(one)).one_or_none()
        state = "proposed" if run_id is None else "running"
        if row is None:
            values = {"sweep_id": sweep_id, "number": number, "params": params, "run_id": run_id, "state": state}
            conn.execute(insert(trials).values(values))
            note(conn, at, "trial_proposed", run_id, sweep=sweep_id, number=number, params=params)
            return
        if canonical(row.params) != canonical(params):
            raise Conflict(
                f"trial {number} of sweep {sweep_id} has other parameters: {row.params}", "ask for a new one"
            )
        if run_id is not None and row.state in ("proposed", "running"):
            conn.execute(update(trials).where(one).values(run_id=run_id, state=state))


def tell_trial(
    db: Database,
    sweep_id: int,
    number: int,
    values: Sequence[float] = (),
    *,
    state: str = "complete",
    now: float | None = None,
) -> None:
    """End a trial with its objectives' `values` (in the sweep's order), or as `failed` or `pruned` without them."""
    if state not in TOLD:
        raise ValueError(f"trial state {state!r}: one of {TOLD}")
    with db.write() as conn:
        one = (trials.c.sweep_id == sweep_id) & (trials.c.number == number)
        told = update(trials).where(one).values(state=state, results=[float(value) for value in values])
        run_id = conn.execute(told.returning(trials.c.run_id)).one_or_none()
        if run_id is None:
            raise NotFound(f"sweep {sweep_id} has no trial {number}", "shoestring sweep")
        note(conn, db.now(now), f"trial_{state}", run_id[0], sweep=sweep_id, number=number, values=list(values))


def finish_sweep(db: Database, sweep_id: int, state: str = "finished", *, now: float | None = None) -> None:
    """Set a sweep `finished`, `stopped`, or `running` again."""
    if state not in ("finished", "stopped", "running"):
        raise ValueError(f"sweep state {state!r}: finished, stopped or running")
    at = db.now(now)
    with db.write() as conn:
        ended = None if state == "running" else at
        done = update(sweeps).where(sweeps.c.id == sweep_id).values(state=state, ended_at=ended)
        if not conn.execute(done).rowcount:
            raise NotFound(f"there is no sweep {sweep_id}", "shoestring sweep")
        note(conn, at, f"sweep_{state}", None, sweep=sweep_id)
