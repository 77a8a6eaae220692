"""Why a run is not running, in words with the next thing to do."""

from __future__ import annotations

import math
import time

from sqlalchemy import Connection, and_, case, func, literal, or_, select

from shoestring.db import Database
from shoestring.leases import projects_without_money, ready
from shoestring.ledger import ALIVE_S
from shoestring.moves import unmet
from shoestring.records import AGE_S, Run
from shoestring.tables import DUE, runs, workers


def why_waiting(db: Database, run: Run, *, now: float | None = None) -> str:
    """Say why `run` waits; "" for a run that does not."""
    if run.state == "paused":
        return _why_paused(run)
    if run.state not in ("blocked", "queued"):
        return ""
    with db.read() as conn:
        if run.state == "blocked":
            others = unmet(conn, run.id)
            return f"waits for run{'s' if len(others) > 1 else ''} {', '.join(map(str, others))}"
        return _why_queued(conn, run, db.now(now))


def _why_paused(run: Run) -> str:
    if run.reason == "budget":
        cap = "its project's budget" if run.max_usd is None else f"${run.max_usd:.4f}"
        return f"paused: spent {cap}; raise it and `shoestring resume {run.id}`"
    if run.reason == "disk_full":
        return f"paused: {run.failure_detail or 'the disk is full'}; make room, then `shoestring resume {run.id}`"
    why = f" ({run.reason})" if run.reason else ""
    return f"paused{why}: `shoestring resume {run.id}`"


def _why_queued(conn: Connection, run: Run, at: float) -> str:
    if run.project in projects_without_money(conn):
        return f"the budget of project {run.project} is spent"
    columns = (runs.c.run_after, runs.c.queue, runs.c.gpus, DUE.label("due"), ready(at).label("ready"))
    row = conn.execute(select(*columns).where(runs.c.id == run.id)).one()
    if not row.ready:
        until = time.strftime("%H:%M:%S", time.localtime(row.run_after))
        return f"waits until {until} after {run.reason or 'a failure'}"
    alive = select(func.count()).where(workers.c.state != "gone", workers.c.beat_at >= at - ALIVE_S)
    if not conn.scalar(alive):
        return "no worker is alive: run `shoestring work`"
    if not conn.scalar(alive.where(workers.c.want != "drain")):
        return "every worker is draining: run `shoestring work`"
    n, first_due = _ahead(conn, run, row.due, row.queue, at)
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
    return "next in line" + (f", for a worker with {row.gpus} GPUs" if row.gpus else "")


def _ahead(conn: Connection, run: Run, due: float, queue: str, at: float) -> tuple[dict[str, int], float]:
    """How many ready runs of higher, equal and lower priority come first, and when the first of them was due."""
    others = and_(runs.c.state == "queued", runs.c.queue == queue, ready(at), runs.c.id != run.id)
    mine = literal(due)
    first = or_(mine > DUE, and_(mine == DUE, runs.c.id < run.id))
    than = case((runs.c.priority > run.priority, "higher"), (runs.c.priority == run.priority, "equal"), else_="lower")
    query = select(than.label("than"), func.count().label("n"), func.min(DUE).label("due")).where(others, first)
    n, first_due = {"higher": 0, "equal": 0, "lower": 0}, due
    for row in conn.execute(query.group_by("than")):
        n[row.than], first_due = row.n, min(first_due, row.due)
    return n, first_due


def _runs(n: int) -> str:
    return f"{n} run" if n == 1 else f"{n} runs"
