"""What people ask of a sweep while it runs: stop, a higher cap, a point to try. Its process notices between trials.

Everything is in our database, so it does not matter which machine proposes, or whether one does now: a sweep that is
run again takes it up. A point is an event of the audit log; Optuna is given each once, by the event's number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, insert, select, update

from shoestring import records
from shoestring.budgets import afford_more
from shoestring.db import Database, retried
from shoestring.errors import Conflict, NotFound, UsageError
from shoestring.faults import did_you_mean
from shoestring.moves import note
from shoestring.rows import canonical, micro
from shoestring.spec_parts import searches
from shoestring.stored import mapping
from shoestring.tables import events, sweeps, trials
from shoestring.trials import read_sweeps

POINT = "point_asked"
MAX_USD = 1e9


@retried
def stop_sweep(db: Database, sweep_id: int, *, now: float | None = None) -> records.Sweep:
    """Let a sweep propose no further trial; those in flight train to their end. Raises NotFound, Conflict."""
    at = db.now(now)
    with db.write() as conn:
        sweep = _sweep(conn, sweep_id)
        running = update(sweeps).where(sweeps.c.id == sweep_id, sweeps.c.state == "running")
        if not conn.execute(running.values(state="stopped", ended_at=at)).rowcount:
            raise Conflict(f"sweep {sweep.name} is {sweep.state} already", "only one that is running can be stopped")
        note(conn, at, "sweep_stopped", None, sweep=sweep_id, reason="by hand")
        return read_sweeps(conn, sweep_id)[0]


@retried
def set_sweep_cap(db: Database, sweep_id: int, max_usd: float, *, now: float | None = None) -> records.Sweep:
    """Let a sweep's trials cost so many dollars together. Raises NotFound, Conflict, UsageError, BudgetRefused.

    It holds until the file's own `budget` of the sweep is changed. Its project's budget must be able to pay the rest.
    """
    at = db.now(now)
    if not 0 < max_usd <= MAX_USD:
        raise UsageError(f"max_usd {max_usd:g}: more than 0 and at most {MAX_USD:g}", "give dollars, like 0.5")
    with db.write() as conn:
        sweep = _sweep(conn, sweep_id)
        if max_usd <= sweep.spent_usd:
            what = f"sweep {sweep.name} has spent ${sweep.spent_usd:.5f} already, ${max_usd:g} is not more"
            raise Conflict(what, "give more, or stop it: shoestring sweep stop " + sweep.name)
        known = sweep.max_usd if sweep.state == "running" and sweep.max_usd is not None else sweep.spent_usd
        afford_more(conn, sweep.project, f"sweep {sweep.name} up to ${max_usd:g}", max_usd - known)
        conn.execute(update(sweeps).where(sweeps.c.id == sweep_id).values(max_micro=micro(max_usd)))
        note(conn, at, "sweep_cap", None, sweep=sweep_id, before=sweep.max_usd, after=max_usd)
        return read_sweeps(conn, sweep_id)[0]


@retried
def ask_point(db: Database, sweep_id: int, params: Mapping[str, Any], *, now: float | None = None) -> int:
    """Ask for a trial with these values, before all proposals and beside the trials that the file asks for.

    Return the event's number. Raises NotFound, UsageError for what the search could not propose, Conflict for what
    was tried or asked for before.
    """
    at = db.now(now)
    with db.write() as conn:
        sweep = _sweep(conn, sweep_id)
        point = checked(sweep, params)
        same = canonical(point)
        for row in conn.execute(select(trials.c.number, trials.c.params).where(trials.c.sweep_id == sweep_id)):
            if canonical(mapping(row.params)) == same:
                raise Conflict(f"trial {row.number} of sweep {sweep.name} has these values", "ask for others")
        if same in map(canonical, _asked(conn, sweep_id).values()):
            raise Conflict(
                f"sweep {sweep.name} was asked for this point before", "it comes first when the sweep goes on"
            )
        told = {"at": at, "kind": POINT, "detail": {"sweep": sweep_id, "params": point}}
        return int(conn.execute(insert(events).values(told).returning(events.c.id)).scalar_one())


def asked_points(db: Database, sweep_id: int) -> dict[int, dict[str, Any]]:
    """The points that people asked a sweep for, by number of the event, oldest first."""
    with db.read() as conn:
        return _asked(conn, sweep_id)


def checked(sweep: records.Sweep, params: Mapping[str, Any]) -> dict[str, Any]:
    """The point in the search's order. Raises UsageError with what does not fit, and what would."""
    search = searches(sweep.spec)
    for path in params:
        if path not in search:
            raise UsageError(f"sweep {sweep.name} does not search {path}", did_you_mean(path, search))
    for path, one in search.items():
        if path not in params:
            raise UsageError(f"{path} has no value", f"every searched field needs one; {path}: {one.words}")
        if not one.holds(params[path]):
            raise UsageError(f"{path} {params[path]!r} is outside the search", f"{path}: {one.words}")
    return {path: params[path] for path in search}


def _sweep(conn: Connection, sweep_id: int) -> records.Sweep:
    found = read_sweeps(conn, sweep_id)
    if not found:
        raise NotFound(f"there is no sweep {sweep_id}", "shoestring sweep report NAME names those there are")
    return found[0]


def _asked(conn: Connection, sweep_id: int) -> dict[int, dict[str, Any]]:
    of_nobody = select(events.c.id, events.c.detail).where(events.c.run_id.is_(None), events.c.kind == POINT)
    found = {row.id: mapping(row.detail) for row in conn.execute(of_nobody.order_by(events.c.id))}
    return {number: mapping(one.get("params")) for number, one in found.items() if one.get("sweep") == sweep_id}
