"""Where the dollars went: every micro-dollar under one outcome, in lines that add up to what the runs have spent.

An attempt's dollars are what its worker booked. Those of steps that a later attempt trained again are `repeated`: an
attempt from step a to b whose successor began at c < b has repeated (b − c)/(b − a) of its dollars, its last ones; one
that got nowhere all of them. The rest goes by what became of the run: `useful` (succeeded), `unfinished`, `failed`,
`cancelled`, or `pruned` (a trial that its sweep cut); of the last three all is waste, so nothing is `repeated`.

`idle` is in no run's books. It is what a worker that is on the roster costs while it carries no attempt, from its start
to its last sign of life, at its price an hour. What the machine cost before and after is not known here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Select, and_, case, func, not_, or_, select

from shoestring.db import Database
from shoestring.line import AHEAD
from shoestring.records import MICRO, OUTCOMES, WASTED, Spend, Totals
from shoestring.rows import usd
from shoestring.spending import added
from shoestring.states import LEASED, TERMINAL
from shoestring.tables import attempts, runs, sweeps, trials, workers

ALIVE_S = 60.0  # a worker that has not said anything for longer does not count as alive
UNKNOWN = "unknown machine"  # of an attempt whose worker is not on the roster
PARTED = ("useful", "unfinished")  # of the rest all is waste, so no part of it is `repeated`
OF_STATE = {"succeeded": "useful", "failed": "failed", "cancelled": "cancelled"}


def totals(db: Database, project: str | None = None, *, now: float | None = None) -> Totals:
    """The overview's row of figures; wasted = failed, cancelled and pruned runs, and work done twice."""
    alive_since = db.now(now) - ALIVE_S
    states = select(runs.c.state, func.count(), AHEAD).group_by(runs.c.state)
    if project is not None:
        states = states.where(runs.c.project == project)
    with db.read() as conn:
        of_state = conn.execute(states).all()
        alive = select(func.count()).where(workers.c.state != "gone", workers.c.beat_at >= alive_since)
        n_alive = conn.scalar(alive) or 0
        micro = _by_outcome(conn, project)
    count = {state: n for state, n, _ in of_state}
    return Totals(
        n_runs=sum(count.values()),
        n_active=sum(count.get(state, 0) for state in LEASED),
        n_queued=count.get("queued", 0) + count.get("blocked", 0),
        n_succeeded=count.get("succeeded", 0),
        n_failed=count.get("failed", 0),
        spent_usd=sum(micro.values()) / MICRO,
        wasted_usd=sum(micro[outcome] for outcome in WASTED) / MICRO,
        ahead_usd=usd(sum(ahead for state, _, ahead in of_state if state not in TERMINAL)),
        workers_alive=n_alive,
    )


def spend_by_outcome(db: Database, project: str | None = None) -> dict[str, float]:
    """Dollars under each outcome; idle workers are of no project, so 0 when one is given."""
    return {outcome: micro / MICRO for outcome, micro in added(spends(db, project)).items()}


def spends(db: Database, project: str | None = None) -> list[Spend]:
    """The whole ledger, or a project's: then without idle workers, who belong to none."""
    with db.read() as conn:
        trained = list(_trained(conn, project))
        return trained if project is not None else [*trained, *_idle(conn)]


# ── runs ────────────────────────────────────────────────────────────────────────────────────────


def _trained(conn: Connection, project: str | None) -> Iterator[Spend]:
    """What the attempts of runs cost: one line each, two where a part was repeated."""
    last_sign = func.coalesce(workers.c.beat_at, attempts.c.ended_at)
    query = (
        _attempts(project)
        .add_columns(
            *(attempts.c[name] for name in ("started_at", "ended_at")),
            *(runs.c[name] for name in ("id", "experiment", "project")),
            last_sign.label("last_sign"), workers.c.hardware, sweeps.c.name.label("sweep"),
        )
        .outerjoin(workers, workers.c.id == attempts.c.worker)
        .outerjoin(sweeps, sweeps.c.id == runs.c.sweep_id)
    )  # fmt: skip
    for row in conn.execute(query):
        yield from _of_attempt(row)


