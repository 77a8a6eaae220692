"""A lock on a file that processes queue for, and do not wait for for ever: its holder may be frozen."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from pathlib import Path

from shoestring.errors import EnvironmentProblem

LOCKS = Path("/proc/locks")


class FileLock:
    """An `flock` on `path`, once: `take`, then `close`. A process that dies lets go of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._turn = threading.Lock()  # decides between an answer that is late and giving up
        self._taken = self._given_up = False

    def take(self, patience_s: float) -> None:
        """Wait for the lock. Raises EnvironmentProblem, with the file closed, when it takes longer than that."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            waiting = threading.Thread(target=self._wait, name=f"lock {self.path.name}", daemon=True)
        waiting.start()
        waiting.join(patience_s)
        with self._turn:
            self._given_up = not self._taken
        if self._given_up:  # the thread closes the file once it has the lock
            pid = holder(self.path)
            who = f"process {pid}, {_state(pid)}," if pid else "another process"
            raise EnvironmentProblem(
                f"{who} has held the lock {self.path} for more than {patience_s:g} s",
                f"wake it (kill -CONT {pid}) or end it (kill -KILL {pid}): nothing is lost" if pid else "end it",
                code="database",
            )

    def close(self) -> None:
        """Let go."""
        os.close(self._file)

    def _wait(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_EX)
        with self._turn:
            self._taken = True
            if self._given_up:
                self.close()


def holder(path: Path) -> int:
    """The process that holds the `flock` on `path`, as Linux tells; 0 where it does not."""
    with contextlib.suppress(OSError, ValueError):
        inode = path.stat().st_ino
        for line in LOCKS.read_text().splitlines():
            words = line.split()
            if words[1] == "FLOCK" and words[5].rsplit(":", 1)[1] == str(inode):
                return int(words[4])
    return 0


def _state(pid: int) -> str:
    """What the kernel says that a process does, in words."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("State:"):
                return line.split(maxsplit=2)[2].strip("()")
    return "running"
