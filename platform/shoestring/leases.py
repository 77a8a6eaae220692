"""Taking a run from the queue, and taking it back from a worker that is gone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from shoestring_trainer.run_dir import Result
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Float,
    FromClause,
    Row,
    ScalarSelect,
    Select,
    bindparam,
    case,
    exists,
    func,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.sql.dml import ReturningUpdate

from shoestring import records, rows
from shoestring.db import Database
from shoestring.errors import LeaseLost
from shoestring.moves import MOVE, move, note
from shoestring.resources import Room
from shoestring.retries import MAX_BACKOFF_S, PAUSING, Counts, Verdict, judge
from shoestring.states import LEASED, path
from shoestring.tables import DUE, HELD, attempts, budgets, runs
from shoestring.unbooked import journalled_micro

LEASE_S = 60.0
QUEUED: ColumnElement[str] = literal_column("'queued'")  # literal, or SQLite cannot use the partial index


@dataclass(frozen=True)
class Lease:
    """The right to write about one run: valid as long as the run's row carries this token."""

    run_id: int
    token: int
    nonce: str
    worker_id: str
    lease_s: float
    run: records.Run = field(repr=False)


def claim(
    db: Database, worker_id: str, nonce: str, *, room: Room = Room(), lease_s: float = LEASE_S, now: float | None = None
) -> Lease | None:
    """Lease the run that is due first among the ready ones that fit `room`; None when nothing does.

    A run's due time is when it became ready, an hour (AGE_S) earlier for each point of priority; equal times go by id.
    So of equal priority the longest ready is first, and every hour of waiting makes up for a point of priority.

    The promise: no run waits for ever while some worker with room for it goes on claiming. A run of priority p, ready
    since t, is overtaken by no run of priority q that becomes ready after t + (q − p) hours, whatever either needs; so
    what can come before it is bounded when it is submitted. A run that was interrupted keeps its time, one that waits
    for a retry or was paused counts anew.

    It rests on `room` being all that the claimer could ever give one run: its whole machine with nothing else on it,
    or the largest job that the engine behind it takes. Then a run of 4 GPUs that is due is what the next free worker of
    4 GPUs gets, and runs of 1 GPU behind it wait: no reservation is needed. Who offered the free half of a machine
    would fill it with small runs for ever. An engine that packs jobs itself (Slurm) gets them in this order, and must
    keep large ones from waiting for ever by its own means (Slurm's backfill reserves for the first in line).

    `nonce` names this claim. Calling again with it after a lost reply returns the lease that was already made.
    """
    at = db.now(now)
    with db.write() as conn:
        row = conn.execute(*_claim(worker_id, nonce, room, at, lease_s)).one_or_none()
        if row is None:  # nothing fits; or this nonce has its lease already
            row = conn.execute(_MADE, {"b_nonce": nonce, "b_worker": worker_id}).one_or_none()
        else:
            detail = {"from": "queued", "to": "leased", "worker": worker_id}
            note(conn, at, "claimed", row.id, row.lease_token, **detail)
    if row is None:
        return None
    run = rows.run(row)  # outside the transaction: others are waiting for SQLite's lock
    return Lease(run.id, run.lease_token, nonce, worker_id, lease_s, run)


def _claim(
    worker_id: str, nonce: str, room: Room, at: float, lease_s: float
) -> tuple[ReturningUpdate[Any], dict[str, Any]]:
    """The claim as one statement, safe on both databases, and its parameters.

    It claims nothing where this nonce has its lease already.
    """
    offer = {"b_queue": room.queue, "b_gpus": room.gpus, "b_gpu_memory_gb": room.gpu_memory_gb}
    offer |= {"b_cpus": room.cpus, "b_memory_gb": room.memory_gb}
    return _CLAIM, {**offer, "b_worker": worker_id, "b_nonce": nonce, "b_at": at, "b_until": at + lease_s}


def ready(at: float | ColumnElement[float]) -> ColumnElement[bool]:
    """Whether a run's time has come. A wait longer than any backoff is no wait: the clock was put back."""
    return or_(runs.c.run_after <= at, runs.c.run_after > at + MAX_BACKOFF_S)


def projects_without_money(conn: Connection) -> list[str]:
    """Projects whose runs have spent their budget."""
    return list(conn.scalars(_without_money()))


def _without_money() -> Select[tuple[str]]:
    spent = select(func.sum(runs.c.spent_micro)).where(runs.c.project == budgets.c.project, runs.c.spent_micro > 0)
    total = func.coalesce(spent.correlate(budgets).scalar_subquery(), 0)  # the rest have spent nothing: not looked at
    return select(budgets.c.project).where(total >= budgets.c.max_micro)


