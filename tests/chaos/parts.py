"""The parts of the proof: each lets one kind of trouble loose and says what came of it."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from postgres import Postgres
from shoestring.db import Database
from shoestring.tables import events, runs
from sqlalchemy import select

from chaos import bench, points
from chaos.checker import Report, check
from chaos.corrupt import corruptions
from chaos.jobs import Trainer
from chaos.pool import PACE, Pool
from chaos.storm import Fault, Storm, schedule

Show = Callable[[str], None]
HOUR_S = 3600.0


@dataclass
class Part:
    """What one part found; it held when `problems` is empty."""

    name: str
    n: int
    seed: int
    problems: list[str] = field(default_factory=list)
    text: str = ""
    seconds: float = 0.0


def kills(url: str, folder: Path, seed: int, n: int, show: Show, trainer: Trainer | None = None) -> Part:
    """`n` kills and freezes of workers and trainers; every result must equal the undisturbed one."""
    trainer = trainer or Trainer("fast")
    weights = None if trainer.kind == "fast" else {"worker": 50, "trainer": 50}
    gap_s, size = (0.45, 4) if trainer.kind == "fast" else (1.5, 2)
    faults = schedule(seed, n, gap_s, weights) if weights else schedule(seed, n, gap_s)
    return _storm(f"kills, {trainer.kind} trainer", url, folder, trainer, faults, seed, n, show, size=size)


def terms(url: str, folder: Path, seed: int, n: int, show: Show) -> Part:
    """SIGTERM to workers: checkpoint at the next step, nothing lost, no failure counted."""
    return _storm("SIGTERM", url, folder, Trainer("fast"), schedule(seed, n, 0.6, {"term": 1}), seed, n, show)


def clocks(url: str, folder: Path, seed: int, n: int, show: Show) -> Part:
    """The workers' clocks jump an hour forth or back: no live run is reaped, none is stuck."""
    skew, chance = folder / "skew", random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    skew.write_text("0")

    def jump(_: Fault) -> None:
        new = folder / "skew.new"
        new.write_text(str(chance.choice((-HOUR_S, HOUR_S))))
        new.replace(skew)

    faults = schedule(seed, n, 1.0, {"clock": 1})
    part = _storm("clock ± 1 h", url, folder, Trainer("fast"), faults, seed, n, show, {"clock": jump}, skew=skew)
    part.problems += _reaped(url)
    return part


def restarts(server: Postgres, folder: Path, seed: int, n: int, show: Show, away_s: float = 2.0) -> Part:
    """PostgreSQL is crashed and started again `away_s` later: nothing acknowledged is lost, series are complete."""

    def restart(_: Fault) -> None:
        server.crash()
        time.sleep(away_s)
        server.start()

    # a worker looks every ten seconds in the end: with shorter gaps several outages would be one to it
    faults = schedule(seed, n, max(2.0, away_s / 3), {"database": 1})
    url = server.new()
    name = f"database away for {away_s:.0f} s"
    part = _storm(name, url, folder, Trainer("fast"), faults, seed, n, show, {"database": restart})
    part.problems += _reaped(url)
    return part


def budgets(url: str, folder: Path, seed: int, n: int, show: Show) -> Part:
    """$3,600 an hour, $5 a run, kills: no run spends more than its cap and one beat and grace."""
    trainer, cap_usd, usd_per_s = Trainer("fast", steps=100_000, usd_per_hour=3600.0), 5.0, 1.0
    faults = schedule(seed, n, 0.8, {"worker": 50, "trainer": 50})
    part = _storm("budget", url, folder, trainer, faults, seed, n, show, max_usd=cap_usd, compare=False)
    most = cap_usd + usd_per_s * (PACE.beat_s + PACE.grace_s)
    with Database(url).read() as conn:
        rows = conn.execute(select(runs)).all()
    for row in rows:
        if (row.state, row.reason) != ("paused", "budget"):
            part.problems.append(f"run {row.id} is {row.state} ({row.reason}), not paused for its budget")
        if row.spent_micro > most * 1e6:
            part.problems.append(f"run {row.id} spent ${row.spent_micro / 1e6:.2f}, more than ${most:.2f}")
    part.text = f"{len(rows)} runs, ${max(row.spent_micro for row in rows) / 1e6:.3f} at most"
    return part


