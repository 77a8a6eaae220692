"""One execution of a run: start its trainer, keep the lease, follow the journal, guard the money, end it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from shoestring_trainer.config import TrainConfig
from shoestring_trainer.drawing import DrawConfig, kept
from shoestring_trainer.run_dir import EXIT_TRY_AGAIN, NO_SPACE, Result, RunDir, checkpoint_id

from shoestring import queries, runs
from shoestring.db import Database
from shoestring.errors import EnvironmentProblem, LeaseLost
from shoestring.executors.local import Handle, Launch, LocalExecutor
from shoestring.heart import Heart
from shoestring.poison import stored_config
from shoestring.records import DRAWING, MICRO, Run
from shoestring.rungs import REASON, Gate, gate
from shoestring.tail import Line, Tail, points

PATIENCE_S = 600.0  # how long the end of an attempt waits for a database that is away
TOLD = frozenset({"checkpoint_skipped", "samples_skipped", "resumed_inexact"})  # journal events that the log keeps
ROOM_BYTES = 1 << 20  # a disk with less has no room for a result


@dataclass(frozen=True)
class Pace:
    """How often a worker does what, in seconds."""

    lease_s: float = 60.0
    beat_s: float = 10.0
    poll_s: float = 1.0  # look at the journal and the trainer
    grace_s: float = 60.0  # from asking a trainer to stop to killing it


@dataclass(frozen=True)
class Progress:
    """How a run stands, for whoever watches."""

    run_id: int
    name: str
    state: str
    step: int
    n_steps: int
    usd: float  # actual dollars, all attempts
    planned_usd: float
    loss: float | None = None
    val_loss: float | None = None
    images_per_s: float | None = None
    eta_s: float | None = None
    note: str = ""
    drawing: bool = False  # its steps are pictures


class LostCheckpoint(ValueError):
    """A run's checkpoints are gone from its folder."""

    failure_class = "bad_checkpoint"


class Interrupt:
    """What Ctrl-C asked for: 0 nothing, 1 checkpoint and give the run back, 2 kill."""

    def __init__(self) -> None:
        self.level = 0

    def press(self, *_: Any) -> None:
        self.level += 1


