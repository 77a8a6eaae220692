"""Samplers: from noise to samples, with any denoiser.

Shapes: B images, C×H×W. The state is float64, as rounding adds up over the steps; the denoiser gets float32.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from shoestring_trainer.config import Edm, Flow, Objective
from shoestring_trainer.diffusion import null_captions
from shoestring_trainer.model import Captions

SIGMA_MIN, SIGMA_MAX, RHO = 0.002, 80.0, 7.0

Denoise = Callable[[Tensor, Tensor, Captions], Tensor]  # x (B, C, H, W), sigma (B,), captions → (B, C, H, W)
Estimate = Callable[[Tensor, Tensor], Tensor]  # x float64 (B, C, H, W), sigma () → clean samples, float64


@torch.no_grad()
def sample(
    denoiser: Denoise,
    captions: Captions,
    start: Tensor,
    sigmas: Tensor,
    guidance: float,
    sampler: str,
    interval: tuple[float, float] | None = None,
) -> Tensor:
    """Turn `start` (B, C, H, W), noise of unit variance, into samples (B, C, H, W) float32 along `sigmas` (n + 1,).

    Guidance g estimates D_null + g·(D_caption − D_null) (arXiv 2207.12598): 0 ignores the caption, 1 follows the
    model (both one forward pass), more exaggerates (two halves of one batch). With `interval` it acts where σ is from
    low to high (arXiv 2404.07724), and the model alone elsewhere. Raises KeyError for an unknown sampler.
    """
    estimate = guided(denoiser, captions, guidance)
    if interval is not None:
        estimate = _only_within(interval, estimate, guided(denoiser, captions, 1.0))
    sigmas = sigmas.to(start.device)
    return SAMPLERS[sampler](estimate, start.double() * sigmas[0], sigmas).float()


def noise_levels(n_steps: int, objective: Objective) -> Tensor:
    """List the σ of a trajectory from 80 down to 0: (n_steps + 1,) float64.

    EDM: equation 5, the last level before 0 is 0.002. Flow: equal steps in t, shifted (arXiv 2403.03206, eq. 23).
    """
    match objective:
        case Edm():
            ramp = torch.linspace(0, 1, n_steps, dtype=torch.float64)
            first, last = SIGMA_MAX ** (1 / RHO), SIGMA_MIN ** (1 / RHO)
            return torch.cat([(first + ramp * (last - first)) ** RHO, ramp.new_zeros(1)])
        case Flow(shift=shift):
            t = torch.linspace(SIGMA_MAX / (SIGMA_MAX + shift), 0, n_steps + 1, dtype=torch.float64)
            return shift * t / (1 - t)


def guided(denoiser: Denoise, captions: Captions, guidance: float) -> Estimate:
    """Bind captions and guidance to a denoiser; see `sample` for what guidance means."""
    null = null_captions(captions)
    if guidance == 0 or guidance == 1:
        alone = captions if guidance == 1 else null
        return lambda x, sigma: denoiser(x.float(), sigma.float().expand(len(x)), alone).double()
    mask = None if captions.mask is None else captions.mask.repeat(2, 1)
    both = Captions(torch.cat([captions.states, null.states]), mask)

    def estimate(x: Tensor, sigma: Tensor) -> Tensor:
        twice = x.float().repeat(2, 1, 1, 1)  # (2B, C, H, W)
        with_caption, without = denoiser(twice, sigma.float().expand(len(twice)), both).double().chunk(2)
        return without + guidance * (with_caption - without)

    return estimate


def _only_within(interval: tuple[float, float], guidance: Estimate, plain: Estimate) -> Estimate:
    low, high = interval
    return lambda x, sigma: (guidance if low <= float(sigma) <= high else plain)(x, sigma)


def euler(estimate: Estimate, x: Tensor, sigmas: Tensor) -> Tensor:
    """First order: n estimates for n steps. On flow's levels this is Euler in t, as both paths are straight."""
    for sigma, following in pairwise(sigmas):
        x = x + (following - sigma) * (x - estimate(x, sigma)) / sigma
    return x


def heun(estimate: Estimate, x: Tensor, sigmas: Tensor) -> Tensor:
    """EDM algorithm 1, the deterministic second-order sampler: 2n − 1 estimates for n steps."""
    for sigma, following in pairwise(sigmas):
        slope = (x - estimate(x, sigma)) / sigma
        ahead = x + (following - sigma) * slope
        if following > 0:
            slope = (slope + (ahead - estimate(ahead, following)) / following) / 2
            ahead = x + (following - sigma) * slope
        x = ahead
    return x


def dpmpp2m(estimate: Estimate, x: Tensor, sigmas: Tensor) -> Tensor:
    """DPM-Solver++(2M) (arXiv 2211.01095, algorithm 2), with λ = −ln σ: n estimates for n steps."""
    last_clean: Tensor | None = None
    last_h = sigmas.new_ones(())
    for sigma, following in pairwise(sigmas):
        clean = estimate(x, sigma)
        if following == 0:  # h is infinite: the formula's limit
            return clean
        h = (sigma / following).log()
        ahead = clean
        if last_clean is not None:
            ahead = clean + (clean - last_clean) * (h / (2 * last_h))
        x = (following / sigma) * x - torch.expm1(-h) * ahead
        last_clean, last_h = clean, h
    return x


SAMPLERS: dict[str, Callable[[Estimate, Tensor, Tensor], Tensor]] = {
    "heun": heun,
    "dpmpp2m": dpmpp2m,
    "euler": euler,
}
