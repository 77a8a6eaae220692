"""One attempt at a run: the loop, and what it reports on the way."""

from __future__ import annotations

import contextlib
import math
import re
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import psutil

from shoestring_trainer import checkpoint, grids
from shoestring_trainer.config import TrainConfig
from shoestring_trainer.disk import Saves
from shoestring_trainer.failures import is_no_space
from shoestring_trainer.flops import train_flops_per_image
from shoestring_trainer.journal import Journal, read
from shoestring_trainer.resume import Window, begin, state_of
from shoestring_trainer.run_dir import Outcome, RunDir
from shoestring_trainer.schedule import checkpoints_at, evaluates_at, lr_at, reports_at, samples_at
from shoestring_trainer.step import Update, build
from shoestring_trainer.supervise import Stop
from shoestring_trainer.val_loss import ValLoss


class Busy(NamedTuple):
    """Of updates alone, since the last train point: images, seconds, and those of two parts."""

    images: int = 0
    seconds: float = 0.0
    data_s: float = 0.0
    optimizer_s: float = 0.0

    def add(self, images: int, seconds: float, update: Update) -> Busy:
        return Busy(
            self.images + images,
            self.seconds + seconds,
            self.data_s + update.data_s,
            self.optimizer_s + update.optimizer_s,
        )


def is_enough(config: TrainConfig, metrics: dict[str, float]) -> bool:
    """Whether these values reach `until_val_loss`."""
    target = config.until_val_loss
    return target is not None and metrics.get("val/loss", math.inf) <= target


def reached(config: TrainConfig, journal: Path, step: int) -> bool:
    """Whether a run that goes on from `step` had ended there: its journal's evaluation of that step was good enough."""
    if config.until_val_loss is None or not journal.exists():
        return False
    return any(line["step"] == step and is_enough(config, line.get("metrics", {})) for line in read(journal))


