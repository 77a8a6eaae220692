"""Where the dollars went: totals, spend by outcome, and what was done twice. In SQL aggregates."""

from __future__ import annotations

from sqlalchemy import Connection, Float, cast, func, select

from shoestring.db import Database
from shoestring.records import MICRO, Totals
from shoestring.states import LEASED
from shoestring.tables import attempts, runs, workers

ALIVE_S = 60.0  # a worker that has not said anything for longer does not count as alive


def totals(db: Database, project: str | None = None, *, now: float | None = None) -> Totals:
    """The overview's row of figures; wasted = failed and cancelled runs, and work done twice."""
    alive_since = db.now(now) - ALIVE_S
    with db.read() as conn:
        rows = _by_state(conn, project)
        alive = select(func.count()).where(workers.c.state != "gone", workers.c.beat_at >= alive_since)
        n_alive = conn.scalar(alive) or 0
        twice = _done_twice(conn, project)
    count = {state: n for state, (n, _) in rows.items()}
    spent = {state: micro for state, (_, micro) in rows.items()}
    lost = spent.get("failed", 0) + spent.get("cancelled", 0)
    return Totals(
        n_runs=sum(count.values()),
        n_active=sum(count.get(state, 0) for state in LEASED),
        n_queued=count.get("queued", 0) + count.get("blocked", 0),
        n_succeeded=count.get("succeeded", 0),
        n_failed=count.get("failed", 0),
        spent_usd=sum(spent.values()) / MICRO,
        wasted_usd=(lost + twice) / MICRO,
        workers_alive=n_alive,
    )


def spend_by_outcome(db: Database, project: str | None = None) -> dict[str, float]:
    """Dollars by what became of them: succeeded, unfinished, failed, cancelled, repeated (work done twice)."""
    with db.read() as conn:
        spent = {state: micro for state, (_, micro) in _by_state(conn, project).items()}
        good = _done_twice(conn, project, "succeeded")
        twice = _done_twice(conn, project)
    ended = {state: spent.pop(state, 0) / MICRO for state in ("succeeded", "failed", "cancelled")}
    return {
        "succeeded": ended["succeeded"] - good / MICRO,
        "unfinished": (sum(spent.values()) - (twice - good)) / MICRO,
        "failed": ended["failed"],
        "cancelled": ended["cancelled"],
        "repeated": twice / MICRO,
    }


def _by_state(conn: Connection, project: str | None) -> dict[str, tuple[int, int]]:
    """state → (number of runs, micro-dollars)."""
    query = select(runs.c.state, func.count(), func.coalesce(func.sum(runs.c.spent_micro), 0)).group_by(runs.c.state)
    if project is not None:
        query = query.where(runs.c.project == project)
    return {state: (n, int(micro)) for state, n, micro in conn.execute(query)}


def _done_twice(conn: Connection, project: str | None, state: str | None = None) -> float:
    """Micro-dollars of steps that a later attempt trained again, in runs that did not fail and were not cancelled.

    An attempt from step a to b whose successor began at c < b has wasted (b − c)/(b − a) of its dollars; one that got
    nowhere has wasted them all.
    """
    query = select(
        attempts.c.micro,
        cast(attempts.c.first_step, Float).label("first"),
        cast(attempts.c.last_step, Float).label("last"),
        func.lead(attempts.c.first_step)
        .over(partition_by=attempts.c.run_id, order_by=attempts.c.token)
        .label("resumed"),
    ).join(runs, runs.c.id == attempts.c.run_id)
    query = query.where(runs.c.state.not_in(["failed", "cancelled"]) if state is None else runs.c.state == state)
    if project is not None:
        query = query.where(runs.c.project == project)
    wasted = 0.0
    for row in conn.execute(query):
        if row.resumed is not None:
            trained = row.last - row.first
            wasted += row.micro * (1.0 if trained <= 0 else min(1.0, max(0.0, row.last - row.resumed) / trained))
    return wasted
