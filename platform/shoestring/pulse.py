"""The pulse of the queue, for the top of every page: dollars of each project's cap, workers alive. Aggregates only."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select

from shoestring.db import Database
from shoestring.ledger import ALIVE_S
from shoestring.rows import usd
from shoestring.tables import budgets, runs, workers

# All of it stands in the index of projects' dollars, so no run's JSON is passed over.
SPENT = select(runs.c.project, func.sum(runs.c.spent_micro), func.max(runs.c.id)).group_by(runs.c.project)


@dataclass(frozen=True)
class Meter:
    """What a project has spent of its cap; None: no cap."""

    project: str
    spent_usd: float
    max_usd: float | None


@dataclass(frozen=True)
class Pulse:
    """The meters, the project of the newest run first; who is alive, and what they cost an hour."""

    meters: tuple[Meter, ...]
    n_alive: int
    usd_per_hour: float


def pulse(db: Database, *, now: float | None = None) -> Pulse:
    """The pulse at this moment; three statements, whatever the number of runs and projects."""
    alive = select(func.count(), func.coalesce(func.sum(workers.c.micro_per_hour), 0)).where(
        workers.c.state != "gone", workers.c.beat_at >= db.now(now) - ALIVE_S
    )
    with db.read() as conn:
        caps = {row.project: row.max_micro for row in conn.execute(select(budgets.c.project, budgets.c.max_micro))}
        gone = {project: (int(micro), newest) for project, micro, newest in conn.execute(SPENT)}
        n_alive, burning = conn.execute(alive).one()
    names = sorted({*caps, *gone}, key=lambda name: (-gone.get(name, (0, 0))[1], name))
    meters = (
        Meter(name, usd(gone.get(name, (0, 0))[0]), None if name not in caps else usd(caps[name])) for name in names
    )
    return Pulse(tuple(meters), int(n_alive), usd(burning))
