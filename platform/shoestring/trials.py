"""What a sweep writes: itself, its trials, and what became of them. Each trial is an ordinary run of the queue."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, func, insert, select, update

from shoestring import records
from shoestring.budgets import Fund, afford
from shoestring.db import Database, retried, take_turns
from shoestring.errors import Conflict, NotFound
from shoestring.moves import move, note
from shoestring.rows import canonical, micro, usd
from shoestring.rungs import PRUNED, REASON
from shoestring.stored import mapping
from shoestring.submissions import run_row
from shoestring.tables import events, runs, sweeps, trials

if TYPE_CHECKING:
    from shoestring.resolve import SweepRequest

TOLD = ("complete", "failed", "pruned")


def create_sweep(db: Database, request: SweepRequest, *, now: float | None = None) -> records.Sweep:
    """Return the sweep of this request, running; make it where there is none. Its number of trials may have grown.

    Of its cap the newest word counts: the file's, where that says another than before, else what a person has set
    since. A new one keeps back its budget. Raises BudgetRefused where its project's holds less.
    """
    at = db.now(now)
    spec = request.as_json()
    if request.max_usd is not None:
        spec["budget"] = {"max_usd": request.max_usd}
    searched = {key: value for key, value in spec.items() if key not in ("budget", "trials")}
    spec_hash = hashlib.sha256(canonical([searched, request.base.spec_hash]).encode()).hexdigest()
    max_micro = None if request.max_usd is None else micro(request.max_usd)
    names = {"name": request.name, "project": request.project, "spec_hash": spec_hash}
    with db.write() as conn:
        take_turns(conn, "sweep")
        same = [sweeps.c[key] == value for key, value in names.items()]
        known = conn.execute(select(sweeps.c.id, sweeps.c.spec).where(*same)).one_or_none()
        if known is not None:
            sweep_id = known.id
            again: dict[str, Any] = {"spec": spec, "state": "running", "ended_at": None}
            if mapping(known.spec).get("budget") != spec.get("budget"):
                again["max_micro"] = max_micro
            conn.execute(update(sweeps).where(sweeps.c.id == sweep_id).values(again))
        else:
            if request.max_usd is not None:
                afford(conn, Fund(request.project, sweeps_usd={request.name: request.max_usd}), [])
            values = {
                **names,
                "spec": spec,
                "max_micro": max_micro,
                "base": request.base.experiment,
                "state": "running",
                "created_at": at,
            }
            sweep_id = conn.execute(insert(sweeps).values(values).returning(sweeps.c.id)).scalar_one()
            note(conn, at, "sweep_created", None, sweep=sweep_id, name=request.name)
        return read_sweeps(conn, sweep_id)[0]


def read_sweeps(conn: Connection, sweep_id: int | None = None, project: str | None = None) -> list[records.Sweep]:
    """Records of sweeps with what they spent and how many trials they have, oldest first."""
    spent = select(func.coalesce(func.sum(runs.c.spent_micro), 0)).where(runs.c.sweep_id == sweeps.c.id)
    n_trials = select(func.count()).where(trials.c.sweep_id == sweeps.c.id)
    query = select(sweeps, spent.scalar_subquery().label("spent"), n_trials.scalar_subquery().label("n_trials"))
    if sweep_id is not None:
        query = query.where(sweeps.c.id == sweep_id)
    if project is not None:
        query = query.where(sweeps.c.project == project)
    return [
        records.Sweep(
            id=row.id,
            name=row.name,
            project=row.project,
            base=row.base,
            spec=mapping(row.spec),
            state=row.state,
            max_usd=None if row.max_micro is None else usd(row.max_micro),
            spent_usd=usd(row.spent),
            n_trials=row.n_trials,
            created_at=row.created_at,
        )
        for row in conn.execute(query.order_by(sweeps.c.id))
    ]


def propose_trial(
    db: Database,
    sweep_id: int,
    number: int,
    params: dict[str, Any],
    run_id: int | None = None,
    *,
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


def finish_trial(
    db: Database, sweep_id: int, number: int, state: str, values: Sequence[float] = (), *, now: float | None = None
) -> None:
    """End a trial: `complete` with its objectives' `values` in the sweep's order, or `failed`, or `pruned`."""
    if state not in TOLD:
        raise ValueError(f"trial state {state!r}: one of {TOLD}")
    results = [float(value) for value in values]
    with db.write() as conn:
        one = (trials.c.sweep_id == sweep_id) & (trials.c.number == number)
        told = update(trials).where(one).values(state=state, results=results)
        run_id = conn.execute(told.returning(trials.c.run_id)).one_or_none()
        if run_id is None:
            raise NotFound(f"sweep {sweep_id} has no trial {number}", "shoestring sweep")
        note(conn, db.now(now), f"trial_{state}", run_id[0], sweep=sweep_id, number=number, values=results)


def finish_sweep(
    db: Database, sweep_id: int, reason: str = "", *, state: str = "finished", now: float | None = None
) -> records.Sweep:
    """Set a sweep `finished` or `stopped`, with the reason in the audit log; return it. Raises NotFound."""
    if state not in ("finished", "stopped"):
        raise ValueError(f"sweep state {state!r}: finished or stopped")
    at = db.now(now)
    with db.write() as conn:
        done = update(sweeps).where(sweeps.c.id == sweep_id).values(state=state, ended_at=at)
        if not conn.execute(done).rowcount:
            raise NotFound(f"there is no sweep {sweep_id}", "shoestring sweep")
        note(conn, at, f"sweep_{state}", None, sweep=sweep_id, reason=reason)
        return read_sweeps(conn, sweep_id)[0]


@retried
def promote(
    db: Database, run_id: int, n_passed: int, *, max_usd: float | None = None, now: float | None = None
) -> bool:
    """Queue a run that waits at a rung, having passed so many; say whether this call did it. Raises NotFound.

    A second call changes nothing: the audit log says how many rungs the run has passed (see `promotions`).
    """
    at = db.now(now)
    with db.write() as conn:
        row = run_row(conn, run_id)
        if row.state != "paused" or row.reason != REASON or _passed(conn, [run_id]).get(run_id, 0) != n_passed:
            return False
        note(conn, at, "promoted", run_id, row.lease_token, rung=n_passed)
        columns: dict[str, Any] = {"reason": "", "run_after": at}
        if max_usd is not None:
            columns["max_micro"] = micro(max_usd)
        return move(conn, run_id, ("paused", "queued"), at, "resumed", token=row.lease_token, **columns)


@retried
def prune(db: Database, run_id: int, why: str, *, now: float | None = None) -> bool:
    """End a run that waits at a rung, for good; say whether it waited there. Raises NotFound."""
    at = db.now(now)
    with db.write() as conn:
        row = run_row(conn, run_id)
        if row.state != "paused" or row.reason != REASON:
            return False
        columns: dict[str, Any] = {"reason": f"{PRUNED}: {why}", "lease_token": row.lease_token + 1}
        return move(conn, run_id, ("paused", "cancelled"), at, "cancelled", token=row.lease_token, **columns)


def promotions(db: Database, run_ids: Sequence[int]) -> dict[int, int]:
    """How many rungs each of the runs was let through; those at none are left out."""
    with db.read() as conn:
        return _passed(conn, run_ids)


def _passed(conn: Connection, run_ids: Sequence[int]) -> dict[int, int]:
    counted = select(events.c.run_id, func.count()).where(events.c.kind == "promoted")
    found = conn.execute(counted.where(events.c.run_id.in_(list(run_ids))).group_by(events.c.run_id))
    return {run_id: n for run_id, n in found}
