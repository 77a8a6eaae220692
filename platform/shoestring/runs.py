"""The one fenced write path: everything a worker says about a run that it holds.

Every function is one transaction that first updates the run's row `WHERE id AND lease_token AND state IN (…)`. No
row means that the lease is lost: LeaseLost, and nothing is written. Claiming and reaping are in `leases`, workers in
`roster`; import both from here.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from shoestring_trainer.run_dir import Result
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    bindparam,
    case,
    delete,
    func,
    literal_column,
    select,
    update,
)

from shoestring.bulk import upsert
from shoestring.db import Database
from shoestring.leases import (
    LEASE_S,
    SPENT,
    STANDING,
    Lease,
    Reaper,
    claim,
    end_attempt,
    lost,
    projects_without_money,
    reap_one,
)
from shoestring.moves import MOVE, move, note
from shoestring.resources import Room
from shoestring.roster import leave, new_worker_id, offer, provably_dead, register, report
from shoestring.states import ACTIVE, EDGES, LEASED
from shoestring.tables import attempts, checkpoints, events, metrics, runs

__all__ = [
    "EDGES", "LEASE_S", "WARN_AT", "Beat", "Lease", "MetricPoint", "Reaper", "Room",
    "add_checkpoint", "beat", "claim", "finish", "hand_over", "leave", "mark_checkpoint", "new_worker_id",
    "offer", "provably_dead", "reap_one", "record", "register", "release", "report", "rest", "start", "stopping",
    "tell",
]  # fmt: skip

# (key, step, value, images, flops, usd, seconds): a value with every possible x-axis beside it; `tail.Point` is one
MetricPoint = tuple[str, int, float, float, float, float, float]
WARN_AT = 0.8  # of a run's cap
POINT_COLUMNS = ("key", "step", "value", "images", "flops", "usd", "seconds")


# Built once, as in `moves`.
_START = MOVE.values(attempts=runs.c.attempts + 1, started_at=func.coalesce(runs.c.started_at, bindparam("b_at")))
_LATER = delete(metrics).where(metrics.c.run_id == bindparam("b_run"), metrics.c.step > bindparam("b_step"))


@dataclass(frozen=True)
class Beat:
    """What a beat brings back: `want` run, pause or cancel; whether the run's or its project's money is spent; which
    share of the run's own cap is (0 without one)."""

    want: str
    budget_spent: bool
    used: float = 0.0


def hand_over(db: Database, lease: Lease, engine: str, handle: str) -> None:
    """Say which of an engine's jobs is to carry this attempt, before it has begun. Raises LeaseLost once it has."""
    with db.write() as conn:
        _fenced(conn, lease, ("leased",), engine=engine, handle=handle)


def start(
    db: Database, lease: Lease, resume_step: int, *, engine: str = "", handle: str = "", now: float | None = None
) -> None:
    """Begin an attempt at `resume_step` (0, or the checkpoint it resumes): leased → running, in one transaction with
    deleting the metric points of later steps. A second call after a lost reply does nothing.

    The run's owner becomes who starts it: an engine's job, say, where a dispatcher had made the claim. A second job
    with the same token is refused (LeaseLost).
    """
    at = db.now(now)
    columns = {"step": resume_step, "engine": engine, "handle": handle, "owner": lease.worker_id, "inexact": ""}
    edge = ("leased", "running")
    with db.write() as conn:
        if not move(conn, lease.run_id, edge, at, "started", token=lease.token, statement=_START, **columns, b_at=at):
            if _held(conn, lease, ACTIVE).owner != lease.worker_id:
                raise lost(lease.run_id, lease.token)
            return
        if lease.run.attempts:  # or no point was ever written
            conn.execute(_LATER, {"b_run": lease.run_id, "b_step": resume_step})
        first = {"started_at": at, "first_step": resume_step, "last_step": resume_step, "worker": lease.worker_id}
        upsert(conn, attempts, [{"run_id": lease.run_id, "token": lease.token, **first}])


