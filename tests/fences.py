"""Every write of a worker, and what the database holds: a stale token must change nothing of it."""

from __future__ import annotations

from shoestring import runs
from shoestring.tail import Point
from shoestring_trainer.run_dir import Result

NOW = 1_000_000.0


def point(step: int, value: float = 1.0, key: str = "train/loss") -> Point:
    return Point(key, step, value, images=4.0 * step, flops=9.0 * step, usd=step / 1e3, seconds=step)


def ended(lease: runs.Lease, outcome: str, failure_class: str = "", step: int = 100) -> Result:
    return Result(lease.token, outcome, failure_class, "why", step)


WRITES = {
    "hand_over": lambda db, lease: runs.hand_over(db, lease, "slurm", "42"),
    "start": lambda db, lease: runs.start(db, lease, 0),
    "beat": lambda db, lease: runs.beat(db, lease, 5),
    "record": lambda db, lease: runs.record(db, lease, [point(7)]),
    "add_checkpoint": lambda db, lease: runs.add_checkpoint(db, lease, 7, "/c", 1),
    "tell": lambda db, lease: runs.tell(db, lease, "resumed_inexact", 7, "threads", NOW),
    "mark_checkpoint": lambda db, lease: runs.mark_checkpoint(db, lease, (50, 1), "corrupt"),
    "stopping": lambda db, lease: runs.stopping(db, lease),
    "finish": lambda db, lease: runs.finish(db, lease, ended(lease, "succeeded")),
    "release": lambda db, lease: runs.release(db, lease),
}


def everything(db) -> list[object]:
    with db.read() as conn:
        names = ("runs", "attempts", "events", "metrics", "checkpoints")
        return [conn.exec_driver_sql(f"SELECT * FROM {name}").all() for name in names]
