"""The dispatcher: claims runs and submits one engine job for each, beating their leases until the jobs have begun.

A dispatcher's id is no process's id to a reaper, so its death takes no pending run away at once; the next dispatcher
of this machine finds the jobs by their names and goes on. A run that has begun belongs to its job.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from shoestring_trainer.config import Compute
from shoestring_trainer.run_dir import Result

from shoestring import queries, runs
from shoestring.attempt import Pace, Progress
from shoestring.db import Database
from shoestring.errors import EnvironmentProblem, LeaseLost, UsageError
from shoestring.executors.jobs import job_path, read_job
from shoestring.executors.local import Launch
from shoestring.executors.slurm import Job, SlurmExecutor
from shoestring.executors.slurm_commands import IMPOSSIBLE, Node, Refused, Silent
from shoestring.heart import Heart
from shoestring.home import Home
from shoestring.poison import Poisonous, stored_config
from shoestring.records import Run
from shoestring.states import LEASED
from shoestring.tracking import Tracker
from shoestring.worker import Worked, Worker

MARK = "slurm@"  # before the host in a dispatcher's id
UNHURRIED = Pace(poll_s=5.0)


@dataclass(frozen=True)
class Patience:
    """How long a job may wait before its run is taken back, in seconds."""

    impossible_s: float = 300.0  # for what Slurm says it cannot give
    pending_s: float = 7 * 86400.0  # in line


class Flight:
    """One attempt handed to the engine; its lease is beaten here until the job has begun."""

    def __init__(self, db: Database, lease: runs.Lease, launch: Launch, beat_s: float) -> None:
        self.lease, self.launch = lease, launch
        self.heart = Heart(db, lease, lambda: 0, beat_s)
        self.heart.start(lambda: None)
        self.job: Job | None = None
        self.since = time.monotonic()
        self.begun = False
        self.given_up = ""  # why its job was withdrawn, in words


class Dispatcher(Worker):
    """A worker whose attempts run elsewhere, up to `max_jobs` at once. `work` returns as a worker's does."""

    def __init__(
        self,
        home: Home,
        db: Database,
        executor: SlurmExecutor,
        tracker: Tracker | None = None,
        pace: Pace = UNHURRIED,
        *,
        max_jobs: int = 1,
        patience: Patience = Patience(),
        queue: str = "default",
    ) -> None:
        super().__init__(home, db, executor, tracker, pace, queue=queue)  # type: ignore[arg-type]
        self.id = MARK + self.id
        self.slurm, self.max_jobs, self.patience = executor, max_jobs, patience
        self.flights: list[Flight] = []
        self._show: Callable[[Progress], None] = lambda progress: None

    def work(
        self,
        *,
        until_empty: bool = False,
        idle_exit_s: float | None = None,
        until: Callable[[], bool] = lambda: False,
        show: Callable[[Progress], None] = lambda progress: None,
    ) -> Worked:
        """Claim, submit and follow. Ends as `Worker.work` does, when nothing is under way any more.

        Interrupted, it gives back the runs whose jobs have not begun; the others go on without it. Raises
        EnvironmentProblem when the engine cannot run anything.
        """
        if problems := self.slurm.check(Compute()):
            raise EnvironmentProblem("; ".join(problems), "sinfo shows what Slurm has; give one with --partition")
        worked, self._show = Worked(), show
        self.room = self._look()
        runs.register(self.db, self.id, f"Slurm {self.slurm.options.partition}".strip(), 0.0, self.room)
        self._strike_off_the_dead()
        idle_since = time.monotonic()
        with self._signals():
            try:
                self._insist(self._adopt)
                while not (self.interrupt.level or until()):
                    self._insist(self._report)
                    self._follow(worked)
                    all_claimed = not self._drained and self._fill()
                    if self.flights:
                        idle_since = time.monotonic()
                    idle_s = time.monotonic() - idle_since
                    empty = until_empty and all_claimed and not self._insist(self._retries_ahead)
                    bored = idle_exit_s is not None and idle_s >= idle_exit_s
                    if not self.flights and (self._drained or empty or bored):
                        break
                    self._sleep()
                self._give_back()
            finally:
                for flight in self.flights:
                    flight.heart.stop()
                self._sign_off(worked)
        self._mirror(worked)
        return worked

    # ── taking on ───────────────────────────────────────────────────────────────────────────────

    def _fill(self) -> bool:
        """Claim and submit until there are `max_jobs` or Slurm is silent; say whether the queue had nothing more."""
        while len(self.flights) < self.max_jobs and not self.interrupt.level:
            room = self._look()
            if room is None:
                break
            if room != self.room:
                self.room = room
                self._insist(lambda room=room: runs.offer(self.db, self.id, room))  # type: ignore[misc]
            lease = self._claim(room)
            if lease is None:
                return True
            if flight := self._take(lease):
                self._submit(flight)
        return False

    def _take(self, lease: runs.Lease) -> Flight | None:
        """Follow an attempt from now on. A poisonous run has failed instead: one such row must not stop the queue. One
        that has begun is its job's affair: its row went bad afterwards."""
        run = lease.run
        try:
            compute = stored_config(run).compute
        except Poisonous as error:
            if run.state == "leased":
                self._end(lease, Result(lease.token, "failed", error.failure_class, str(error), 0))
            return None
        launch = Launch(
            Path(run.run_dir), lease.token, int(lease.lease_s), compute, run.id, lease.nonce, self.id,
            run.cpus, run.memory_gb,
        )  # fmt: skip
        flight = Flight(self.db, lease, launch, self.pace.beat_s)
        self.flights.append(flight)
        return flight

    def _look(self) -> runs.Room | None:
        """The most that one node offers; None while Slurm is silent or an earlier submission is not through."""
        nodes: list[Node] = []
        with contextlib.suppress(Silent):
            nodes = self.slurm.nodes()
        if not nodes or any(flight.job is None and not flight.begun for flight in self.flights):
            return None
        gpus, cpus, memory_gb = (max(column) for column in zip(*nodes, strict=True))
        any_gb = 1e6  # of a GPU: Slurm does not say how much it has
        return runs.Room(self.queue, int(gpus), any_gb, int(cpus), memory_gb)

    def _submit(self, flight: Flight) -> None:
        """Have a job for it, or try again at the next look. What Slurm refuses is a failure of the run's."""
        launch = flight.launch
        try:
            if problems := self.slurm.check(launch.compute):
                self._end(flight.lease, Result(launch.token, "failed", "launch", "; ".join(problems), 0))
            else:
                job = flight.job = self.slurm.submit(launch)
                self._tell(flight, f"{job} is submitted")
                with contextlib.suppress(LeaseLost):  # it has begun already, and said so itself
                    self._insist(lambda: runs.hand_over(self.db, flight.lease, self.slurm.name, job.id))
        except Silent as error:
            self._tell(flight, f"Slurm does not answer: {error}")
        except Refused as error:
            self._end(flight.lease, Result(launch.token, "failed", "launch", f"Slurm refused the job: {error}", 0))

    def _adopt(self) -> None:
        """Go on with what dead dispatchers of this machine left, and withdraw jobs of runs that have moved on."""
        self._strike_off_the_dead(_dead)
        waiting: list[Job] = []
        with contextlib.suppress(Silent):
            waiting = self.slurm.waiting_under(self.home.runs)  # before the runs: a claim comes before its job
        held = [run for state in LEASED for run in queries.runs(self.db, state=state)]
        orphans = []
        for run in held:
            with contextlib.suppress(UsageError):  # a broken job file: the run is left to the reaper
                file = read_job(job_path(Path(run.run_dir), run.lease_token))
                owner = file.owner if file else run.owner
                if _dead(owner):
                    nonce = file.nonce if file else ""
                    orphans.append(runs.Lease(run.id, run.lease_token, nonce, owner, self.pace.lease_s, run))
        current = {(run.run_dir, run.lease_token) for run in held}
        for job in waiting:
            if (job.run_dir, job.token) not in current:
                self.slurm.withdraw(job)
        for lease in orphans:
            self._take(lease)

    # ── following ───────────────────────────────────────────────────────────────────────────────

    def _follow(self, worked: Worked) -> None:
        """Ask the engine once about everything under way, and act on what is known."""
        states = self.slurm.poll([flight.job for flight in self.flights if flight.job])
        for flight in list(self.flights):
            run = self._insist(lambda flight=flight: queries.run(self.db, flight.lease.run_id))  # type: ignore[misc]
            state = states.get(flight.job, "UNKNOWN") if flight.job else "UNKNOWN"
            if run.lease_token != flight.lease.token or run.state not in LEASED:
                self._drop(flight, run, state, worked)
            elif run.state != "leased":
                self._begun(flight, run)  # even if its job is gone: a run without beats is the reaper's
            elif state == "GONE":
                self._never_began(flight)
            else:
                self._waiting(flight, state)

    def _drop(self, flight: Flight, run: Run, state: str, worked: Worked) -> None:
        """The attempt is over, whoever ended it."""
        if flight.job and state == "PENDING":
            self.slurm.withdraw(flight.job)
        flight.heart.stop()
        self.flights.remove(flight)
        again = run.state in LEASED  # already claimed anew: its attempt had given it back
        worked.states["queued" if again else run.state] += 1
        self._show(_progress(run, run.reason or run.failure_class))

    def _begun(self, flight: Flight, run: Run) -> None:
        """The job has the run and beats for itself."""
        if not flight.begun:
            flight.begun = True
            flight.heart.stop()
            self._show(_progress(run, f"{flight.job} has begun" if flight.job else ""))

    def _waiting(self, flight: Flight, state: str) -> None:
        """The job has not begun: make it, withdraw it when it is not wanted any more, or give up on it."""
        wanted = flight.heart.want == "run"
        if flight.job is None and wanted:
            return self._submit(flight)
        if flight.job is None:
            with contextlib.suppress(Silent):
                flight.job = self.slurm.find(flight.launch)
                if flight.job is None:
                    self._end(flight.lease, None)
            return
        if state != "PENDING":
            return
        waited_s, reason = time.monotonic() - flight.since, self.slurm.reasons.get(flight.job.id, "")
        impossible = reason in IMPOSSIBLE and waited_s >= self.patience.impossible_s
        if impossible or waited_s >= self.patience.pending_s:
            what = "Slurm cannot give what it asks for" if impossible else "its turn did not come"
            hint = "ask for less, or give another --partition, --time, --account or --qos"
            flight.given_up = f"{flight.job} waited {waited_s:.0f} s and was cancelled: {what} ({reason}); {hint}"
        if flight.given_up or not wanted:
            self.slurm.withdraw(flight.job)
        else:
            self._tell(flight, f"{flight.job} waits: {reason}")

    def _never_began(self, flight: Flight) -> None:
        """The job is gone and never took its run: give the run back, or write down why it could not."""
        said = self.slurm.logs(flight.job)[-4000:].decode("utf-8", errors="replace").strip() if flight.job else ""
        failure, detail = "launch", flight.given_up
        if not detail and said:
            detail = f"{flight.job} ended before it took the run: {' '.join(said.split())[-300:]}"
        if not detail:
            failure, detail = "node_lost", f"{flight.job} is gone and never began"
        unwanted = flight.heart.want != "run"
        self._end(flight.lease, None if unwanted else Result(flight.lease.token, "failed", failure, detail, 0))

    def _end(self, lease: runs.Lease, result: Result | None) -> None:
        """End an attempt that never began, with its result or as asked for (None)."""

        def write() -> str:
            return runs.finish(self.db, lease, result) if result else runs.release(self.db, lease)

        with contextlib.suppress(LeaseLost):
            self._insist(write)
        job_path(Path(lease.run.run_dir), lease.token).unlink(missing_ok=True)  # it holds the database's password

    def _give_back(self) -> None:
        """Withdraw the jobs that have not begun and give their runs back; what has begun goes on alone."""
        pending = [flight for flight in self.flights if not flight.begun]
        for flight in pending:
            if flight.job:
                self.slurm.withdraw(flight.job)
        states = self.slurm.poll([flight.job for flight in pending if flight.job])
        for flight in pending:
            run = queries.run(self.db, flight.lease.run_id)
            mine = run.lease_token == flight.lease.token and run.state == "leased"
            if mine and (flight.job is None or states[flight.job] == "GONE"):
                self._end(flight.lease, None)

    def _sleep(self) -> None:
        """Wait for the next look, not longer than a signal takes to be noticed."""
        until = time.monotonic() + self.pace.poll_s
        while not self.interrupt.level and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.5))

    def _tell(self, flight: Flight, note: str) -> None:
        self._show(_progress(flight.lease.run, note))


def _dead(owner: str) -> bool:
    """Say whether `owner` is a dispatcher of this machine whose process is gone."""
    return owner.startswith(MARK) and runs.provably_dead(owner.removeprefix(MARK))


def _progress(run: Run, note: str) -> Progress:
    return Progress(
        run.id, run.name, run.state, run.step, run.n_steps, run.spent_usd, run.planned_usd, note=note
    )  # fmt: skip