def beat(db: Database, lease: Lease, spent_micro: int = 0, *, closing_micro: int = 0, now: float | None = None) -> Beat:
    """Keep the lease, say what this attempt has spent so far, learn what is wanted.

    Spent money (the run's `max_usd`, the project's budget) turns `want` from run to pause, with reason `budget`.
    `closing_micro` of the run's own is kept for what a pause costs: an evaluation and a checkpoint. The log says once
    when WARN_AT of it is spent.
    """
    at = db.now(now)
    with db.write() as conn:
        _fenced(conn, lease, LEASED, beat_seq=runs.c.beat_seq + 1, lease_until=at + lease.lease_s)
        before = _held(conn, lease, LEASED).spent_micro
        row = _spend(conn, lease, spent_micro)
        most, spent = row.max_micro, row.spent_micro
        if most is not None and before < WARN_AT * most <= spent:
            note(conn, at, "budget_warning", lease.run_id, lease.token, spent_micro=spent, max_micro=most)
        over = most is not None and spent + closing_micro >= most
        over = over or row.project in projects_without_money(conn)
        used = spent / most if most else 0.0
        if over and row.want == "run":
            _fenced(conn, lease, LEASED, want="pause", reason="budget")
            note(conn, at, "budget_spent", lease.run_id, lease.token, spent_micro=spent)
            return Beat("pause", True, used)
        return Beat(row.want, over, used)


def rest(db: Database, lease: Lease, reason: str, *, now: float | None = None) -> str:
    """Want this run paused, for a reason of its own (it has reached a rung); return that reason.

    What somebody else wants of it already stays, and is returned instead.
    """
    with db.write() as conn:
        row = _held(conn, lease, LEASED)
        if row.want != "run":
            return row.want
        _fenced(conn, lease, LEASED, want="pause", reason=reason)
        note(conn, db.now(now), f"at_{reason}", lease.run_id, lease.token, step=row.step)
        return reason


def record(db: Database, lease: Lease, points: Iterable[MetricPoint]) -> None:
    """Write metric points, each once by (run, key, step): the last value stays. Values that are no number are left."""
    kept = [point for point in points if all(math.isfinite(number) for number in point[2:])]
    by_place = {p[:2]: dict(zip(POINT_COLUMNS, p, strict=True), run_id=lease.run_id) for p in kept}
    with db.write() as conn:
        last = max((point[1] for point in kept), default=0)
        _fenced(conn, lease, ACTIVE, step=case((runs.c.step < last, last), else_=runs.c.step))
        upsert(conn, metrics, list(by_place.values()))


def add_checkpoint(db: Database, lease: Lease, step: int, path: str, n_bytes: int, *, now: float | None = None) -> None:
    """Say that a checkpoint of this attempt is published in folder `path`."""
    at = db.now(now)
    with db.write() as conn:
        ahead = case((runs.c.checkpoint_step < step, step), else_=runs.c.checkpoint_step)
        _fenced(conn, lease, ACTIVE, checkpoint_step=ahead)
        row = {"run_id": lease.run_id, "step": step, "token": lease.token, "path": path, "bytes": n_bytes}
        upsert(conn, checkpoints, [{**row, "state": "published", "created_at": at}], keep=["created_at"])
        note(conn, at, "checkpoint", lease.run_id, lease.token, step=step, bytes=n_bytes)


def tell(db: Database, lease: Lease, kind: str, step: int, detail: str, at: float) -> None:
    """Enter an event that the trainer journalled `at` (unix seconds), once however often its line is read.

    `resumed_inexact` marks the run, until an attempt starts whose journal does not say it.
    """
    mark = {"inexact": detail if kind == "resumed_inexact" else runs.c.inexact}
    with db.write() as conn:
        _fenced(conn, lease, ACTIVE, **mark)
        same = select(events.c.id).where(events.c.run_id == lease.run_id, events.c.kind == kind, events.c.at == at)
        if conn.scalar(same.limit(1)) is None:
            note(conn, at, kind, lease.run_id, lease.token, step=step, detail=detail)


def mark_checkpoint(
    db: Database, lease: Lease, place: tuple[int, int], state: str, detail: str = "", *, now: float | None = None
) -> None:
    """Say that the checkpoint at `place` (step, token) is `corrupt` or `deleted`; any attempt may say it of an older's.

    The run's checkpoint step becomes that of the newest one still published.
    """
    if state not in ("corrupt", "deleted"):
        raise ValueError(f"checkpoint state {state!r}: corrupt or deleted")
    at = db.now(now)
    step, token = place
    with db.write() as conn:
        _held(conn, lease, LEASED)
        one = (checkpoints.c.run_id == lease.run_id) & (checkpoints.c.step == step) & (checkpoints.c.token == token)
        conn.execute(update(checkpoints).where(one).values(state=state))
        good = select(func.max(checkpoints.c.step)).where(
            checkpoints.c.run_id == lease.run_id, checkpoints.c.state == "published"
        )
        _fenced(conn, lease, LEASED, checkpoint_step=conn.scalar(good) or 0)
        note(conn, at, f"checkpoint_{state}", lease.run_id, lease.token, step=step, detail=detail)


