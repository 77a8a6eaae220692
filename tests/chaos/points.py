"""Trying every crash point: one run, one crash there, then an ordinary worker; the checker has the last word."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock

from shoestring.db import Database
from shoestring.executors.local import LocalExecutor
from shoestring.home import Home
from shoestring.worker import Worker

from chaos import crash
from chaos.checker import check
from chaos.jobs import Outcome, Trainer
from chaos.pool import PACE, fork

PATIENCE_S = 120.0
NEVER = "it was never passed"
TRIES = 8  # at least, each a run anew: what a worker passes only when it looks late enough, it passes in some


@dataclass(frozen=True)
class CrashPoint:
    """`who` (worker or trainer) dies at `name` when it passes there for the `time`-th time."""

    who: str
    name: str
    time: int

    def __str__(self) -> str:
        return f"{self.who} {self.name}"


def find(url: str, folder: Path, trainer: Trainer) -> list[CrashPoint]:
    """Run one run to its end on the empty database `url`, and list the points that its worker and trainer pass.

    Each is tried in the middle of its passes: a checkpoint's at the second or third checkpoint, not at the first.
    How often the worker passes some depends on when it looks, so a run may pass them less often than this one.
    """
    notes = {who: folder / f"{who}.points" for who in ("worker", "trainer")}
    watched = replace(trainer, crash=("record", str(notes["trainer"])))
    _submit(url, folder, watched)
    ended = _work(url, folder, watched, ("record", str(notes["worker"])))
    assert ended == 0, f"the worker ended with {ended}"
    counts = {who: Counter(path.read_text().splitlines()) for who, path in notes.items()}
    return [CrashPoint(who, name, math.ceil(n / 2)) for who in counts for name, n in sorted(counts[who].items())]


def earlier(point: CrashPoint) -> list[CrashPoint]:
    """The point at the pass wanted, then at earlier ones, at last at its first; each for a run anew."""
    times = [point.time]
    while times[-1] > 1:
        times.append(times[-1] // 2)
    times += [1] * (TRIES - len(times))
    return [replace(point, time=time) for time in times]


def attempt(url: str, folder: Path, trainer: Trainer, point: CrashPoint, references: dict[int, Outcome]) -> list[str]:
    """Crash at `point` on the empty database `url`, let an ordinary worker finish, return what the checker says."""
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / "crashed"
    how = ("at", point.name, str(point.time), str(done))
    struck = replace(trainer, crash=how) if point.who == "trainer" else trainer
    _submit(url, folder, struck)
    _work(url, folder, struck, how if point.who == "worker" else ())
    if not done.exists():
        return [NEVER]
    if point.who == "worker":
        _work(url, folder, trainer, ())
    return check(url, folder, references).problems


def every(
    make: Iterator[str], folder: Path, trainer: Trainer, points: list[CrashPoint], references: dict[int, Outcome]
) -> Iterator[tuple[CrashPoint, list[str]]]:
    """Crash at each of `points`, two at a time, each on databases of its own from `make`; yield it with its problems.

    A run that ends without having passed the point so often has shown nothing: another crashes at an earlier pass.
    """
    making = Lock()

    def crashed(number: int, point: CrashPoint) -> list[str]:
        problems: list[str] = []
        for again, sooner in enumerate(earlier(point)):
            with making:
                url = next(make)
            problems = attempt(url, folder / f"{number:03d}-{again}", trainer, sooner, references)
            if problems != [NEVER]:
                break
        return problems

    with ThreadPoolExecutor(2) as pool:
        tries = [pool.submit(crashed, number, point) for number, point in enumerate(points)]
        for point, tried in zip(points, tries, strict=True):
            yield point, tried.result()


def _submit(url: str, folder: Path, trainer: Trainer) -> None:
    db = Database(url)
    trainer.submit(db, folder / "runs", 0, 1)
    db.close()


def _work(url: str, folder: Path, trainer: Trainer, how: tuple[str, ...]) -> int | None:
    process = fork(_be_worker, url, folder, trainer, how)
    process.join(PATIENCE_S)
    process.kill()
    return process.exitcode


def _be_worker(url: str, folder: Path, trainer: Trainer, how: tuple[str, ...]) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    if how:
        notice = crash.notice_of(how)
        crash.watch(notice)
        crash.watch_database(notice)
    home, db = Home(folder, folder / "state"), Database(url)
    Worker(home, db, LocalExecutor(trainer.command), pace=PACE).work(until_empty=True)
