"""Real workers, real processes, SIGKILL: a sweep tells the same values, and every micro-dollar is in an attempt."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from chaos.jobs import Trainer
from chaos.pool import Pool, fork
from halving import bench_of, request_of, table
from shoestring import queries, sweep
from shoestring.db import Database
from shoestring.executors.local import Launch
from shoestring.home import Home
from shoestring.records import MICRO
from shoestring.tables import attempts, runs
from sqlalchemy import func, select

KILLS, PATIENCE_S = 10, 240.0
SPEC = """
version: 1
project: toy
data: dots
experiments:
  deferred:
    model: {preset: nano}
    until: {steps: 250}
    lr: 1e-3
    evaluate: {every_steps: 5}
    checkpoints: {every_steps: 4}
    stages: [{mask: {kind: none}}]
sweeps:
  small:
    base: deferred
    search: {stages.0.lr: {low: 1e-5, high: 1e-2, log: true}}
    objectives: {val/loss: minimize}
    sampler: SAMPLER
    trials: 6
    seed: 3
"""
FLAT = SPEC.replace("SAMPLER", "random")
RUNGS = SPEC.replace("SAMPLER", "tpe") + "    rungs: {usd: [0.0025, 0.006]}\n"


class Searching(Trainer):
    """Starts the trainer of `searched_trainer.py`."""

    def command(self, launch: Launch) -> list[str]:
        script = str(Path(__file__).with_name("searched_trainer.py"))
        worker = ["--token", str(launch.token), "--supervised", "--lease-s", str(launch.lease_s)]
        return [sys.executable, script, str(launch.run_dir), *worker, "--pause-s", str(self.pause_s)]


def keep_sweeping(root: Path, text: str, jobs: int) -> None:
    """Be the sweeping process; others train."""
    home = Home(root, root / "state")
    db = Database(home.db_url)

    def wait(run_ids: list[int]) -> None:
        moving = ("queued", "leased", "running", "stopping")
        while all(queries.run(db, run_id).state in moving for run_id in run_ids):
            time.sleep(0.05)

    sweep.run_sweep(bench_of(home, wait), request_of(text), jobs=jobs)


class Stage:
    """A project, its pool of workers and its sweeping process."""

    def __init__(self, root: Path, migrated: Path, text: str, jobs: int) -> None:
        self.home, self.again = Home(root, root / "state"), (root, text, jobs)
        self.home.state.mkdir(parents=True)
        shutil.copy(migrated, self.home.state / "shoestring.db")
        self.pool = Pool(self.home.db_url, root, Searching("fast", pause_s=0.02), size=2)
        self.sweeper: BaseProcess = fork(keep_sweeping, *self.again)

    def finished(self) -> bool:
        found = queries.sweeps(Database(self.home.db_url))
        return bool(found) and found[0].state == "finished" and not self.sweeper.is_alive()

    def go_on(self, kills: int = 0, seed: int = 0) -> int:
        """Let it come to its end, killing the sweeper and a worker in turn meanwhile; say how many were killed."""
        chance, killed, until = random.Random(seed), 0, time.monotonic() + PATIENCE_S
        next_at = time.monotonic() + 3.0
        while not self.finished() and time.monotonic() < until:
            self.pool.tend()
            if not self.sweeper.is_alive() and not self.finished():
                assert killed or self.sweeper.exitcode == 0, "the sweep failed by itself"
                self.sweeper = fork(keep_sweeping, *self.again)
            if killed < kills and time.monotonic() >= next_at:
                victim = self.sweeper if killed % 2 == 0 else chance.choice(self.pool._alive)
                if victim.pid and victim.is_alive():
                    os.kill(victim.pid, signal.SIGKILL)
                    victim.join()
                    killed += 1
                next_at = time.monotonic() + chance.uniform(0.5, 2.0)
            time.sleep(0.05)
        self.pool.end()
        assert self.finished(), "it did not end"
        return killed


@pytest.mark.slow
@pytest.mark.storm
@pytest.mark.parametrize(("text", "jobs"), [(RUNGS, 1), (FLAT, 3)], ids=["rungs", "three at once"])
def test_ten_kills_of_the_sweeper_and_of_workers_change_no_told_value_and_lose_no_dollar(
    tmp_path, migrated, monkeypatch, text, jobs
):
    monkeypatch.delenv("SHOESTRING_DB", raising=False)
    stormy = Stage(tmp_path / "stormy", migrated, text, jobs)
    assert stormy.go_on(KILLS, seed=1) == KILLS
    calm = Stage(tmp_path / "calm", migrated, text, jobs)
    calm.go_on()
    bench = bench_of(stormy.home)
    assert table(bench) == table(bench_of(calm.home))
    states = {row[2] for row in table(bench)}
    assert states == ({"pruned", "complete"} if text == RUNGS else {"complete"})
    assert len(table(bench)) == 6 and len({row[3] for row in table(bench)}) == 6
    with bench.db.read() as conn:
        by_attempt = select(func.coalesce(func.sum(attempts.c.micro), 0)).where(attempts.c.run_id == runs.c.id)
        booked = conn.execute(select(runs.c.spent_micro, by_attempt.scalar_subquery())).all()
    assert all(spent == summed for spent, summed in booked)
    assert round(queries.sweeps(bench.db)[0].spent_usd * MICRO) == sum(spent for spent, _ in booked) > 0
