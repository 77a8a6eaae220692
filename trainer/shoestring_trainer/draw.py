"""One attempt at a drawing: the pictures that are not there yet, one after the other, each durable before it is told.

Started like every attempt, by `shoestring_trainer.train`, which hands a `DrawConfig` over to this file.
"""

from __future__ import annotations

import contextlib
import io
import json
import time
from pathlib import Path

import numpy as np
from PIL import Image

from shoestring_trainer import grids
from shoestring_trainer.config import NoMask, Samples
from shoestring_trainer.drawing import DrawConfig, DrawnFrom, kept, manifest_sha256, picture
from shoestring_trainer.failures import BadCheckpoint
from shoestring_trainer.flops import forward_flops, forwards_per_picture
from shoestring_trainer.journal import Journal, read
from shoestring_trainer.restore import Restored, restore, stage_before
from shoestring_trainer.run_dir import Outcome, RunDir, write_atomic
from shoestring_trainer.supervise import Stop


class Drawing:
    """One execution of a run that draws, from its first missing picture on. Building it loads the checkpoint."""

    is_main = True  # one process draws

    def __init__(self, run_dir: RunDir, token: int, config: DrawConfig, stop: Stop, started_at: float) -> None:
        self.config, self.stop = config, stop
        self._restored = restore(Path(config.source.run_dir), checkpoint=chosen(config.source))
        self.folder = run_dir.sample_step(self._restored.step)
        already, path = kept(run_dir), run_dir.journal(token)
        self.step = already.n
        self._journal = Journal.start_from(path, already.journal or path, already.offset)
        spent_s = read(path)[-1]["metrics"]["cost/seconds"] if already.n else 0.0
        self._clock_began = time.monotonic() - (time.time() - started_at) - spent_s
        self._flops = picture_flops(self._restored, config.samples)

    def run(self) -> tuple[Outcome, str, str]:
        """Draw to the last picture. Return (outcome, failure class, detail)."""
        if self.step:
            print(f"{self.step} of {self.config.n_steps} pictures are there already", flush=True)
        meta = self._restored.meta(self.config.samples)
        write_atomic(self.folder / "meta.json", json.dumps(meta, indent=1, ensure_ascii=False).encode())
        while self.step < self.config.n_steps:
            if self.stop.reason:
                self._journal.sync()
                return "stopped", self.stop.reason, f"{self.step} of {self.config.n_steps} pictures are drawn"
            self._draw()
        every = np.stack([_pixels(picture(self.folder, i)) for i in range(self.config.n_steps)])
        write_atomic(self.folder / "grid.png", _png(grids.grid(every)))
        self._journal.sync()
        return "succeeded", "", ""

    def _draw(self) -> None:
        restored, samples = self._restored, self.config.samples
        pixels = grids.draw_alone(restored.denoiser, restored.data, samples, restored.device, self.step)
        write_atomic(picture(self.folder, self.step), _png(Image.fromarray(pixels)))
        self.step += 1
        self._point()
        with contextlib.suppress(OSError):  # a log on a full disk
            print(f"picture {self.step}/{self.config.n_steps}: {samples.prompts[self.step - 1]}", flush=True)

    def _point(self) -> None:
        """Journal that one more picture is there, with every possible x-axis."""
        seconds = time.monotonic() - self._clock_began
        x_axes = {
            "progress/images": self.step,
            "progress/flops": self.step * self._flops,
            "progress/usd": self.config.planned_usd_at(self.step),
            "cost/seconds": seconds,
            "cost/usd": seconds / 3600 * self.config.price.usd_per_hour,
        }
        self._journal.point(self.step, x_axes)


def chosen(source: DrawnFrom) -> Path:
    """The checkpoint's folder, when it still is the one that was chosen. Raises BadCheckpoint."""
    try:
        found = manifest_sha256(source.path)
    except OSError as error:
        raise BadCheckpoint(f"{source.path} is gone ({error.strerror}): put it back, or draw anew") from error
    if found != source.sha256:
        raise BadCheckpoint(f"{source.path} is not the checkpoint that was chosen: its MANIFEST.json differs")
    return source.path


def picture_flops(restored: Restored, samples: Samples) -> float:
    """FLOPs of drawing one picture: the forward passes of its solver, every token present."""
    stage = stage_before(restored.config, restored.step)
    model, data = restored.config.model_at(stage), restored.config.data_at(stage)
    parts = forward_flops(model, data.shape, data.caption_tokens, NoMask(kind="none"), data.caption_dim)
    return forwards_per_picture(samples.sampler, samples.n_steps, samples.guidance) * sum(parts.values())


def _png(image: Image.Image) -> bytes:
    content = io.BytesIO()
    image.save(content, format="PNG")
    return content.getvalue()


def _pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))