class Attempt:
    """Carries one claimed run to the end of one attempt. `execute` once."""

    def __init__(
        self,
        db: Database,
        executor: LocalExecutor,
        lease: runs.Lease,
        pace: Pace,
        interrupt: Interrupt,
    ) -> None:
        self.db, self.executor, self.lease, self.pace, self.interrupt = db, executor, lease, pace, interrupt
        self.run: Run = lease.run
        self.folder = RunDir(Path(self.run.run_dir))
        self.progress = Progress(
            self.run.id, self.run.name, "leased", self.run.step, self.run.n_steps, self.run.spent_usd,
            self.run.planned_usd, drawing=self.run.kind == DRAWING,
        )  # fmt: skip
        self._pending: list[Line] = []
        self._pace_from: tuple[int, float] | None = None  # (step, seconds) first seen in this attempt
        self._asked_why = ""
        self._usd_per_hour, self._closing_usd = 0.0, self.run.closing_usd
        self._began: float | None = None  # monotonic seconds
        self._gate: Gate | None = None  # the rung of a sweep that the run waits at
        self._at_rung = False
        self._ended: float | None = None

    def execute(self, show: Callable[[Progress], None], on_beat: Callable[[], None]) -> str:
        """Train until the trainer has ended; return the state the run went to, "" when the lease was lost.

        `show` gets each progress, on this thread; `on_beat` is called beside each beat, on another.
        """
        self._show = show
        self._tell()
        handle: Handle | None = None
        try:
            config = stored_config(self.run)
            if problems := self.executor.check(config.compute):
                raise ValueError("; ".join(problems))
            self._miss_no_checkpoint(config)
            handle = self._launch(config)
            result = self._supervise(handle, on_beat)
        except LeaseLost:
            self._tell(state="queued", note="lease lost")
            return ""
        except (ValueError, OSError) as error:  # a run that cannot be started must not stop the queue
            full = isinstance(error, OSError) and error.errno in NO_SPACE
            bad = getattr(error, "failure_class", "bad_config")  # Poisonous has a class of its own
            failure = "disk_full" if full else bad if isinstance(error, ValueError) else "launch"
            result = Result(self.lease.token, "failed", failure, " ".join(str(error).split()), self.run.step)
        finally:
            if handle:
                self.executor.cancel(handle, grace_s=0)  # something is left only after a lost lease or an error
                self.executor.forget(handle)
        return self._finish(result)

    def spent_micro(self) -> int:
        """Micro-dollars of this attempt: wall time of its trainer at the run's price."""
        if self._began is None:
            return 0
        elapsed_s = (self._ended or time.monotonic()) - self._began
        return round(elapsed_s / 3600 * self._usd_per_hour * MICRO)

    def _miss_no_checkpoint(self, config: TrainConfig | DrawConfig) -> None:
        """Refuse to begin anew what had published a checkpoint. Raises LostCheckpoint."""
        if isinstance(config, DrawConfig):  # its pictures are what it keeps
            return
        had, first = self.run.checkpoint_step, config.start.step if config.start else 0
        if had > first and not any(self.folder.checkpoints.glob("*step-*")):
            raise LostCheckpoint(
                f"{self.folder.checkpoints} holds no checkpoint, and one of step {had} had been published: put the "
                f"folder back (run folders must be on a disk that all workers see), or: shoestring retry {self.run.id}"
            )

    def _launch(self, config: TrainConfig | DrawConfig) -> Handle:
        """Write the config, end what an earlier worker left behind, start the trainer, tell the database."""
        self.executor.end_leftovers(self.folder.root)
        self.folder.write_config(config)
        step = resume_step(self.run)
        self._insist(lambda: runs.start(self.db, self.lease, step, engine=self.executor.name))
        if "rungs" in self.run.plan:
            passed = self._insist(lambda: queries.promotions(self.db, [self.run.id]))
            self._gate = gate(self.run.plan, passed.get(self.run.id, 0))
        self._usd_per_hour, self._began = config.price.usd_per_hour, time.monotonic()
        launch = Launch(self.folder.root, self.lease.token, int(self.pace.lease_s), config.compute)
        handle = self.executor.submit(launch)
        self._tell(state="running", step=step)
        return handle

    def _supervise(self, handle: Handle, on_beat: Callable[[], None]) -> Result:
        """Follow the trainer until it has ended, and its journal to its end."""
        tail = Tail(self.folder.journal(self.lease.token))
        heart = Heart(self.db, self.lease, self.spent_micro, self.pace.beat_s, round(self._closing_usd * MICRO))

        def beside() -> None:
            self.executor.pulse(handle)
            on_beat()

        heart.start(beside)
        asked_at: float | None = None
        try:
            while not self.executor.wait(handle, self.pace.poll_s):
                self._look(tail.read(), heart)
                if asked_at is None and (why := self._reason_to_stop(heart)):
                    asked_at, self._asked_why = time.monotonic(), why
                    self._insist(lambda: runs.stopping(self.db, self.lease, self._asked_why))
                    self._tell(state="stopping", note=why)
                    self.folder.ask_to_stop(self.lease.token, why)
                    self.executor.terminate(handle)
                late = asked_at is not None and time.monotonic() - asked_at > self.pace.grace_s
                if late or self.interrupt.level > 1:
                    self.executor.cancel(handle, grace_s=0)
            self._ended = time.monotonic()
            for lines in tail.drain():
                self._look(lines, heart)
            self._insist(self._record)
        finally:
            heart.stop()
        return self.folder.read_result(self.lease.token) or self._without_result(handle)

    def _look(self, lines: list[Line], heart: Heart) -> None:
        """Take in new lines of the journal. Raises LeaseLost, also when the heart has learnt of it."""
        if heart.lost:
            raise LeaseLost(f"run {self.run.id} is not leased under token {self.lease.token} any more")
        self._pending += lines
        self._at_rung = self._at_rung or any(self._gate and self._gate.reached(line.metrics) for line in lines)
        try:
            self._record()
        except EnvironmentProblem as error:  # the database is away: the journal is the buffer
            self._tell(note=error.message)
        self._watch(lines)

    def _record(self) -> None:
        if not self._pending:
            return
        runs.record(self.db, self.lease, points(self._pending))
        for line in self._pending:
            if line.event == "checkpoint":
                self._add_checkpoint(line)
            elif line.event in TOLD:
                runs.tell(self.db, self.lease, line.event, line.step, line.detail, line.at)
        self._pending = []

    def _add_checkpoint(self, line: Line) -> None:
        """Enter a checkpoint that is still there and not known; strike off those that the trainer has removed."""
        known = [c for c in queries.checkpoints(self.db, self.run.id) if c.state == "published"]
        path = self.folder.root / line.path
        if path.is_dir() and str(path) not in {c.path for c in known}:
            n_bytes = sum(file.stat().st_size for file in path.iterdir())
            runs.add_checkpoint(self.db, self.lease, line.step, str(path), n_bytes)
        for old in known:
            if not Path(old.path).exists():
                state = "corrupt" if Path(f"{old.path}.corrupt").exists() else "deleted"
                runs.mark_checkpoint(self.db, self.lease, (old.step, old.token), state)

    def _reason_to_stop(self, heart: Heart) -> str:
        if self.interrupt.level:
            return "interrupted"
        cap = self.run.max_usd
        if heart.used >= runs.WARN_AT and heart.want == "run":
            self._tell(note=f"{heart.used:.0%} of its budget is spent")
        if heart.want == "run" and cap is not None and self._usd() + self._closing_usd >= cap:
            heart.beat_once()  # the database decides, and writes down why
        if heart.want == "run" and self._at_rung:
            why: str = self._insist(lambda: runs.rest(self.db, self.lease, REASON))
            heart.want = "pause" if why == REASON else why
            return why
        if heart.want != "run":
            return "budget" if heart.budget_spent else heart.want
        return ""

    def _without_result(self, handle: Handle) -> Result:
        """What to say of a trainer that left no result: stopped before it had begun, killed, or broken."""
        code, step = self.executor.exit_code(handle), self.progress.step
        if self._asked_why:
            return Result(self.lease.token, "stopped", "stopped_by_request", f"no checkpoint, exit code {code}", step)
        if code == EXIT_TRY_AGAIN or (code and code > 0 and shutil.disk_usage(self.folder.root).free < ROOM_BYTES):
            full = f"no room in {self.folder.root} for the trainer to say how it ended (exit code {code})"
            return Result(self.lease.token, "failed", "disk_full", full, step)
        log = self.executor.logs(handle)[-4000:].decode("utf-8", errors="replace").strip()
        said = log.splitlines()[-1] if log else "it printed nothing"
        if code is not None and code < 0:
            return Result(self.lease.token, "failed", "killed", f"the trainer was killed by signal {-code}", step)
        return Result(self.lease.token, "failed", "crashed", f"the trainer ended with code {code}: {said}", step)

    def _finish(self, result: Result) -> str:
        try:
            state = self._insist(lambda: runs.finish(self.db, self.lease, result, self.spent_micro()))
        except LeaseLost:
            self._tell(state="queued", note="lease lost")
            return ""
        why = "" if state == "succeeded" else self._asked_why or result.failure_class
        self._tell(state=state, step=max(result.step, self.progress.step), note=why)
        return state

    def _insist(self, write: Callable[[], Any]) -> Any:
        """Do a write that must not be left out, waiting for a database that is away."""
        began, delay_s = time.monotonic(), 0.2
        while True:
            try:
                return write()
            except EnvironmentProblem as error:
                if time.monotonic() - began > PATIENCE_S or self.interrupt.level > 1:
                    raise
                self._tell(note=error.message)
                time.sleep(delay_s)
                delay_s = min(2 * delay_s, 10.0)

    def _watch(self, lines: Iterable[Line]) -> None:
        """Bring the progress up to the last of `lines`."""
        seen: dict[str, Any] = {}
        for line in lines:
            if line.event:
                continue
            seen["step"] = line.step
            for key, name in (("train/loss", "loss"), ("val/loss", "val_loss"), ("perf/images_per_s", "images_per_s")):
                if key in line.metrics:
                    seen[name] = line.metrics[key]
            seconds = line.metrics.get("cost/seconds", 0.0)
            self._pace_from = self._pace_from or (line.step, seconds)
            first_step, first_s = self._pace_from
            if line.step > first_step:
                seen["eta_s"] = (self.run.n_steps - line.step) * (seconds - first_s) / (line.step - first_step)
        self._tell(**seen)

    def _usd(self) -> float:
        return self.run.spent_usd + self.spent_micro() / MICRO

    def _tell(self, **changes: Any) -> None:
        self.progress = replace(self.progress, **changes)
        self.progress = replace(self.progress, usd=self._usd())
        self._show(self.progress)


def resume_step(run: Run) -> int:
    """The step that the next trainer of `run` begins at: its newest checkpoint's, else where its config starts.

    Of a drawing, how many pictures need not be drawn again.
    """
    if run.kind == DRAWING:
        return kept(RunDir(Path(run.run_dir))).n
    published = RunDir(Path(run.run_dir)).published()
    return checkpoint_id(published[0])[0] if published else (run.config.get("start") or {"step": 0})["step"]