def _building_claim() -> ReturningUpdate[Any]:
    at: ColumnElement[float] = bindparam("b_at", type_=Float(53))
    next_run = (
        select(runs.c.id)
        .where(runs.c.state == QUEUED, ready(at), runs.c.queue == bindparam("b_queue"))
        .where(runs.c.gpus <= bindparam("b_gpus"), runs.c.gpu_memory_gb <= bindparam("b_gpu_memory_gb"))
        .where(runs.c.cpus <= bindparam("b_cpus"), runs.c.memory_gb <= bindparam("b_memory_gb"))
        .where(runs.c.project.not_in(_without_money()))
        .order_by(DUE, runs.c.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    made = runs.alias("made")
    return (
        update(runs)
        .where(runs.c.id == next_run.scalar_subquery(), runs.c.state == QUEUED)
        .where(~exists(select(made.c.id).where(HELD, *_made_by(made))))
        .values(
            state="leased",
            lease_token=runs.c.lease_token + 1,
            claim_nonce=bindparam("b_nonce"),
            owner=bindparam("b_worker"),
            beat_seq=0,
            lease_until=bindparam("b_until"),
            want="run",
            reason="",
        )
        .returning(*rows.AS_STORED)
    )


def _made_by(table: FromClause) -> tuple[ColumnElement[bool], ...]:
    """What the run that a claim made is known by."""
    nonce, worker = table.c.claim_nonce == bindparam("b_nonce"), table.c.owner == bindparam("b_worker")
    return nonce, worker, table.c.state == "leased"


# Built once, as in `moves`.
_CLAIM = _building_claim()
_MADE = select(*rows.AS_STORED).where(HELD, *_made_by(runs))
_SAME_CLASS = select(func.count()).where(
    attempts.c.run_id == bindparam("b_run"), attempts.c.failure_class == bindparam("b_class")
)
_ENDED = (
    update(attempts)
    .where(attempts.c.run_id == bindparam("b_run"), attempts.c.token == bindparam("b_token"))
    .values(micro=case((attempts.c.micro < bindparam("b_spent"), bindparam("b_spent")), else_=attempts.c.micro))
)
_total = select(func.coalesce(func.sum(attempts.c.micro), 0)).where(attempts.c.run_id == runs.c.id)
SPENT: ScalarSelect[int] = _total.correlate(runs).scalar_subquery()  # micro-dollars of all attempts of a run
_END = MOVE.values(spent_micro=SPENT)

# What ending an attempt needs of a run's row; its JSON is left where it is.
STANDING: tuple[Column[Any], ...] = (
    *(runs.c.id, runs.c.state, runs.c.lease_token, runs.c.owner, runs.c.want, runs.c.reason, runs.c.project),
    *(runs.c.failures, runs.c.preemptions, runs.c.stalls, runs.c.stall_step, runs.c.step, runs.c.checkpoint_step),
    *(runs.c.spent_micro, runs.c.max_micro),
)


def end_attempt(
    conn: Connection, row: Row[Any], result: Result, at: float, *, jitter: float = 0.0, spent_micro: int = 0
) -> str:
    """End the attempt of a leased run (`row` of STANDING), which has spent so much by now, and move the run where
    `judge` says; return the new state.

    The token grows whenever the run can be claimed again. Raises LeaseLost when the row has moved on.
    """
    outcome, failure_class = result.outcome, result.failure_class
    same_class = 0
    if failure_class:
        same_class = conn.scalar(_SAME_CLASS, {"b_run": row.id, "b_class": failure_class}) or 0
    stalls = row.stalls if row.checkpoint_step <= row.stall_step else 0
    verdict = judge(outcome, failure_class, row.want, Counts(row.failures, row.preemptions, stalls, same_class), jitter)
    shown = "lost" if failure_class == "worker_lost" else "preempted" if verdict.counts_as == "preemption" else outcome
    step = max(row.step, result.step)
    ended = {"ended_at": at, "outcome": shown, "failure_class": failure_class, "detail": result.detail}
    own = {"b_run": row.id, "b_token": row.lease_token, "b_spent": spent_micro}
    conn.execute(_ENDED, {**own, **ended, "last_step": step})
    _go(conn, row, verdict, at, {"step": step, **_columns(row, verdict, stalls, failure_class, result.detail, at)})
    return verdict.state


def _columns(
    row: Row[Any], verdict: Verdict, stalls: int, failure_class: str, detail: str, at: float
) -> dict[str, object]:
    """What else changes with the state."""
    failed = verdict.counts_as == "failure" or verdict.state == "failed" or failure_class in PAUSING
    columns: dict[str, object] = {"reason": verdict.reason or (row.reason if verdict.state == "paused" else "")}
    if failed:
        columns |= {"failure_class": failure_class, "failure_detail": detail}
    elif verdict.state == "succeeded":
        columns |= {"failure_class": "", "failure_detail": ""}
    if verdict.counts_as == "failure":
        columns |= {"failures": row.failures + 1}
    if verdict.counts_as == "preemption":
        columns |= {"preemptions": row.preemptions + 1, "stalls": stalls + 1, "stall_step": row.checkpoint_step}
    if verdict.state == "queued" and verdict.delay_s:
        columns |= {"run_after": at + verdict.delay_s}
    if verdict.state in ("queued", "paused"):
        columns |= {"lease_token": row.lease_token + 1}
    return columns


def _go(conn: Connection, row: Row[Any], verdict: Verdict, at: float, columns: dict[str, object]) -> None:
    """Take the edges to the verdict's state; only the last carries the columns."""
    kind = {"queued": "requeued"}.get(verdict.state, verdict.state)
    source = row.state
    *between, last = path(source, verdict.state)
    token = row.lease_token
    for target in between:
        if not move(conn, row.id, (source, target), at, target, token=token):
            raise lost(row.id, token)
        source = target
    if not move(conn, row.id, (source, last), at, kind, token=token, statement=_END, **columns):
        raise lost(row.id, token)


def lost(run_id: int, token: int) -> LeaseLost:
    """The error of a worker whose token is not valid any more."""
    return LeaseLost(
        f"run {run_id} is not leased under token {token} any more",
        "another worker may hold it: stop the trainer, write nothing more",
    )


class Reaper:
    """Takes back runs whose worker is gone, by observation: its own monotonic clock, never the database's times.

    A run is reaped when its token and beat have not changed for 1.5 leases of this observer's time, or at once when
    `provably_dead(owner)` says that the process is gone from this machine.
    """

    def __init__(self, lease_s: float = LEASE_S, provably_dead: Callable[[str], bool] = lambda owner: False) -> None:
        self.patience_s = 1.5 * lease_s
        self._provably_dead = provably_dead
        self._seen: dict[int, tuple[int, int, float]] = {}  # run → token, beat_seq, since (monotonic seconds)

    def forget(self) -> None:
        """Start a new observation window: the database was away, and beats with it."""
        self._seen.clear()

    def reap(self, db: Database, monotonic: float, *, now: float | None = None) -> list[int]:
        """Look at every leased run, requeue (or pause, or cancel) the abandoned ones; return their ids."""
        with db.read() as conn:
            held = conn.execute(select(runs.c.id, runs.c.lease_token, runs.c.beat_seq, runs.c.owner).where(HELD)).all()
        seen = {}
        for row in held:
            token, beat, since = self._seen.get(row.id, (None, None, monotonic))
            since = since if (token, beat) == (row.lease_token, row.beat_seq) else monotonic
            seen[row.id] = (row.lease_token, row.beat_seq, since)
        self._seen = seen
        overdue = [
            row for row in held if monotonic - seen[row.id][2] >= self.patience_s or self._provably_dead(row.owner)
        ]
        taken = []
        for row in overdue:
            spent_micro = journalled_micro(db, row.id, row.lease_token)
            if reap_one(db, row.id, row.lease_token, row.beat_seq, spent_micro=spent_micro, now=now):
                taken.append(row.id)
        return taken


def reap_one(
    db: Database, run_id: int, token: int, beat_seq: int, *, spent_micro: int = 0, now: float | None = None
) -> bool:
    """Take a run back if it still stands under `token` and `beat_seq`; say whether it did.

    Its attempt has spent `spent_micro`, or what its worker said last if that is more. A run whose cap is reached by it
    is paused: the next worker would find out only after another start.
    """
    at = db.now(now)
    standing = (
        select(*STANDING)
        .where(runs.c.id == run_id, runs.c.lease_token == token, runs.c.beat_seq == beat_seq)
        .where(runs.c.state.in_(LEASED))
        .with_for_update()
    )
    with db.write() as conn:
        row = conn.execute(standing).one_or_none()
        if row is None:
            return False
        note(conn, at, "reaped", run_id, token, worker=row.owner, beat_seq=beat_seq)
        mine = (attempts.c.run_id == run_id) & (attempts.c.token == token)
        booked = conn.scalar(select(attempts.c.micro).where(mine)) or 0
        spent = row.spent_micro + max(0, spent_micro - booked)
        if row.max_micro is not None and spent >= row.max_micro and row.want == "run":
            conn.execute(update(runs).where(runs.c.id == run_id).values(want="pause", reason="budget"))
            note(conn, at, "budget_spent", run_id, token, spent_micro=spent)
            row = conn.execute(standing).one()
        gone = Result(token, "failed", "worker_lost", f"worker {row.owner} is gone", row.step)
        end_attempt(conn, row, gone, at, spent_micro=spent_micro)
        return True
