"""Pictures to normalised latents and back, through diffusers' `AutoencoderKL`, `AutoencoderTiny` or `AutoencoderDC`.

    B batch, S pixels a side; C, h, w of a latent

The folder is one that diffusers' `from_pretrained` reads too. `latents_mean` and `latents_std` in its config are
the statistics of the training pictures, so that normalised latents have mean 0 and standard deviation 1 a channel.
"""

from __future__ import annotations

import importlib
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

WEIGHTS = "diffusion_pytorch_model.safetensors"
KINDS = {"AutoencoderKL": "autoencoder_kl", "AutoencoderTiny": "autoencoder_tiny", "AutoencoderDC": "autoencoder_dc"}


class Autoencoder:
    """One of diffusers' autoencoders with the statistics of its latents. Make one with `Autoencoder.load`."""

    def __init__(self, net: Any, mean: Tensor, std: Tensor):
        self.net = net.eval()
        self.mean, self.std = mean.reshape(1, -1, 1, 1), std.reshape(1, -1, 1, 1)  # (1, C, 1, 1)

    @classmethod
    def load(cls, folder: Path | str, device: str = "cpu") -> Autoencoder:
        """Load config and weights from `folder`; computed in float32 whatever the file holds.

        Raises FileNotFoundError and ValueError (not such a folder).
        """
        from safetensors.torch import load_file

        folder = Path(folder)
        for name in ("config.json", WEIGHTS):
            if not (folder / name).exists():
                raise FileNotFoundError(f"{folder / name} is missing: `dvc repro` builds the data set with it again")
        config = json.loads((folder / "config.json").read_bytes())
        if not config.get("latents_mean") or not config.get("latents_std"):
            raise ValueError(
                f"{folder / 'config.json'} has no latents_mean and latents_std: take it over with "
                f"`python -m shoestring_trainer.prepare.adopt_autoencoder {folder} …`, which measures them"
            )
        net = net_class(config.get("_class_name", "AutoencoderKL")).from_config(config)
        net.load_state_dict({key: value.float() for key, value in load_file(folder / WEIGHTS).items()})
        mean, std = (torch.tensor(config[key], dtype=torch.float32) for key in ("latents_mean", "latents_std"))
        return cls(net.to(device).requires_grad_(False), mean.to(device), std.to(device))

    @torch.inference_mode()
    def encode(self, images: np.ndarray, batch: int = 64) -> Tensor:
        """(B, H, W, 3) uint8 → (B, C, h, w) float32, without noise, normalised a channel."""
        parts = [raw_latents(self.net, self._pixels(images[i : i + batch])) for i in _starts(images, batch)]
        return ((torch.cat(parts) - self.mean) / self.std).cpu()

    @torch.inference_mode()
    def decode(self, latents: Tensor, batch: int = 64) -> np.ndarray:
        """Normalised latents (B, C, h, w) → (B, S, S, 3) uint8."""
        raw = latents.detach().float().to(self.mean.device) * self.std + self.mean
        parts = [self.net.decode(raw[i : i + batch]).sample for i in _starts(raw, batch)]
        return to_u8(torch.cat(parts))

    def _pixels(self, images: np.ndarray) -> Tensor:
        return to_pixels(images).to(self.mean.device)


def to_pixels(images: np.ndarray) -> Tensor:
    """(B, S, S, 3) uint8 → (B, 3, S, S) float32 in [-1, 1]."""
    return torch.from_numpy(images.transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1)


def to_u8(pixels: Tensor) -> np.ndarray:
    """(B, 3, S, S) in [-1, 1] → (B, S, S, 3) uint8."""
    return ((pixels.detach().float().cpu().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()


def psnr_db(real: np.ndarray, made: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB over all pixels together; uint8 arrays of one shape."""
    error = float(np.mean((real.astype(np.float64) - made.astype(np.float64)) ** 2))
    return float(10 * np.log10(255**2 / max(error, 1e-12)))


def raw_latents(net: Any, pixels: Tensor) -> Tensor:
    """(B, 3, H, W) in [-1, 1] → (B, C, h, w) as the network gives them: a posterior's mean, where it has one."""
    answer = net.encode(pixels)
    if hasattr(answer, "latent_dist"):  # AutoencoderKL
        return answer.latent_dist.mean
    return answer.latents if hasattr(answer, "latents") else answer.latent  # AutoencoderTiny, AutoencoderDC


def net_class(name: str) -> Any:
    """diffusers' class of that name, and of diffusers as little as possible. Raises ValueError for an unknown one."""
    if name not in KINDS:
        raise ValueError(f"{name!r} is no autoencoder that can be used here; known: {', '.join(KINDS)}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(importlib.import_module(f"diffusers.models.autoencoders.{KINDS[name]}"), name)


def _starts(values: Any, batch: int) -> range:
    return range(0, len(values), batch)
