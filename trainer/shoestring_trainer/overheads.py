"""What a run does besides steps, timed with the code that does it: evaluation, samples, checkpoints, journal."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from shoestring_trainer import checkpoint, grids
from shoestring_trainer.config import Evaluate, Samples
from shoestring_trainer.journal import Journal
from shoestring_trainer.resume import Progress, state_of
from shoestring_trainer.run_dir import RunDir
from shoestring_trainer.step import Training
from shoestring_trainer.val_loss import ROWS_AT_ONCE, ValLoss

TIMED_LEVELS = 2


def time_overheads(training: Training, scratch: Path) -> tuple[float, dict[str, float]]:
    """Time them for one model. Returns (seconds that a process pays once, seconds of each).

    `s_per_val_image`: one image at every level of `evaluate.sigmas` · `s_per_sample_image`: one picture from noise to
    file, of which `s_per_picture` is decoding and writing · `s_per_checkpoint` · `s_per_point`. Files go to a
    temporary folder in `scratch`, which should be on the disk that runs write to.
    """
    config, data, device = training.config, training.data_after(0), training.accelerator.device
    samples = config.samples or Samples(every_steps=1, prompts=tuple(data.captions[:8]))
    first_picture = torch.zeros(1, *config.data.shape)

    def once() -> None:
        ValLoss(data, config.evaluate, device).untrained(config.objective)
        if config.samples:
            data.prompt_states(samples.prompts)
            data.decode(first_picture)  # loads the autoencoder

    once_s = _seconds(once)
    if not config.samples:
        data.decode(first_picture)
    with tempfile.TemporaryDirectory(dir=scratch, prefix=".measure-") as folder:
        run_dir = RunDir(Path(folder))
        return once_s, {
            "s_per_val_image": _val_image_s(training),
            **_picture_s(training, samples, run_dir),
            "s_per_checkpoint": min(_checkpoint_s(training, run_dir, step) for step in (1, 2)),
            "s_per_point": _point_s(run_dir),
        }


def _val_image_s(training: Training) -> float:
    config = training.config
    levels = config.evaluate.sigmas[:TIMED_LEVELS]
    n = min(config.evaluate.n_images, ROWS_AT_ONCE)
    few = ValLoss(
        training.data_after(0), Evaluate(every_steps=1, n_images=n, sigmas=levels), training.accelerator.device
    )
    denoise = training.evaluator().denoise
    each_s = _seconds(lambda: few(denoise)) / len(few.x) / len(levels)
    return each_s * len(config.evaluate.sigmas)


def _picture_s(training: Training, samples: Samples, run_dir: RunDir) -> dict[str, float]:
    n, data = len(samples.prompts), training.data_after(0)
    began = time.perf_counter()
    pictures = grids.draw(training.evaluator(), data, samples, training.accelerator.device)
    drawn_s = time.perf_counter() - began
    decode_s = _seconds(lambda: data.decode(torch.zeros(n, *training.config.data.shape)))
    write_s = _seconds(lambda: grids.write(run_dir.sample_step(1), pictures, grids.meta(1, 0.0, samples)))
    return {"s_per_sample_image": (drawn_s + write_s) / n, "s_per_picture": (decode_s + write_s) / n}


def _checkpoint_s(training: Training, run_dir: RunDir, step: int) -> float:
    parts = (training.net, training.ema, training.optimizer)
    state = state_of(Progress(step), training, 0)
    return _seconds(lambda: checkpoint.save(run_dir, step, 0, parts, state, keep_last=2))


def _point_s(run_dir: RunDir, n: int = 20) -> float:
    journal = Journal(run_dir.journal(0))
    metrics = {f"key/{i}": 0.123456789 * i for i in range(12)}

    def write() -> None:
        for step in range(n):
            journal.point(step, metrics)

    each_s = _seconds(write) / n
    journal.close()
    return each_s


def _seconds(what: Callable[[], object]) -> float:
    began = time.perf_counter()
    what()
    return time.perf_counter() - began
