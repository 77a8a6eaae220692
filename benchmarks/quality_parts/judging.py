"""What a trained recipe is worth in pixels: KID, caption retrieval, and a grid of the demo's prompts to look at."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from quality_parts.training import Trained
from shoestring_trainer import grids, quality
from shoestring_trainer.config import Samples
from shoestring_trainer.restore import Restored

HOW = {"seed": 0, "steps": 12, "guidance": 3.0, "batch": 32}


def judged(trained: Trained, n_pictures: int) -> dict[str, Any]:
    """KID and retrieval of so many pictures (`shoestring_trainer.quality`)."""
    return quality.measure(_restored(trained), Namespace(n=n_pictures, **HOW))


def draw_grid(trained: Trained, prompts: Path, file: Path) -> None:
    """Draw the prompts of a file, one picture each, the same noise for every recipe."""
    lines = tuple(line.strip() for line in prompts.read_text(encoding="utf-8").splitlines() if line.strip())
    samples = Samples(every_steps=1, prompts=lines, n_steps=HOW["steps"], guidance=HOW["guidance"], seed=HOW["seed"])
    restored = _restored(trained)
    grids.grid(grids.draw(restored.denoiser, restored.data, samples, restored.device), columns=4).save(file)


def _restored(trained: Trained) -> Restored:
    training = trained.training
    data, device = training.mixtures[-1].main, training.accelerator.device
    return Restored(training.config, data, trained.denoiser, training.config.n_steps, device)
