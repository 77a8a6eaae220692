"""Sample pictures: one per prompt, each from its own seeded noise, and all of them in a grid.

N prompts; pictures H×W pixels; x (N, C, h, w)
"""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from shoestring_trainer.config import Samples
from shoestring_trainer.data import DataSet
from shoestring_trainer.diffusion import Denoiser
from shoestring_trainer.run_dir import write_atomic
from shoestring_trainer.sampling import noise_levels, sample
from shoestring_trainer.seeds import generator
from shoestring_trainer.step import captions_to

GRID_SCALE, GAP_PX = 4, 4


@torch.inference_mode()
def draw(denoiser: Denoiser, data: DataSet, samples: Samples, device: torch.device, first: int = 0) -> np.ndarray:
    """Draw a picture for each prompt. (N, H, W, 3) uint8.

    Picture i starts from noise number `first` + i of the seed, or number 0 of its own: never from other prompts.
    """
    captions = captions_to(data.prompt_states(samples.prompts), device)
    shape = tuple(data.manifest["shape"])
    numbers = range(first, first + len(samples.prompts))
    named = [(seed, 0) for seed in samples.seeds] if samples.seeds else [(samples.seed, i) for i in numbers]
    start = torch.stack([torch.randn(shape, generator=generator(seed, i, "start")) for seed, i in named])
    sigmas = noise_levels(samples.n_steps, denoiser.objective)
    how = (samples.guidance, samples.sampler, samples.guidance_interval)
    return data.decode(sample(denoiser, captions, start.to(device), sigmas, *how))


def draw_alone(denoiser: Denoiser, data: DataSet, samples: Samples, device: torch.device, index: int) -> np.ndarray:
    """Draw the picture of one of the prompts: (H, W, 3) uint8. No other prompt moves even its last bit.

    In one batch (`draw`) they share padding and the order of sums.
    """
    return draw(denoiser, data, samples.alone(index), device, first=index)[0]


def grid(pictures: np.ndarray, columns: int | None = None) -> Image.Image:
    """Lay pictures (N, H, W, 3) row by row on white, each pixel 4×4."""
    n, height, width = len(pictures), pictures.shape[1] * GRID_SCALE, pictures.shape[2] * GRID_SCALE
    columns = columns or math.ceil(math.sqrt(n))
    down, right = height + GAP_PX, width + GAP_PX
    sheet = Image.new("RGB", (columns * right + GAP_PX, math.ceil(n / columns) * down + GAP_PX), "white")
    for i, pixels in enumerate(pictures):
        picture = Image.fromarray(pixels).resize((width, height), Image.Resampling.NEAREST)
        sheet.paste(picture, (GAP_PX + i % columns * right, GAP_PX + i // columns * down))
    return sheet


def write(folder: Path, pictures: np.ndarray, meta: dict[str, Any]) -> None:
    """Write `000.png`, …, `grid.png` and, last, `meta.json` into `folder`, replacing what stood there."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        for i, pixels in enumerate(pictures):
            Image.fromarray(pixels).save(partial / f"{i:03d}.png")
        grid(pictures).save(partial / "grid.png")
        write_atomic(partial / "meta.json", json.dumps(meta, indent=1, ensure_ascii=False).encode())
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)  # a full disk: give the space back
        raise
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def meta(step: int, usd: float, samples: Samples) -> dict[str, Any]:
    """What `meta.json` says: where in the run, at which planned dollars, and how the pictures were drawn."""
    return {
        "step": step,
        "usd": usd,
        "prompts": list(samples.prompts),
        "seed": samples.seed,
        "seeds": samples.seeds,
        "sampler": samples.sampler,
        "n_steps": samples.n_steps,
        "guidance": samples.guidance,
        "guidance_interval": samples.guidance_interval,
    }
