"""A storm: a seeded schedule of faults, let loose on workers and trainers in the middle of their runs.

Every fault that was given is written to `faults.jsonl`, which the checker reads. The same seed gives the same faults
with the same gaps in the same order; which run each one meets depends on the machine, and is written down.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import psutil
from shoestring.db import Database
from shoestring.states import TERMINAL
from shoestring.tables import runs
from shoestring_trainer.run_dir import RunDir
from sqlalchemy import func, select

from chaos.jobs import Trainer
from chaos.pool import LEASE_S, Pool

WEIGHTS = {"worker": 45, "trainer": 40, "freeze": 15}  # queue.md's mixture, in percent
HEARD = 0.8  # of its steps: of 60 SIGTERMs three came to a run that ended first, all in the last three of 45 steps
ELSEWHERE = 0  # the run of a fault that is aimed at no run: the database, the clock
FROZEN_LEASES = 1.6  # the shortest freeze: longer than any lease
PATIENCE_S = 60.0  # without a run to disturb, or without progress at the end


@dataclass(frozen=True)
class Fault:
    """One fault to come: after `gap_s`, of this kind, at the run that `pick` (0 to 1) points at."""

    number: int
    kind: str
    gap_s: float
    pick: float


@dataclass(frozen=True)
class Given:
    """One fault that was given, and what it met."""

    number: int
    kind: str
    run: int
    token: int
    step: int  # whole lines of steps that the attempt had journalled
    n_steps: int
    pid: int
    at: float  # unix seconds
    run_dir: str = ""


class Target(NamedTuple):
    """A run to disturb, and the pids of those who work on it."""

    run: int
    token: int
    step: int
    n_steps: int
    worker: int
    trainer: int
    run_dir: str


def schedule(seed: int, n: int, gap_s: float, weights: dict[str, int] = WEIGHTS) -> Iterator[Fault]:
    """The faults of this seed; gaps are uniform from 0.2 to 1.8 times `gap_s`."""
    chance = random.Random(seed)
    for number in range(n):
        (kind,) = chance.choices(list(weights), list(weights.values()))
        yield Fault(number, kind, gap_s * chance.uniform(0.2, 1.8), chance.random())


class Storm:
    """Gives faults to a pool, keeps the queue filled meanwhile, and waits until every run has ended."""

    def __init__(
        self,
        db: Database,
        pool: Pool,
        trainer: Trainer,
        folder: Path,
        elsewhere: dict[str, Callable[[Fault], None]] | None = None,
    ) -> None:
        self.db, self.pool, self.trainer = db, pool, trainer
        self.elsewhere = elsewhere or {}  # what the faults do that are aimed at no run, by kind
        self.runs_dir, self.log = folder / "runs", folder / "faults.jsonl"
        self.submitted = 0
        self.max_usd: float | None = None  # of each run
        self.given: list[Given] = []

    def rage(self, faults: Iterator[Fault], show: Callable[[str], None] = lambda line: None) -> list[Given]:
        """Give every fault in the middle of a run, then let all runs end. Raises TimeoutError when nothing moves."""
        for fault in faults:
            self._pause(fault.gap_s)
            given = self._give(fault)
            self.given.append(given)
            with open(self.log, "a") as log:
                log.write(json.dumps(asdict(given)) + "\n")
            show(f"{fault.kind} at run {given.run}, step {given.step} of {given.n_steps}")
        self.settle()
        return self.given

    def settle(self) -> None:
        """Let all runs end, then the workers. Raises TimeoutError when no run ends for PATIENCE_S."""
        left, since = -1, time.monotonic()
        while (now := self._unfinished()) > 0:
            if now != left:
                left, since = now, time.monotonic()
            if time.monotonic() - since > PATIENCE_S:
                raise TimeoutError(f"{left} runs have not ended, none in the last {PATIENCE_S:.0f} s")
            self.pool.tend()
            time.sleep(0.1)
        self.pool.end()

    def survivors(self) -> list[int]:
        """Pids of trainers of this storm that are still there."""
        found = []
        for path in self.runs_dir.glob("*/attempts/*/process.json"):
            facts = json.loads(path.read_bytes())
            try:
                process = psutil.Process(facts["pid"])
                if abs(process.create_time() - facts["created"]) < 0.5 and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(facts["pid"])
            except psutil.NoSuchProcess:
                continue
        return found

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while True:
            self.pool.tend()
            self._fill()
            if time.monotonic() >= until:
                return
            time.sleep(0.05)

    def _fill(self) -> None:
        with self.db.read() as conn:
            waiting = conn.scalar(select(func.count()).where(runs.c.state == "queued"))
        if (waiting or 0) < self.pool.size:
            self.trainer.submit(self.db, self.runs_dir, self.submitted, 2 * self.pool.size, self.max_usd)
            self.submitted += 2 * self.pool.size

    def _give(self, fault: Fault) -> Given:
        if fault.kind in self.elsewhere:
            self.elsewhere[fault.kind](fault)
            return Given(fault.number, fault.kind, ELSEWHERE, 0, 0, 0, 0, time.time())
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            candidates = self._in_the_middle()
            if fault.kind == "term":
                candidates = [one for one in candidates if one.step < HEARD * one.n_steps]
            if candidates:
                one = candidates[int(fault.pick * len(candidates))]
                pid = one.trainer if fault.kind == "trainer" else one.worker
                if self._strike(fault, pid):
                    where = (one.run, one.token, one.step, one.n_steps, pid, time.time(), one.run_dir)
                    return Given(fault.number, fault.kind, *where)
            self._pause(0.05)
        raise TimeoutError(f"no run was in its middle for {PATIENCE_S:.0f} s")

    def _strike(self, fault: Fault, pid: int) -> bool:
        try:
            if fault.kind == "freeze":
                self.pool.freeze(pid, (FROZEN_LEASES + fault.pick) * LEASE_S)
            else:
                os.kill(pid, signal.SIGTERM if fault.kind == "term" else signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True

    def _in_the_middle(self) -> list[Target]:
        """The runs that are past their first step and not at their last."""
        columns = (runs.c.id, runs.c.lease_token, runs.c.n_steps, runs.c.owner, runs.c.run_dir)
        with self.db.read() as conn:
            held = conn.execute(select(*columns).where(runs.c.state == "running").order_by(runs.c.id)).all()
        found: list[Target] = []
        for row in held:
            folder, worker = RunDir(Path(row.run_dir)), int(row.owner.split(":")[2])
            try:
                process = json.loads((folder.attempt(row.lease_token) / "process.json").read_bytes())
                last = folder.journal(row.lease_token).read_bytes().splitlines()[-1]
                step = json.loads(last)["step"]
            except (OSError, ValueError, IndexError):
                continue
            if 0 < step < row.n_steps - 1 and self.pool.awake(worker):
                found.append(Target(row.id, row.lease_token, step, row.n_steps, worker, process["pid"], row.run_dir))
        return found

    def _unfinished(self) -> int:
        with self.db.read() as conn:
            return conn.scalar(select(func.count()).where(runs.c.state.not_in([*sorted(TERMINAL), "paused"]))) or 0
