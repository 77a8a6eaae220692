"""The worker: claims runs and carries each to the end of an attempt, one at a time, until told otherwise."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from shoestring import provenance, queries, runs
from shoestring.attempt import Attempt, Interrupt, Pace, Progress
from shoestring.db import Database
from shoestring.errors import EnvironmentProblem, ShoestringError
from shoestring.executors.local import LocalExecutor
from shoestring.home import Home
from shoestring.learning import learn
from shoestring.poison import Poisonous, stored_config
from shoestring.prices import read_prices
from shoestring.records import Run
from shoestring.tracking import Tracker

T = TypeVar("T")
IDLE_S = 1.0  # between two looks at an empty queue
AWAY_S = 600.0  # how long an idle worker waits for a database that is away


@dataclass
class Worked:
    """What one call of `work` did."""

    states: Counter[str] = field(default_factory=Counter)  # the state each attempt left its run in
    interrupted: bool = False
    problems: list[str] = field(default_factory=list)  # what went wrong beside the runs: the mirror


class Worker:
    """One process of the pool. `work` returns when the queue is empty, time is up, it is drained or interrupted."""

    takes_from_queue = True

    def __init__(
        self,
        home: Home,
        db: Database,
        executor: LocalExecutor,
        tracker: Tracker | None = None,
        pace: Pace = Pace(),
        *,
        queue: str = "default",
    ) -> None:
        self.home, self.db, self.executor, self.tracker, self.pace = home, db, executor, tracker, pace
        self.queue = queue
        self.room: runs.Room | None = None  # what it offers a run, once it is known
        self.id = runs.new_worker_id()
        self.interrupt = Interrupt()
        self._reaper = runs.Reaper(pace.lease_s, runs.provably_dead)
        self._run_id: int | None = None
        self._drained = False

    def work(
        self,
        *,
        until_empty: bool = False,
        idle_exit_s: float | None = None,
        until: Callable[[], bool] = lambda: False,
        show: Callable[[Progress], None] = lambda progress: None,
    ) -> Worked:
        """Claim and train, run by run.

        Ends when `until` (asked between runs) says so; with `until_empty`, when nothing in the queue can be claimed
        now or later by itself; after `idle_exit_s` seconds without a run; when drained; or interrupted. The first
        SIGINT or SIGTERM checkpoints the run and gives it back, the second kills its trainer.
        """
        worked = Worked()
        facts = provenance.hardware()
        self.room = room = _room(facts, self.queue)
        offered = room if self.takes_from_queue else None
        runs.register(self.db, self.id, provenance.hardware_name(facts), _usd_per_hour(self.home), offered)
        self._insist(self._strike_off_the_dead)
        idle_since = time.monotonic()
        with self._signals():
            try:
                while not (self.interrupt.level or self._drained or until()):
                    lease = self._claim(room)
                    if lease:
                        worked.states[self._attempt(lease, show)] += 1
                        idle_since = time.monotonic()
                        continue
                    if until_empty and not self._insist(self._retries_ahead):
                        break
                    if idle_exit_s is not None and time.monotonic() - idle_since >= idle_exit_s:
                        break
                    time.sleep(IDLE_S)
            finally:
                self._run_id = None
                self._sign_off(worked)
        self._mirror(worked)
        return worked

    def _sign_off(self, worked: Worked) -> None:
        """Leave the roster, as far as the database lets."""
        with contextlib.suppress(ShoestringError):
            runs.leave(self.db, self.id)
        worked.interrupted = bool(self.interrupt.level)

    def _strike_off_the_dead(self, dead: Callable[[str], bool] = runs.provably_dead) -> None:
        """Take workers of this machine whose process is gone off the roster; they could not do it themselves."""
        for other in queries.workers(self.db):
            if other.state != "gone" and dead(other.id):
                runs.leave(self.db, other.id)

    def _claim(self, room: runs.Room) -> runs.Lease | None:
        """Take back what dead workers held, then lease the next run."""
        self._insist(self._report)
        nonce = uuid.uuid4().hex  # a claim whose reply was lost is found again by it
        return self._insist(lambda: runs.claim(self.db, self.id, nonce, room=room, lease_s=self.pace.lease_s))

    def _retries_ahead(self) -> bool:
        """Say whether a run that cannot be claimed now will be, by itself: it failed and waits for its next attempt."""
        for run in queries.runs(self.db, state="queued"):
            cap = queries.budget(self.db, run.project)
            affordable = cap is None or queries.spent(self.db, run.project) < cap
            if run.failures and affordable and self._may_have(run):
                return True
        return False

    def _may_have(self, run: Run) -> bool:
        """Say whether this worker can have `run` once it is due; a poisonous one only has to be claimed."""
        if self.room and not self.room.holds(run):
            return False
        try:
            return not self.executor.check(stored_config(run).compute)
        except Poisonous:
            return True

    def _attempt(self, lease: runs.Lease, show: Callable[[Progress], None]) -> str:
        self._run_id = lease.run_id
        try:
            attempt = Attempt(self.db, self.executor, lease, self.pace, self.interrupt)
            state = attempt.execute(show, self._report)
            if state == "succeeded":
                self._learn(lease.run_id)
            return state or "lease lost"
        finally:
            self._run_id = None

    def _learn(self, run_id: int) -> None:
        """Refine this machine's calibration by a run that ended well; nothing that is worth stopping for."""
        with contextlib.suppress(ShoestringError, OSError):
            learn(self.home, queries.run(self.db, run_id))

    def _report(self) -> None:
        """Say that this worker is alive, learn whether it is to drain, and take back what dead workers held."""
        try:
            self._drained = runs.report(self.db, self.id, self._run_id) == "drain"
            self._reaper.reap(self.db, time.monotonic())
        except EnvironmentProblem:
            self._reaper.forget()  # nobody could beat while the database was away: what it saw proves nothing
            raise
        if self.tracker:
            self.tracker.tick()

    def _mirror(self, worked: Worked) -> None:
        """Send what changed to MLflow, outside every run's billed time; an interrupted worker leaves it to the next."""
        if self.tracker is None:
            return
        if worked.interrupted:
            return self.tracker.close()
        if problem := self.tracker.finish(self.db):
            worked.problems.append(f"MLflow: {problem}")

    def _insist(self, look: Callable[[], T]) -> T:
        """Do it, waiting for a database that is away. Raises EnvironmentProblem when it stays away."""
        began, delay_s = time.monotonic(), 0.2
        while True:
            try:
                return look()
            except EnvironmentProblem:
                if self.interrupt.level or time.monotonic() - began > AWAY_S:
                    raise
                time.sleep(delay_s)
                delay_s = min(2 * delay_s, 10.0)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Take SIGINT and SIGTERM as requests while working; elsewhere than on the main thread they are not ours."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.interrupt.press) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _room(facts: dict[str, Any], queue: str) -> runs.Room:
    """What this machine offers a run of the queue."""
    gpus = facts["gpus"]
    memory_gb = min((gpu["memory_gb"] for gpu in gpus), default=0.0)
    return runs.Room(queue, len(gpus), memory_gb, facts["cores"], facts["ram_gb"])


def _usd_per_hour(home: Home) -> float:
    """What an hour of this machine costs, by the price row that is this machine's; 0 when there is none."""
    with contextlib.suppress(ShoestringError):
        return next((row.usd_per_hour for row in read_prices(home.root).values() if row.local), 0.0)
    return 0.0
