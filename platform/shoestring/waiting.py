"""Why a run is not running, in words with the next thing to do."""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from sqlalchemy import Connection, Row, and_, or_, select

from shoestring.db import Database
from shoestring.leases import projects_without_money, ready
from shoestring.ledger import ALIVE_S
from shoestring.moves import unmet
from shoestring.records import AGE_S, Run
from shoestring.resources import Room
from shoestring.tables import DUE, QUEUED, runs, workers


@dataclass(frozen=True)
class Facts:
    """What all waiting runs have in common at one moment."""

    broke: frozenset[str]  # projects without money
    n_alive: int
    rooms: tuple[Room, ...]  # what those of them offer that take another run
    rows: Mapping[int, Row[Any]]  # by run: run_after, queue, due, ready
    # queue → priority → (due, id) of the runs that may be claimed, in the order of claims, as far as is asked
    lines: dict[str, dict[int, list[tuple[float, int]]]] = field(default_factory=lambda: defaultdict(dict))


def why_waiting(db: Database, run: Run, *, now: float | None = None) -> str:
    """Say why `run` waits; "" for a run that does not."""
    return why_each(db, [run], now=now)[run.id]


def why_each(db: Database, waiting: Sequence[Run], *, now: float | None = None) -> dict[int, str]:
    """Say of each of these runs why it waits, by its id."""
    queued = [run.id for run in waiting if run.state == "queued"]
    with db.read() as conn:
        facts = _facts(conn, queued, db.now(now)) if queued else None
        return {run.id: _why(conn, run, facts) for run in waiting}


def _why(conn: Connection, run: Run, facts: Facts | None) -> str:
    if run.state == "paused":
        return _why_paused(run)
    if run.state == "blocked":
        others = unmet(conn, run.id)
        return f"waits for run{'s' if len(others) > 1 else ''} {', '.join(map(str, others))}"
    return _why_queued(run, facts) if run.state == "queued" and facts else ""


def _why_paused(run: Run) -> str:
    if run.reason == "budget":
        cap = "its project's budget" if run.max_usd is None else f"${run.max_usd:.4f}"
        return f"paused: spent {cap}; raise it and `shoestring resume {run.id}`"
    if run.reason == "disk_full":
        return f"paused: {run.failure_detail or 'the disk is full'}; make room, then `shoestring resume {run.id}`"
    why = f" ({run.reason})" if run.reason else ""
    return f"paused{why}: `shoestring resume {run.id}`"


def _why_queued(run: Run, facts: Facts) -> str:
    if run.project in facts.broke:
        return f"the budget of project {run.project} is spent"
    row = facts.rows[run.id]
    if not row.ready:
        until = time.strftime("%H:%M:%S", time.localtime(row.run_after))
        return f"waits until {until} after {run.reason or 'a failure'}"
    if not facts.n_alive:
        return "no worker is alive: run `shoestring work`"
    if not facts.rooms:
        return "every worker is draining or has a run of its own: run `shoestring work`"
    if not any(room.queue == run.queue for room in facts.rooms):
        return f"no living worker serves queue {run.queue}: run `shoestring work --queue {run.queue}`"
    if not any(room.holds(run) for room in facts.rooms):
        return f"needs {run.needs}; no living worker has that: run `shoestring work` where it is"
    n, first_due = _ahead(run, row.due, facts.lines[row.queue])
    if n["higher"]:
        return f"behind {_runs(n['higher'])} with higher priority"
    if n["equal"]:
        return f"behind {_runs(n['equal'])} that came first"
    if n["lower"]:
        enough = math.floor((row.run_after - first_due) / AGE_S) + 1
        return (
            f"behind {_runs(n['lower'])} with lower priority that waited longer: an hour makes up for a point of "
            f"priority, {enough} would put it first"
        )
    return "next in line"


def _facts(conn: Connection, queued: Sequence[int], at: float) -> Facts:
    beating = select(workers.c.want, *(workers.c[one.name] for one in fields(Room)))
    alive = conn.execute(beating.where(workers.c.state != "gone", workers.c.beat_at >= at - ALIVE_S)).all()
    rooms = tuple(Room(*room) for want, *room in alive if want != "drain" and room[0] is not None)
    columns = (runs.c.id, runs.c.run_after, runs.c.queue, DUE.label("due"), ready(at).label("ready"))
    rows = {row.id: row for row in conn.execute(select(*columns).where(runs.c.id.in_(queued)))}
    facts = Facts(frozenset(projects_without_money(conn)), len(alive), rooms, rows)
    for queue in {row.queue for row in rows.values()}:
        last, last_id = max((row.due, row.id) for row in rows.values() if row.queue == queue)
        upto = and_(last >= DUE, or_(last > DUE, runs.c.id <= last_id))  # runs submitted at once are due at once
        before = select(runs.c.id).where(QUEUED, runs.c.queue == queue, upto)  # in the index of claims alone
        first = select(runs.c.id, runs.c.priority, DUE.label("due")).where(runs.c.id.in_(before), ready(at))
        for row in conn.execute(first.order_by(DUE, runs.c.id)):
            facts.lines[queue].setdefault(row.priority, []).append((row.due, row.id))
    return facts


def _ahead(run: Run, due: float, line: Mapping[int, list[tuple[float, int]]]) -> tuple[dict[str, int], float]:
    """How many ready runs of higher, equal and lower priority come first, and when the first of them was due."""
    n, first_due = {"higher": 0, "equal": 0, "lower": 0}, due
    for priority, places in line.items():
        if before := bisect_left(places, (due, run.id)):
            n["higher" if priority > run.priority else "equal" if priority == run.priority else "lower"] += before
            first_due = min(first_due, places[0][0])
    return n, first_due


def _runs(n: int) -> str:
    return f"{n} run" if n == 1 else f"{n} runs"