class Attempt:
    """One execution of a run, from its newest checkpoint on. Building it takes the device and reads everything."""

    def __init__(self, run_dir: RunDir, token: int, config: TrainConfig, stop: Stop, started_at: float) -> None:
        self.run_dir, self.token, self.config, self.stop = run_dir, token, config, stop
        self.training = build(config)
        self.is_main = self.training.accelerator.is_main_process
        self.progress, self._journal = begin(run_dir, token, self.training)
        self._clock_began = time.monotonic() - (time.time() - started_at) - self.progress.seconds
        self._saves = Saves(self._journal, run_dir.root) if self._journal else None
        self._saved_step = self.progress.step
        self._busy = Busy()
        self._process = psutil.Process()
        self._val: ValLoss | None = None
        self._evaluated_step = self.step  # what a checkpoint owes was evaluated before it was saved
        self._reached = self.is_main and reached(self.config, self.journal.path, self.step)

    @property
    def step(self) -> int:
        """Updates done."""
        return self.progress.step

    @property
    def journal(self) -> Journal:
        assert self._journal is not None, "only the first rank writes"
        return self._journal

    @property
    def seconds(self) -> float:
        """Wall seconds trained so far, in every attempt that counts, start-up included."""
        return time.monotonic() - self._clock_began

    def run(self) -> tuple[Outcome, str, str]:
        """Train to the last step. Return (outcome, failure class, detail)."""
        if self.step == 0 and self.is_main:
            self._point(self._val_loss().untrained(self.config.objective))
        while self.step < self.config.n_steps and not self._is_good_enough():
            if reason := self._reason_to_stop():
                if self.is_main and self.run_dir.asked_to_stop(self.token) == "budget":
                    self._evaluate_once()  # what the last of the money bought
                if self.step > self._saved_step:
                    self._save()
                return "stopped", reason, f"checkpoint at step {self._saved_step}"
            self._update()
            if self.is_main:
                self._report()
            if checkpoints_at(self.config, self.step):
                self._save()
        if self.step > self._saved_step:  # it ended early
            self._save()
        if self.is_main:
            self._point({})  # the last word on cost/*, after the last checkpoint
            self.journal.sync()
        return "succeeded", "", ""

    def _update(self) -> None:
        began = time.perf_counter()
        update = self.training.update(self.step)
        self._busy = self._busy.add(self.config.batch_size, time.perf_counter() - began, update)
        self.progress = replace(self.progress, step=self.step + 1, window=self.progress.window.add(update))

    def _report(self) -> None:
        """Write what this step owes: a train point, a validation, a grid. Before the checkpoint, which seals it."""
        if reports_at(self.config, self.step):
            self._train_point()
        if evaluates_at(self.config, self.step):
            self._evaluate_once()
        if samples_at(self.config, self.step) or (self._reached and self.config.samples):
            self._draw()

    def _evaluate_once(self) -> None:
        """`val/loss` at this step, where it has none yet."""
        if self.step == self._evaluated_step:
            return
        values = self._val_loss()(self.training.evaluator().denoise)
        self._point(values)
        self._say(f"step {self.step}: val/loss {values['val/loss']:.4f}")
        self._evaluated_step, self._reached = self.step, is_enough(self.config, values)

    def _train_point(self) -> None:
        window, config, busy = self.progress.window, self.config, self._busy
        images_per_s = busy.images / busy.seconds
        metrics = {
            "train/loss": window.loss / window.n,
            "train/grad_norm": window.grad_norm / window.n,
            "train/lr": lr_at(config, self.step - 1),
            "perf/images_per_s": images_per_s,
            "perf/tflops": images_per_s * self._flops_per_image(config.stage_at(self.step - 1)[0]) / 1e12,
            "perf/share_data": busy.data_s / busy.seconds,
            "perf/share_optimizer": busy.optimizer_s / busy.seconds,
            "system/rss_mb": self._process.memory_info().rss / 2**20,
            **self._images_by_source(),
        }
        self.progress = replace(self.progress, window=Window())
        self._busy = Busy()
        self._point(metrics)
        self._say(
            f"step {self.step}/{config.n_steps}  loss {metrics['train/loss']:.4f}  {images_per_s:.1f} images/s  "
            f"${self._usd(self.seconds):.5f}",
            passing=True,
        )

    def _point(self, metrics: dict[str, float]) -> None:
        """Journal `metrics` with every possible x-axis beside them."""
        seconds = self.seconds
        x_axes = {
            "progress/images": self.step * self.config.batch_size,
            "progress/flops": self._flops_so_far(),
            "progress/usd": self.config.planned_usd_at(self.step),
            "cost/seconds": seconds,
            "cost/usd": self._usd(seconds),
        }
        self.journal.point(self.step, {**metrics, **x_axes})

    def _draw(self) -> None:
        samples = self.config.samples
        assert samples is not None
        data, device = self.training.data_after(self.step), self.training.accelerator.device
        pictures = grids.draw(self.training.evaluator(), data, samples, device)
        folder = self.run_dir.sample_step(self.step)
        try:
            grids.write(folder, pictures, grids.meta(self.step, self.config.planned_usd_at(self.step), samples))
        except OSError as error:
            if not is_no_space(error):
                raise
            return self.journal.event(self.step, "samples_skipped", detail=str(error))
        self.journal.event(self.step, "samples", path=str(folder.relative_to(self.run_dir.root)))

    def _save(self) -> None:
        """Save, or skip it where the disk is full. Raises DiskFull when it must not be skipped."""
        last = self.step == self.config.n_steps or self._is_good_enough()
        if self._saves is None or self._saves.save(self.step, self._publish, last=last):  # only the first rank saves
            self._saved_step = self.step
        else:
            self._say(f"step {self.step}: no room for its checkpoint; the newest is of step {self._saved_step}")

    def _publish(self) -> Path:
        """Publish a checkpoint; the journal up to it is durable first, and is part of it."""
        self.journal.sync()
        self.progress = replace(self.progress, seconds=self.seconds)
        training = self.training
        return checkpoint.save(
            self.run_dir,
            self.step,
            self.token,
            (training.net, training.ema, training.optimizer),
            state_of(self.progress, training, self.journal.offset),
            self.config.checkpoints.keep_last,
        )

    def _reason_to_stop(self) -> str:
        """The reason to stop, agreed by all ranks."""
        reasons = ["", "stopped_by_request", "parent_gone"]
        return reasons[self.training.highest(reasons.index(self.stop.reason))]

    def _is_good_enough(self) -> bool:
        """Whether `until_val_loss` was reached, agreed by all ranks: the first evaluates."""
        return self.config.until_val_loss is not None and bool(self.training.highest(int(self._reached)))

    def _val_loss(self) -> ValLoss:
        data = self.training.data_after(self.step)
        if self._val is None or self._val.data is not data:  # the first evaluation, or another resolution
            self._val = ValLoss(data, self.config.evaluate, self.training.accelerator.device)
        return self._val

    def _images_by_source(self) -> dict[str, float]:
        """Images seen of each source and origin, for runs that have several."""
        if len({source.name for mixture in self.training.mixtures for source in mixture.sources}) < 2:
            return {}
        seen = self.training.images_seen(self.step)
        return {f"data/images_{re.sub('[^a-z0-9_]', '_', name)}": float(n) for name, n in seen.items()}

    def _usd(self, seconds: float) -> float:
        return seconds / 3600 * self.config.price.usd_per_hour

    def _flops_per_image(self, stage_index: int) -> float:
        data, mask = self.config.data_at(stage_index), self.config.stages[stage_index].mask
        return train_flops_per_image(self.config.model, data.shape, data.caption_tokens, mask, data.caption_dim)

    def _flops_so_far(self) -> float:
        flops, first = 0.0, 0
        for index, stage in enumerate(self.config.stages):
            steps = min(max(self.step - first, 0), stage.steps)
            flops += steps * self.config.batch_size * self._flops_per_image(index)
            first += stage.steps
        return flops

    def _say(self, line: str, passing: bool = False) -> None:
        """Print a line; on a terminal a passing one is overwritten by the next. A log on a full disk lacks it."""
        with contextlib.suppress(OSError):
            if sys.stdout.isatty():
                print(f"\r\033[K{line}", end="" if passing else "\n", flush=True)
            else:
                print(line, flush=True)
