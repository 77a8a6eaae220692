"""The queue as workers will take it, a page of it, and what is behind."""

from __future__ import annotations

from sqlalchemy import Connection, case, func, select

from shoestring import records, rows
from shoestring.db import Database
from shoestring.states import LEASED, TERMINAL
from shoestring.tables import DUE, HELD, QUEUED, runs

PLACE = {"running": 0, "stopping": 0, "leased": 0, "queued": 1, "blocked": 2, "paused": 3}

_more = runs.c.planned_micro - runs.c.spent_micro
AHEAD = func.coalesce(func.sum(case((_more > 0, _more), else_=0)), 0)  # micro-dollars, of runs that have not ended


def line(db: Database, limit: int) -> records.Line:
    """Who holds a worker, then the queue in the order of claims, then who cannot be claimed yet: the first `limit`."""
    place = case(PLACE, value=runs.c.state, else_=len(PLACE))
    unfinished = runs.c.state.not_in(sorted(TERMINAL))
    active = func.coalesce(func.sum(case((runs.c.state.in_(LEASED), 1), else_=0)), 0)
    with db.read() as conn:
        ids = _first_ids(conn, limit)
        page = select(*rows.AS_STORED).where(runs.c.id.in_(ids)).order_by(place, DUE, runs.c.id)
        first = [rows.kept_run(row) for row in conn.execute(page)]
        n, n_active, ahead_micro = conn.execute(select(func.count(), active, AHEAD).where(unfinished)).one()
    return records.Line(tuple(first), int(n_active), int(n) - int(n_active), rows.usd(ahead_micro))


def _first_ids(conn: Connection, limit: int) -> list[int]:
    """The page's runs: each state by the index that holds it, so that a long queue is not read through."""
    rest = select(runs.c.id).where(runs.c.state.in_([state for state, place in PLACE.items() if place > 1]))
    waiting = case(PLACE, value=runs.c.state), DUE, runs.c.id
    found: list[int] = []
    for query in (
        select(runs.c.id).where(HELD).order_by(DUE, runs.c.id),
        select(runs.c.id).where(QUEUED).order_by(DUE, runs.c.id),
        select(runs.c.id).where(runs.c.id.in_(rest)).order_by(*waiting),
    ):
        if len(found) < limit:
            found += conn.scalars(query.limit(limit - len(found)))
    return found