def corrupt(folder: Path, seed: int, n: int, show: Show) -> Part:
    """Damaged checkpoints: the one before is used, or the run fails and says so."""
    began, part, trainer = (
        time.monotonic(),
        Part("corrupted checkpoints", n, seed),
        Trainer("fast", pause_s=0.0, seeds=1),
    )
    references = bench.references(trainer, folder / "references")
    for said, problem in corruptions(trainer, folder, seed, n, references):
        show(f"{said}: {problem or 'held'}")
        part.problems += [f"{said}: {problem}"] if problem else []
    part.seconds = time.monotonic() - began
    return part


def crashes(make: Iterator[str], folder: Path, show: Show, rounds: int = 1) -> Part:
    """A crash before and after every durable act, `rounds` times over."""
    began, trainer = time.monotonic(), Trainer("fast", steps=24, pause_s=0.005, seeds=1)
    references = bench.references(trainer, folder / "references")
    (folder / "find").mkdir(parents=True)
    found = points.find(next(make), folder / "find", trainer)
    part = Part("crash points", rounds * len(found), 0, text=f"{len(found)} points")
    for number in range(rounds):
        for point, problems in points.every(make, folder / str(number), trainer, found, references):
            show(f"{point}: {'; '.join(problems) or 'held'}")
            part.problems += [f"{point}: {problem}" for problem in problems]
    part.seconds = time.monotonic() - began
    return part


def disk_full(folder: Path, n: int) -> Part:
    """Disks of 64 MB that fill up and have room again: `tests/test_disk_full.py` with `n` seeds."""
    began, test = time.monotonic(), Path(__file__).parents[1] / "test_disk_full.py"
    folder.mkdir(parents=True)
    argv = [sys.executable, "-m", "pytest", "-q", str(test), "-k", "whenever", f"--basetemp={folder / 'pytest'}"]
    done = subprocess.run(argv, env={**os.environ, "SHOESTRING_ROUNDS": str(n)}, capture_output=True, text=True)
    last = (done.stdout.strip().splitlines() or [done.stderr.strip()])[-1]
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    problems = failed or [last] if done.returncode or "passed" not in last else []
    return Part("disk full", n, 0, problems, last, time.monotonic() - began)


def _reaped(url: str) -> list[str]:
    """Runs that were taken from a worker, where none had died."""
    with Database(url).read() as conn:
        reaped = conn.scalars(select(events.c.run_id).where(events.c.kind == "reaped")).all()
    return [f"run {run_id} was alive and was reaped" for run_id in reaped]


def _storm(
    name: str,
    url: str,
    folder: Path,
    trainer: Trainer,
    faults: Iterator[Fault],
    seed: int,
    n: int,
    show: Show,
    elsewhere: dict[str, Callable[[Fault], None]] | None = None,
    *,
    size: int = 4,
    skew: Path | None = None,
    max_usd: float | None = None,
    compare: bool = True,
) -> Part:
    began = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    references = bench.references(trainer, folder / "references") if compare else {}
    db, pool = Database(url), Pool(url, folder, trainer, size, skew)
    storm = Storm(db, pool, trainer, folder, elsewhere)
    storm.max_usd = max_usd
    problems = []
    try:
        storm.rage(faults, show)
    except TimeoutError as error:
        problems.append(str(error))
    finally:
        pool.end()
        db.close()
    problems += [f"trainer {pid} outlived its worker" for pid in storm.survivors()]
    report = check(url, folder, references) if compare else Report()
    text = str(report).split("\n")[0] if compare else ""
    return Part(name, n, seed, problems + report.problems, text, time.monotonic() - began)
