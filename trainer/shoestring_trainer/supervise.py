"""When to stop: signals, and the parent's pulse on stdin. Asked at every step boundary; nothing is interrupted."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import threading
import time

import psutil

PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Stop:
    """Collects the first reason to stop: `stopped_by_request` or `parent_gone`; "" while there is none."""

    def __init__(self) -> None:
        self.reason = ""
        self._parent = os.getppid()

    def request(self, reason: str) -> None:
        self.reason = self.reason or reason

    def on_signals(self) -> None:
        """Take SIGTERM and SIGINT as requests; a second one is a request too, never a kill. Main thread only."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.request(self._why()))

    def on_orphaned(self) -> None:
        """Have the kernel send SIGTERM when the thread that started this process ends (Linux; elsewhere nothing)."""
        if sys.platform == "linux":
            ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    def _why(self) -> str:
        return "stopped_by_request" if os.getppid() == self._parent else "parent_gone"

    def on_silence(self, fd: int, lease_s: float) -> None:
        """Watch `fd` for the parent's pulse: end of file, or no byte for `lease_s`, means that the parent is gone.

        A parent that is only frozen closes nothing, hence the pulse. While *this* process is frozen the clock goes
        on, but the pulses wait in the pipe and are read first.
        """
        threading.Thread(target=self._watch, args=(fd, lease_s), name="pulse", daemon=True).start()

    def _watch(self, fd: int, lease_s: float) -> None:
        heard = time.monotonic()
        while True:
            left = heard + lease_s - time.monotonic()
            ready, _, _ = select.select([fd], [], [], max(0.0, left))
            if not ready or not os.read(fd, 4096):
                return self.request("parent_gone")
            heard = time.monotonic()


def process_started_at() -> float:
    """Give the unix time at which this process began, interpreter start and imports included."""
    return psutil.Process().create_time()