def _by_outcome(conn: Connection, project: str | None) -> dict[str, int]:
    """`added(_trained(…))`, added up by the database where no part was repeated."""
    each = _attempts(project).subquery()
    parted = and_(each.c.resumed.is_not(None), each.c.outcome.in_(PARTED))
    plain = select(each.c.outcome, func.sum(each.c.micro)).where(not_(parted)).group_by(each.c.outcome)
    micro = dict.fromkeys(OUTCOMES, 0) | {outcome: int(total) for outcome, total in conn.execute(plain)}
    for row in conn.execute(select(each).where(parted)):
        again = _repeated(row)
        micro[row.outcome] += row.micro - again
        micro["repeated"] += again
    return micro


def _attempts(project: str | None) -> Select[Any]:
    """Every attempt's dollars and steps, the step where the next one began, and what becomes of their dollars."""
    resumed = func.lead(attempts.c.first_step).over(partition_by=attempts.c.run_id, order_by=attempts.c.token)
    cut = select(trials.c.run_id).where(trials.c.state == "pruned", trials.c.run_id.is_not(None))
    pruned = or_(runs.c.id.in_(cut), and_(runs.c.state == "cancelled", runs.c.reason.startswith("pruned")))
    outcome = case((pruned, "pruned"), *((runs.c.state == s, o) for s, o in OF_STATE.items()), else_="unfinished")
    columns = (attempts.c[name] for name in ("micro", "first_step", "last_step"))
    query = select(*columns, resumed.label("resumed"), outcome.label("outcome"))
    query = query.join(runs, runs.c.id == attempts.c.run_id)
    return query if project is None else query.where(runs.c.project == project)


def _of_attempt(row: Any) -> Iterator[Spend]:
    if not row.micro:
        return
    again = _repeated(row) if row.outcome in PARTED else 0
    # a lost attempt is ended by whoever finds it, so its worker's last sign of life is nearer to its end
    signs = [at for at in (row.ended_at, row.last_sign) if at is not None and at >= row.started_at]
    ended_at = min(signs, default=row.started_at)
    turn = row.started_at + (ended_at - row.started_at) * (row.micro - again) / row.micro
    of = {"run_id": row.id, "experiment": row.experiment, "project": row.project, "sweep": row.sweep or ""}
    of["machine"] = row.hardware or UNKNOWN
    if row.micro > again:
        yield Spend(micro=row.micro - again, outcome=row.outcome, began_at=row.started_at, ended_at=turn, **of)
    if again:
        yield Spend(micro=again, outcome="repeated", began_at=turn, ended_at=ended_at, **of)


def _repeated(row: Any) -> int:
    """Micro-dollars of an attempt's steps that its successor trained again."""
    if row.resumed is None:
        return 0
    trained, again = row.last_step - row.first_step, row.last_step - row.resumed
    return row.micro if trained <= 0 else round(row.micro * min(1.0, max(0.0, again / trained)))


# ── workers ─────────────────────────────────────────────────────────────────────────────────────


def _idle(conn: Connection) -> Iterator[Spend]:
    """What workers cost between their attempts: a line a gap."""
    busy: dict[str, list[tuple[float, float | None]]] = defaultdict(list)
    for row in conn.execute(select(attempts.c.worker, attempts.c.started_at, attempts.c.ended_at)):
        busy[row.worker].append((row.started_at, row.ended_at))
    for row in conn.execute(select(workers).where(workers.c.micro_per_hour > 0).order_by(workers.c.started_at)):
        seconds, done = 0.0, 0
        for began_at, ended_at in gaps(row.started_at, row.beat_at, busy[row.id]):
            seconds += ended_at - began_at
            upto = round(seconds * row.micro_per_hour / 3600)
            if upto > done:
                yield Spend(upto - done, "idle", None, "", "", "", row.hardware or UNKNOWN, began_at, ended_at)
            done = upto


def gaps(began_at: float, ended_at: float, busy: Sequence[tuple[float, float | None]]) -> Iterator[tuple[float, float]]:
    """The parts of [began_at, ended_at] outside all `busy` spans; a span without an end goes on to the end."""
    free = began_at
    for start, end in sorted(busy, key=lambda span: span[0]):
        if start > free:
            yield free, min(start, ended_at)
        free = max(free, ended_at if end is None else end)
        if free >= ended_at:
            return
    if free < ended_at:
        yield free, ended_at
