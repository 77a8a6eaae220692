"""Workers: who is here, what they hold, who was asked to take no more, and whose process is provably gone."""

from __future__ import annotations

import os
import socket
import uuid
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import insert, update

from shoestring.db import Database
from shoestring.errors import LeaseLost
from shoestring.moves import note
from shoestring.resources import Room
from shoestring.rows import micro
from shoestring.tables import workers


def new_worker_id() -> str:
    """`host:boot:pid:start:uuid` of this process; boot holds the pid namespace too, for containers share a boot id."""
    pid = os.getpid()
    start = psutil.Process(pid).create_time()
    return f"{socket.gethostname()}:{_boot()}:{pid}:{start:.2f}:{uuid.uuid4().hex[:12]}"


def provably_dead(worker_id: str) -> bool:
    """Say whether that worker ran on this machine, since this boot, and its process is gone. Unknown is not dead."""
    try:
        host, boot, pid, start, _ = worker_id.split(":")
        if (host, boot) != (socket.gethostname(), _boot()):
            return False
        process = psutil.Process(int(pid))
        return abs(process.create_time() - float(start)) > 1.0 or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    except (ValueError, psutil.Error):
        return False


def register(
    db: Database,
    worker_id: str,
    hardware: str,
    usd_per_hour: float,
    room: Room | None = Room(),
    *,
    now: float | None = None,
) -> None:
    """Put a worker on the roster, with what it offers a run (None: it takes none from any queue).

    `worker_id` comes from `new_worker_id`.
    """
    at = db.now(now)
    host, _, pid, *_ = worker_id.split(":")
    with db.write() as conn:
        conn.execute(
            insert(workers).values(
                id=worker_id,
                host=host,
                pid=int(pid),
                hardware=hardware,
                micro_per_hour=micro(usd_per_hour),
                **_offered(room),
                started_at=at,
                beat_at=at,
            )
        )
        note(conn, at, "worker_started", None, worker=worker_id)


def offer(db: Database, worker_id: str, room: Room | None) -> None:
    """Say that a worker offers a run something else from now on."""
    with db.write() as conn:
        conn.execute(update(workers).where(workers.c.id == worker_id).values(**_offered(room)))


def _offered(room: Room | None) -> dict[str, Any]:
    return {"queue": None} if room is None else asdict(room)


def report(db: Database, worker_id: str, run_id: int | None = None, *, now: float | None = None) -> str:
    """Say that the worker is alive and which run it holds; return what it is to do: `run` or `drain`.

    Raises LeaseLost for a worker that is not on the roster.
    """
    with db.write() as conn:
        state = "idle" if run_id is None else "working"
        want = conn.scalar(
            update(workers)
            .where(workers.c.id == worker_id)
            .values(beat_at=db.now(now), run_id=run_id, state=state)
            .returning(workers.c.want)
        )
    if want is None:
        raise LeaseLost(f"worker {worker_id} is not on the roster", "start it again: shoestring work")
    return want


def leave(db: Database, worker_id: str, *, now: float | None = None) -> None:
    """Take a worker off the roster; its row stays as a record, with the last that was heard of it."""
    at = db.now(now)
    with db.write() as conn:
        gone = update(workers).where(workers.c.id == worker_id, workers.c.state != "gone")
        if conn.execute(gone.values(state="gone", run_id=None)).rowcount:
            note(conn, at, "worker_left", None, worker=worker_id)


def _boot() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]
        return f"{boot}-{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return f"{psutil.boot_time():.0f}"