def stopping(db: Database, lease: Lease, reason: str = "", *, now: float | None = None) -> None:
    """Say that the trainer was asked to checkpoint and stop: running → stopping. A second call does nothing."""
    with db.write() as conn:
        row = _held(conn, lease, ACTIVE)
        said: dict[str, Any] = {"reason": reason} if reason else {}
        if row.state == "running":
            move(conn, lease.run_id, ("running", "stopping"), db.now(now), "stopping", token=lease.token, **said)


def finish(
    db: Database,
    lease: Lease,
    result: Result,
    spent_micro: int = 0,
    *,
    jitter: float | None = None,
    now: float | None = None,
) -> str:
    """End the attempt and move the run where its result, its class and `want` lead; return the new state.

    `jitter` (0 to 1) spreads the wait before a retry. A second call after a lost reply returns the state again.
    """
    at = db.now(now)
    jitter = random.random() if jitter is None else jitter
    with db.write() as conn:
        row = _standing(conn, lease, LEASED)
        if row is not None:
            return end_attempt(conn, row, result, at, jitter=jitter, spent_micro=spent_micro)
        if (again := _finished_before(conn, lease)) is not None:
            return again
        raise lost(lease.run_id, lease.token)


def release(db: Database, lease: Lease, reason: str = "preempted", *, now: float | None = None) -> str:
    """Give a run back: not a failure. A run that was never started waits again as if it had not been claimed."""
    at = db.now(now)
    with db.write() as conn:
        row = _held(conn, lease, LEASED)
        if row.state == "leased" and row.want == "run":
            token: dict[str, Any] = {"lease_token": lease.token + 1}
            move(conn, lease.run_id, ("leased", "queued"), at, "released", token=lease.token, reason="", **token)
            return "queued"
        return end_attempt(conn, row, Result(lease.token, "stopped", reason, "", row.step), at)


def _fenced(conn: Connection, lease: Lease, states: tuple[str, ...], **values: Any) -> None:
    """Update the run under this lease. Raises LeaseLost when it is not held under this token in one of `states`."""
    held = update(runs).where(*_under(states)).values(**values)
    if not conn.execute(held, {"b_id": lease.run_id, "b_token": lease.token}).rowcount:
        raise lost(lease.run_id, lease.token)


def _held(conn: Connection, lease: Lease, states: tuple[str, ...]) -> Row[Any]:
    """How the run stands, its row locked. Raises LeaseLost when not held under this token in one of `states`."""
    row = _standing(conn, lease, states)
    if row is None:
        raise lost(lease.run_id, lease.token)
    return row


def _standing(conn: Connection, lease: Lease, states: tuple[str, ...]) -> Row[Any] | None:
    return conn.execute(_look(states), {"b_id": lease.run_id, "b_token": lease.token}).one_or_none()


@cache
def _look(states: tuple[str, ...]) -> Select[Any]:
    return select(*STANDING).where(*_under(states)).with_for_update()


@cache
def _under(states: tuple[str, ...]) -> tuple[ColumnElement[bool], ...]:
    """The fence: held under this token, in one of `states`."""
    spelt: list[ColumnElement[str]] = [literal_column(f"'{state}'") for state in states]
    return runs.c.id == bindparam("b_id"), runs.c.lease_token == bindparam("b_token"), runs.c.state.in_(spelt)


def _spend(conn: Connection, lease: Lease, spent_micro: int) -> Row[Any]:
    """Raise this attempt's spend to `spent_micro` and add up the run's; return the run's row."""
    mine = (attempts.c.run_id == lease.run_id) & (attempts.c.token == lease.token)
    run_step = select(runs.c.step).where(runs.c.id == lease.run_id).scalar_subquery()
    more = case((attempts.c.micro < spent_micro, spent_micro), else_=attempts.c.micro)
    conn.execute(update(attempts).where(mine).values(micro=more, last_step=run_step))
    _fenced(conn, lease, LEASED, spent_micro=SPENT)
    return _held(conn, lease, LEASED)


def _finished_before(conn: Connection, lease: Lease) -> str | None:
    """The run's state if this very attempt was ended by its worker already; None if not, or if it was reaped."""
    mine = (attempts.c.run_id == lease.run_id) & (attempts.c.token == lease.token)
    ended = mine & attempts.c.ended_at.is_not(None) & (attempts.c.outcome != "lost")
    return conn.scalar(select(runs.c.state).join(attempts, attempts.c.run_id == runs.c.id).where(ended))
