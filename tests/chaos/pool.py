"""Worker processes to disturb: started from a process that has everything imported, so that hundreds start quickly."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from shoestring.attempt import Pace
from shoestring.db import Database
from shoestring.executors.local import LocalExecutor
from shoestring.home import Home
from shoestring.worker import Worker

from chaos.jobs import Trainer

LEASE_S = 3.0
PACE = Pace(lease_s=LEASE_S, beat_s=0.3, poll_s=0.05, grace_s=30.0)
FORKS = multiprocessing.get_context("forkserver")
STARTING = threading.Lock()
FORKS.set_forkserver_preload(["shoestring.worker", "psycopg", "sqlalchemy.dialects.postgresql", __name__])


def fork(target: Callable[..., None], *args: Any) -> BaseProcess:
    """Start `target(*args)` as a process. What `__main__` is here (a page's script, in tests) is no business of it."""
    process = FORKS.Process(target=target, args=args, daemon=True)
    with STARTING:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")
        try:
            process.start()
        finally:
            sys.modules["__main__"] = main
    return process


@dataclass
class Pool:
    """Keeps `size` workers alive on one database. A worker that was killed is replaced, a stopped one is not."""

    url: str
    root: Path
    trainer: Trainer
    size: int = 4
    skew: Path | None = None  # a file with seconds by which the workers' clocks are wrong
    _alive: list[BaseProcess] = field(default_factory=list)
    _stopped: dict[int, float] = field(default_factory=dict)  # pid → when it wakes, monotonic seconds

    def tend(self) -> None:
        """Replace the dead."""
        self._stopped = {pid: until for pid, until in self._stopped.items() if time.monotonic() < until}
        self._alive = [process for process in self._alive if process.is_alive()]
        while len(self._alive) < self.size:
            self._alive.append(fork(serve, self.url, self.root, self.trainer, self.skew))

    def freeze(self, pid: int, seconds: float) -> None:
        """Stop a worker (SIGSTOP) and wake it after so long: by a thread, as it may hold the lock that we wait for."""
        self._signal(pid, signal.SIGSTOP)
        self._stopped[pid] = time.monotonic() + seconds
        waker = threading.Timer(seconds, self._signal, (pid, signal.SIGCONT))
        waker.daemon = True
        waker.start()

    def awake(self, pid: int) -> bool:
        """Say whether `pid` is a worker of this pool that is not stopped."""
        return pid not in self._stopped and any(p.pid == pid and p.is_alive() for p in self._alive)

    def end(self, grace_s: float = 30.0) -> None:
        """Wake and end all workers (SIGTERM, then SIGKILL)."""
        for pid in self._stopped:
            self._signal(pid, signal.SIGCONT)
        self._stopped = {}
        for process in self._alive:
            process.terminate()
        deadline = time.monotonic() + grace_s
        for process in self._alive:
            process.join(max(0.1, deadline - time.monotonic()))
            process.kill()
        self._alive = []

    @staticmethod
    def _signal(pid: int, number: int) -> None:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return


def serve(url: str, root: Path, trainer: Trainer, skew: Path | None) -> None:
    """Be a worker until told to end."""
    os.environ["OMP_NUM_THREADS"] = "1"

    def clock() -> float:
        return time.time() + (float(skew.read_text()) if skew else 0.0)

    db = Database(url, clock=clock)
    Worker(Home(root, root / "state"), db, LocalExecutor(trainer.command), pace=PACE).work()
