"""`val/loss`: how far the predicted clean sample is from the true one, at fixed noise levels and fixed noise.

Every token present, true captions, averaged weights. Images, noise and levels depend on the data set and on
`evaluate` alone, never on the run's seed, so runs are comparable.
N images, S levels; x (N, C, H, W)
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from shoestring_trainer.config import Evaluate, Objective
from shoestring_trainer.data import DataSet
from shoestring_trainer.failures import BadData
from shoestring_trainer.model import Captions
from shoestring_trainer.objectives import coefficients
from shoestring_trainer.seeds import generator
from shoestring_trainer.step import captions_to

NOISE_SEED = 20_240_722  # part of the metric's definition
ROWS_AT_ONCE = 64

Denoise = Callable[[Tensor, Tensor, Captions], Tensor]


class ValLoss:
    """The fixed images, captions and noise of one data set; call it with a denoiser."""

    def __init__(self, data: DataSet, evaluate: Evaluate, device: torch.device) -> None:
        n = min(evaluate.n_images, len(data.val))
        if n == 0:
            raise BadData(f"data set {data.manifest['name']} has no val split, so there is nothing to evaluate on")
        x, captions = data.batch(data.val[:n])
        self.data, self.sigmas = data, evaluate.sigmas
        self.x = x.to(device)  # (N, C, H, W)
        self.captions = captions_to(captions, device)
        noise = [torch.randn(x.shape, generator=generator(NOISE_SEED, i, "val")) for i in range(len(self.sigmas))]
        self.noise = torch.stack(noise).to(device)  # (S, N, C, H, W)

    @torch.inference_mode()
    def __call__(self, denoise: Denoise) -> dict[str, float]:
        """Give `val/loss_at_σ` for each level and their mean `val/loss`: squared error per element, over all images."""
        values = {}
        for level, sigma in enumerate(self.sigmas):
            error = sum(
                self._squared_error(denoise, level, sigma, first) for first in range(0, len(self.x), ROWS_AT_ONCE)
            )
            values[f"val/loss_at_{sigma:g}"] = error / self.x.numel()
        return {"val/loss": sum(values.values()) / len(values), **values}

    def untrained(self, objective: Objective) -> dict[str, float]:
        """Give what a network that outputs zero scores, as a fresh one does (its head starts at zero): free."""
        return self(lambda x, sigma, _: x * coefficients(objective, sigma[:, None, None, None]).skip)

    def _squared_error(self, denoise: Denoise, level: int, sigma: float, first: int) -> float:
        rows = slice(first, first + ROWS_AT_ONCE)
        x0 = self.x[rows]  # (B, C, H, W)
        states, mask = self.captions
        captions = Captions(states[rows], None if mask is None else mask[rows])
        levels = torch.full((len(x0),), sigma, device=x0.device)
        predicted = denoise(x0 + sigma * self.noise[level, rows], levels, captions)
        return (predicted.float() - x0).double().square().sum().item()
