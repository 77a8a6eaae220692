"""What the worker is doing, on a terminal: a table that stays in place, or plain lines where there is no terminal."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from shoestring.attempt import Progress

WORDS = {"queued": "waiting", "leased": "starting", "running": "training", "stopping": "stopping"}
ACTIVE = ("leased", "running", "stopping")


class LiveView:
    """Call it with each `Progress`; on a terminal it redraws one table, else it prints a line now and then."""

    def __init__(self, stream: TextIO | None = None, as_json: bool = False, line_every_s: float = 10.0) -> None:
        self.stream = stream or sys.stdout
        self.console = Console(file=self.stream, highlight=False)
        self.as_json, self.line_every_s = as_json, line_every_s
        self._rows: dict[int, Progress] = {}
        self._printed_at: dict[int, float] = {}
        self._live: Live | None = None

    def __enter__(self) -> LiveView:
        if self.console.is_terminal and not self.as_json:
            self._live = Live(get_renderable=self.table, console=self.console, refresh_per_second=2, transient=False)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def __call__(self, progress: Progress) -> None:
        """Show how a run stands now."""
        before = self._rows.get(progress.run_id)
        self._rows[progress.run_id] = progress
        if self._live:
            return
        changed = before is None or (before.state, before.note) != (progress.state, progress.note)
        due = time.monotonic() - self._printed_at.get(progress.run_id, 0.0) >= self.line_every_s
        if changed or (due and progress.state in ACTIVE):
            self._printed_at[progress.run_id] = time.monotonic()
            print(json.dumps(asdict(progress)) if self.as_json else line(progress), file=self.stream, flush=True)

    def say(self, text: str) -> None:
        """Print a sentence above the table."""
        if self.as_json:
            print(json.dumps({"message": text}), file=self.stream, flush=True)
        else:
            self.console.print(text, markup=False)

    def table(self) -> Table:
        """Draw every run seen so far: state, progress, losses, speed, dollars so far of dollars planned, time left."""
        table = Table(box=None, pad_edge=False, header_style="dim")
        for name in ("run", "state", "progress", "step"):
            table.add_column(name)
        for name in ("loss", "val loss", "images/s", "spent / planned", "left"):
            table.add_column(name, justify="right")
        for row in self._rows.values():
            table.add_row(
                row.name,
                state(row),
                ProgressBar(total=max(1, row.n_steps), completed=row.step, width=20),
                f"{row.step}/{row.n_steps}",
                number(row.loss),
                number(row.val_loss),
                f"{row.images_per_s:.0f}" if row.images_per_s else "",
                dollars(row),
                duration(row.eta_s) if row.state in ACTIVE else "",
            )
        return table


def line(row: Progress) -> str:
    """One plain line about a run."""
    parts = [f"run {row.run_id} {row.name}", state(row)]
    parts.append(f"{'picture' if row.drawing else 'step'} {row.step}/{row.n_steps}")
    if row.loss is not None:
        parts.append(f"loss {number(row.loss)}")
    if row.val_loss is not None:
        parts.append(f"val {number(row.val_loss)}")
    if row.images_per_s:
        parts.append(f"{row.images_per_s:.0f} images/s")
    parts.append(dollars(row))
    if row.eta_s is not None and row.state in ACTIVE:
        parts.append(f"{duration(row.eta_s)} left")
    return " · ".join(parts)


def state(row: Progress) -> str:
    """A run's state in a word, with a note where there is one."""
    word = "drawing" if row.drawing and row.state == "running" else WORDS.get(row.state, row.state)
    return word + (f" ({row.note})" if row.note else "")


def number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def dollars(row: Progress) -> str:
    return f"${row.usd:.5f} / ${row.planned_usd:.5f}"


def duration(seconds: float | None) -> str:
    """Seconds as 45s, 3m 20s or 2h 05m."""
    if seconds is None:
        return ""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
