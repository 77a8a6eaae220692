"""The network as one of diffusers' models, which an exported folder carries: `config.json` and safetensors.

Shapes: B images, C×H×W samples, L caption tokens, Dc wide.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from pydantic import TypeAdapter
from torch import Tensor

from shoestring_trainer.autoencoder import to_u8
from shoestring_trainer.config import ModelConfig, Objective
from shoestring_trainer.diffusion import Denoiser
from shoestring_trainer.model import Captions, DiT
from shoestring_trainer.sampling import noise_levels, sample
from shoestring_trainer.seeds import generator


class ShoestringTransformer(ModelMixin, ConfigMixin):  # type: ignore[misc] # diffusers' own way
    """A masked DiT and its objective. `model` and `objective` are those of the run's `config.json`."""

    @register_to_config
    def __init__(
        self, model: dict[str, Any], shape: Sequence[int], caption_dim: int, objective: dict[str, Any]
    ) -> None:
        super().__init__()
        channels, height, width = shape
        self.shape = (channels, height, width)
        self.net = DiT(ModelConfig.model_validate(model), self.shape, caption_dim)
        self.objective: Objective = TypeAdapter(Objective).validate_python(objective)

    def forward(self, x: Tensor, sigma: Tensor, states: Tensor, mask: Tensor | None = None) -> Tensor:
        """Estimate the clean samples of x (B, C, H, W) at sigma (B,); caption states (B, L, Dc), mask (B, L) real."""
        return Denoiser(self.net, self.objective)(x, sigma, Captions(states, mask))

    @torch.inference_mode()
    def draw(
        self,
        captions: Captions,
        numbers: Sequence[tuple[int, int]],
        n_steps: int,
        guidance: float,
        sampler: str,
        interval: tuple[float, float] | None,
    ) -> Tensor:
        """Turn noise into samples (B, C, H, W), one for each (seed, number), as training's own pictures are drawn."""
        states, mask = captions
        captions = Captions(states.to(self.device), None if mask is None else mask.to(self.device))
        start = torch.stack([torch.randn(self.shape, generator=generator(seed, i, "start")) for seed, i in numbers])
        denoiser, sigmas = Denoiser(self.net, self.objective), noise_levels(n_steps, self.objective)
        return sample(denoiser, captions, start.to(self.device), sigmas, guidance, sampler, interval)

    @staticmethod
    def decode(x: Tensor) -> np.ndarray:
        """Turn samples that are pixels themselves into pictures (B, H, W, 3) uint8."""
        return to_u8(x)
