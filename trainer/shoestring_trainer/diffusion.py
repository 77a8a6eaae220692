"""The denoiser around a network, and a loss on the kept patches only.

Shapes: B images, C×H×W samples, T tokens, K kept, P = p·p·C values per patch. σ is the noise's standard deviation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isqrt

import torch
from torch import Tensor

from shoestring_trainer.config import Objective
from shoestring_trainer.masking import Keep, gather, scatter
from shoestring_trainer.model import Captions, patchify
from shoestring_trainer.objectives import coefficients, loss_weight

__all__ = ["Denoiser", "drop_captions", "null_captions", "patchify", "unpatchify"]

Net = Callable[[Tensor, Tensor, Captions, Keep | None], Tensor]


@dataclass(frozen=True)
class Denoiser:
    """D(x; σ) around a network F(scale·x; ln σ/4) that returns patches; `net` may be wrapped (DDP, compiled)."""

    net: Net
    objective: Objective

    def __call__(self, x: Tensor, sigma: Tensor, captions: Captions) -> Tensor:
        """Estimate the clean samples: what a sampler asks."""
        return self.denoise(x, sigma, captions)

    def denoise(self, x: Tensor, sigma: Tensor, captions: Captions, keep: Keep | None = None) -> Tensor:
        """Estimate the clean samples of x (B, C, H, W) at sigma (B,) → (B, C, H, W) float32.

        Where a patch was dropped, the network's answer counts as 0 and skip·x remains.
        """
        answer = self._answer(x, sigma, captions, keep)  # (B, K, P)
        if keep is not None:
            answer = scatter(answer, keep.ids, _n_tokens(x, answer))  # (B, T, P)
        skip, out, _ = coefficients(self.objective, sigma.view(-1, 1, 1, 1))
        return skip * x + out * unpatchify(answer, (x.shape[1], x.shape[2], x.shape[3]))

    def loss(self, x0: Tensor, sigma: Tensor, noise: Tensor, captions: Captions, keep: Keep | None = None) -> Tensor:
        """Average the weighted squared error over kept patches, then images → scalar.

        x0 (B, C, H, W) clean, noise (B, C, H, W) of unit variance, sigma (B,). Whole-image maps are never made.
        """
        x = x0 + noise * sigma.view(-1, 1, 1, 1)
        answer = self._answer(x, sigma, captions, keep)  # (B, K, P)
        patch = isqrt(answer.shape[-1] // x0.shape[1])
        target, noisy = patchify(x0, patch), patchify(x, patch)  # (B, T, P)
        if keep is not None:
            target, noisy = gather(target, keep.ids), gather(noisy, keep.ids)  # (B, K, P)
        skip, out, _ = coefficients(self.objective, sigma.view(-1, 1, 1))
        error = torch.addcmul(skip * noisy - target, out, answer).square().mean(dim=(1, 2))  # (B,)
        return (loss_weight(self.objective, sigma) * error).mean()

    def _answer(self, x: Tensor, sigma: Tensor, captions: Captions, keep: Keep | None) -> Tensor:
        scale = coefficients(self.objective, sigma.view(-1, 1, 1, 1)).scale
        return self.net(scale * x, sigma.log() / 4, captions, keep).float()


def unpatchify(patches: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Put patches (B, T, P) together to (B, C, H, W) of `shape` (C, H, W); undoes `patchify`."""
    channels, height, width = shape
    patch = isqrt(patches.shape[-1] // channels)
    x = patches.view(-1, height // patch, width // patch, patch, patch, channels)
    return x.permute(0, 5, 1, 3, 2, 4).reshape(-1, channels, height, width)


def drop_captions(captions: Captions, dropped: Tensor) -> Captions:
    """Null the captions where `dropped` (B,) is True, so that guidance has a model without (arXiv 2207.12598)."""
    return Captions(captions.states.masked_fill(dropped[:, None, None], 0.0), captions.mask)


def null_captions(captions: Captions) -> Captions:
    """Zero every state; the mask stays, though with equal tokens the length makes no difference."""
    return Captions(torch.zeros_like(captions.states), captions.mask)


def _n_tokens(x: Tensor, patches: Tensor) -> int:
    return x[0].numel() // patches.shape[-1]
