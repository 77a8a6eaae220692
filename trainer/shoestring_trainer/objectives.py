"""What the network is trained to say: EDM or flow matching, as coefficients of one preconditioned denoiser.

x = x0 + σ·noise in both. σ is any shape, B images: (B,) or (B, 1, 1, 1); coefficients have σ's shape.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from shoestring_trainer.config import Edm, Flow, LogNormal, Objective


class Coefficients(NamedTuple):
    """D(x; σ) = skip·x + out·F(scale·x): how the network F becomes a denoiser."""

    skip: Tensor
    out: Tensor
    scale: Tensor


def coefficients(objective: Objective, sigma: Tensor) -> Coefficients:
    """EDM's c_skip, c_out, c_in (arXiv 2206.00364, table 1), or those of a velocity on straight paths.

    Flow: x_t = x/(1 + σ) with t = σ/(1 + σ), F estimates noise − x0, so x0 = x_t − t·F.
    """
    match objective:
        case Edm(sigma_data=data):
            variance = sigma.square() + data**2
            return Coefficients(data**2 / variance, sigma * data / variance.sqrt(), variance.rsqrt())
        case Flow():
            shrink = 1 / (1 + sigma)
            return Coefficients(shrink, -sigma * shrink, shrink)


def loss_weight(objective: Objective, sigma: Tensor) -> Tensor:
    """Weight of ‖D − x0‖² at σ: EDM's λ(σ); for flow what makes it ‖F − (noise − x0)‖², unweighted. It is 1/out²."""
    match objective:
        case Edm(sigma_data=data):
            return (sigma.square() + data**2) / (sigma * data).square()
        case Flow():
            return ((1 + sigma) / sigma).square()


def sample_sigma(objective: Objective, noise: LogNormal, n: int, generator: torch.Generator) -> Tensor:
    """Draw noise levels (n,) float32, ln σ ~ N(p_mean, p_std²), times the flow's shift; on the generator's device.

    With `noise.spread` the n levels of an update are spread evenly over the distribution, in a random order (as times
    are in VDM, arXiv 2107.00630, appendix I.1): each alone is drawn as before, but a batch of them varies less.
    """
    device = generator.device
    if noise.spread:
        part = torch.randperm(n, generator=generator, device=device)
        within = torch.rand(n, generator=generator, device=device, dtype=torch.float64)
        normal = torch.special.ndtri((part + within).clamp(min=1e-9) / n).float()
    else:
        normal = torch.randn(n, generator=generator, device=device)
    sigma = (normal * noise.p_std + noise.p_mean).exp()
    return sigma * objective.shift if isinstance(objective, Flow) else sigma
