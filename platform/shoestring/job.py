"""An engine's job: the process that carries one attempt, on the node where the engine started it.

Its first act is to take the run over, leased → running under the token it was told. One that comes too late, or
twice, loses there and ends with code 0, before it has touched a GPU, a checkpoint or another's trainer.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from shoestring import migrate, queries, runs
from shoestring.attempt import Interrupt, Pace, resume_step
from shoestring.db import Database
from shoestring.errors import LeaseLost, NotFound
from shoestring.executors.jobs import JobFile, read_job, write_exit
from shoestring.executors.local import LocalExecutor
from shoestring.home import Home
from shoestring.worker import Worker

BEATS_PER_LEASE = 6


class Request(Interrupt):
    """A signal from an engine asks for a checkpoint, however often it comes; the engine kills by itself."""

    def press(self, *_: Any) -> None:
        self.level = 1


class JobWorker(Worker):
    """A worker for one run, which was claimed for it."""

    takes_from_queue = False

    def __init__(self, db: Database, file: JobFile) -> None:
        home, pace = Home(Path(file.root), Path(file.state)), Pace(file.lease_s, file.lease_s / BEATS_PER_LEASE)
        super().__init__(home, db, LocalExecutor(), pace=pace)
        self.file = file
        self.interrupt = Request()
        self._given: runs.Lease | None = None

    def take_over(self) -> None:
        """Begin the run's attempt as its owner, waiting for a database that is away. Raises LeaseLost, NotFound."""
        file = self.file
        run = self._insist(lambda: queries.run(self.db, file.run_id))
        lease = runs.Lease(file.run_id, file.token, file.nonce, self.id, file.lease_s, run)
        step, number = resume_step(run), job_number()
        self._insist(lambda: runs.start(self.db, lease, step, engine=file.engine, handle=number))
        self._given = lease

    def train(self) -> str:
        """Carry the run to the end of its attempt; return the state it went to, or "lease lost"."""
        done = self.work(idle_exit_s=0)
        if self._given:  # stopped before it had begun
            return runs.release(self.db, self._given)
        return next(iter(done.states))

    def _claim(self, room: runs.Room) -> runs.Lease | None:
        lease, self._given = self._given, None
        return lease


def carry(path: Path) -> str:
    """Carry the attempt that the job file at `path` names; return the state its run went to, "" when it was not ours.

    Raises UsageError for a broken file, EnvironmentProblem for a database that is away or of another version.
    """
    file = read_job(path)
    if file is None:
        print(f"{path} is gone: the attempt is over, nothing to do")
        return ""
    os.environ["OMP_NUM_THREADS"] = str(file.threads)
    migrate.check(file.database)
    worker = JobWorker(Database(file.database), file)
    for signum in (signal.SIGUSR2, signal.SIGTERM):
        signal.signal(signum, worker.interrupt.press)
    try:
        worker.take_over()
    except (LeaseLost, NotFound) as error:
        print(f"{error.message}: nothing to do")
        return ""
    number = job_number()
    print(f"job {number} on {os.uname().nodename} has taken run {file.run_id}, attempt {file.token}", flush=True)
    state = ""
    try:
        state = worker.train()
    finally:
        write_exit(Path(file.run_dir), file.token, number, state)
        path.unlink(missing_ok=True)  # it holds the database's password
    return state


def job_number() -> str:
    """The engine's number of the job that this process is; "" outside of one."""
    return os.environ.get("SLURM_JOB_ID", "")
