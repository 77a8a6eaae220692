"""The beats of a lease: a thread of its own, so that nothing slow elsewhere loses the run."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from shoestring import runs
from shoestring.db import Database
from shoestring.errors import LeaseLost


class Heart:
    """Keeps a lease and remembers what the last beat brought back."""

    def __init__(
        self, db: Database, lease: runs.Lease, spent_micro: Callable[[], int], beat_s: float, closing_micro: int = 0
    ) -> None:
        self.db, self.lease, self.spent_micro, self.beat_s = db, lease, spent_micro, beat_s
        self.closing_micro = closing_micro  # see `runs.beat`
        self.want, self.budget_spent, self.used, self.lost = "run", False, 0.0, False
        self.problem = ""  # why the last beat did not reach the database
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, beside: Callable[[], Any]) -> None:
        """Beat every `beat_s` from now on, calling `beside` (the trainer's pulse) first."""
        self._thread = threading.Thread(target=self._beat, args=(beside,), name=f"run-{self.lease.run_id}", daemon=True)
        self._thread.start()

    def beat_once(self) -> None:
        """Beat now. A database that is away changes nothing: the trainer goes on."""
        try:
            beat = runs.beat(self.db, self.lease, self.spent_micro(), closing_micro=self.closing_micro)
            self.want, self.budget_spent, self.used, self.problem = beat.want, beat.budget_spent, beat.used, ""
        except LeaseLost:
            self.lost = True
        except Exception as error:  # whatever it is, the next beat tries again; the lease's end is the limit
            self.problem = f"{type(error).__name__}: {error}"

    def stop(self) -> None:
        """Beat no more."""
        self._over.set()
        if self._thread:
            self._thread.join()

    def _beat(self, beside: Callable[[], Any]) -> None:
        while not self._over.wait(self.beat_s) and not self.lost:
            try:
                beside()
            except Exception as error:
                self.problem = f"{type(error).__name__}: {error}"
            self.beat_once()
