"""EDM (arXiv 2206.00364): preconditioning, noise levels and a loss on the kept patches only.

Shapes: B images, C×H×W samples, T tokens, K kept, P = p·p·C values per patch. σ is the noise's standard deviation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isqrt

import torch
from torch import Tensor

from shoestring_trainer.config import LogNormal
from shoestring_trainer.masking import Keep, gather, scatter
from shoestring_trainer.model import Captions, patchify

__all__ = ["Denoiser", "drop_captions", "null_captions", "patchify", "sample_sigma", "unpatchify"]

Net = Callable[[Tensor, Tensor, Captions, Keep | None], Tensor]


@dataclass(frozen=True)
class Denoiser:
    """D(x; σ) around a network F(c_in·x; c_noise) that returns patches; `net` may be wrapped (DDP, compiled)."""

    net: Net
    sigma_data: float

    def __call__(self, x: Tensor, sigma: Tensor, captions: Captions) -> Tensor:
        """Estimate the clean samples: what a sampler asks."""
        return self.denoise(x, sigma, captions)

    def denoise(self, x: Tensor, sigma: Tensor, captions: Captions, keep: Keep | None = None) -> Tensor:
        """Estimate the clean samples of x (B, C, H, W) at sigma (B,) → (B, C, H, W) float32.

        Where a patch was dropped, the network's answer counts as 0 and c_skip·x remains.
        """
        answer = self._answer(x, sigma, captions, keep)  # (B, K, P)
        if keep is not None:
            answer = scatter(answer, keep.ids, _n_tokens(x, answer))  # (B, T, P)
        c_skip, c_out, _ = self._coefficients(sigma.view(-1, 1, 1, 1))
        return c_skip * x + c_out * unpatchify(answer, (x.shape[1], x.shape[2], x.shape[3]))

    def loss(self, x0: Tensor, sigma: Tensor, noise: Tensor, captions: Captions, keep: Keep | None = None) -> Tensor:
        """Average the weighted squared error over kept patches, then images (equations 2 and 8) → scalar.

        x0 (B, C, H, W) clean, noise (B, C, H, W) of unit variance, sigma (B,). Whole-image maps are never made.
        """
        x = x0 + noise * sigma.view(-1, 1, 1, 1)
        answer = self._answer(x, sigma, captions, keep)  # (B, K, P)
        patch = isqrt(answer.shape[-1] // x0.shape[1])
        target, noisy = patchify(x0, patch), patchify(x, patch)  # (B, T, P)
        if keep is not None:
            target, noisy = gather(target, keep.ids), gather(noisy, keep.ids)  # (B, K, P)
        c_skip, c_out, _ = self._coefficients(sigma.view(-1, 1, 1))
        error = torch.addcmul(c_skip * noisy - target, c_out, answer).square().mean(dim=(1, 2))  # (B,)
        weight = (sigma.square() + self.sigma_data**2) / (sigma * self.sigma_data).square()
        return (weight * error).mean()

    def _answer(self, x: Tensor, sigma: Tensor, captions: Captions, keep: Keep | None) -> Tensor:
        _, _, c_in = self._coefficients(sigma.view(-1, 1, 1, 1))
        return self.net(c_in * x, sigma.log() / 4, captions, keep).float()

    def _coefficients(self, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(c_skip, c_out, c_in) of table 1."""
        variance = sigma.square() + self.sigma_data**2
        return self.sigma_data**2 / variance, sigma * self.sigma_data / variance.sqrt(), variance.rsqrt()


def unpatchify(patches: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Put patches (B, T, P) together to (B, C, H, W) of `shape` (C, H, W); undoes `patchify`."""
    channels, height, width = shape
    patch = isqrt(patches.shape[-1] // channels)
    x = patches.view(-1, height // patch, width // patch, patch, patch, channels)
    return x.permute(0, 5, 1, 3, 2, 4).reshape(-1, channels, height, width)


def sample_sigma(noise: LogNormal, n: int, generator: torch.Generator) -> Tensor:
    """Draw noise levels (n,) float32: ln σ ~ N(p_mean, p_std²), on the generator's device."""
    normal = torch.randn(n, generator=generator, device=generator.device)
    return (normal * noise.p_std + noise.p_mean).exp()


def drop_captions(captions: Captions, p: float, generator: torch.Generator) -> Captions:
    """Null each caption with probability `p`, so that guidance has something to start from (arXiv 2207.12598)."""
    stays = torch.rand(len(captions.states), generator=generator, device=generator.device) >= p  # (B,)
    return Captions(captions.states * stays.to(captions.states)[:, None, None], captions.mask)


def null_captions(captions: Captions) -> Captions:
    """Zero every state; the mask stays, though with equal tokens the length makes no difference."""
    return Captions(torch.zeros_like(captions.states), captions.mask)


def _n_tokens(x: Tensor, patches: Tensor) -> int:
    return x[0].numel() // patches.shape[-1]
