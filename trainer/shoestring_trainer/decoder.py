"""The decoding half of diffusers' `AutoencoderKL`, straight from its weights.

Importing diffusers takes longer than importing torch (it brings transformers and torch._dynamo along), and a training
run needs no more of it than this. A test holds it equal to diffusers; a shape that it does not know goes there.
B batch, S pixels a side; C, h, w of a latent
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from shoestring_trainer.autoencoder import WEIGHTS, Autoencoder, to_u8

EPS = 1e-6


class Decodes(Protocol):
    """Turns normalised latents (B, C, h, w) into pictures (B, S, S, 3) uint8."""

    def decode(self, latents: Tensor, batch: int = 64) -> np.ndarray: ...


def open_decoder(folder: Path | str) -> Decodes:
    """Open what decodes the latents of the autoencoder in `folder`.

    Raises FileNotFoundError and ValueError (not such a folder).
    """
    folder = Path(folder)
    path = folder / "config.json"
    config = json.loads(path.read_bytes()) if path.exists() else {}
    if _is_plain(config) and (folder / WEIGHTS).exists():
        return Decoder(folder, config)
    return Autoencoder.load(folder)  # by diffusers, and it tells what is wrong


class Decoder:
    """An `AutoencoderKL` decoder without attention, in float32."""

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        wanted = ("decoder.", "post_quant_conv.")
        self.weights = {k: v.float() for k, v in load_file(folder / WEIGHTS).items() if k.startswith(wanted)}
        self.groups: int = config["norm_num_groups"]
        self.n_blocks, self.n_layers = len(config["up_block_types"]), config["layers_per_block"] + 1
        self.mean = torch.tensor(config["latents_mean"]).view(1, -1, 1, 1)  # (1, C, 1, 1)
        self.std = torch.tensor(config["latents_std"]).view(1, -1, 1, 1)

    @torch.inference_mode()
    def decode(self, latents: Tensor, batch: int = 64) -> np.ndarray:
        """Turn normalised latents (B, C, h, w) into pictures (B, S, S, 3) uint8."""
        raw = latents.detach().float().cpu() * self.std + self.mean
        return to_u8(torch.cat([self._pixels(part) for part in raw.split(batch)]))

    def _pixels(self, x: Tensor) -> Tensor:
        if "post_quant_conv.weight" in self.weights:
            x = self._conv(x, "post_quant_conv")
        x = self._conv(x, "decoder.conv_in")
        for layer in range(2):
            x = self._resnet(x, f"decoder.mid_block.resnets.{layer}")
        for block in range(self.n_blocks):
            for layer in range(self.n_layers):
                x = self._resnet(x, f"decoder.up_blocks.{block}.resnets.{layer}")
            if block < self.n_blocks - 1:
                x = self._conv(F.interpolate(x, scale_factor=2.0), f"decoder.up_blocks.{block}.upsamplers.0.conv")
        return self._conv(self._norm_silu(x, "decoder.conv_norm_out"), "decoder.conv_out")

    def _resnet(self, x: Tensor, name: str) -> Tensor:
        y = self._conv(self._norm_silu(x, f"{name}.norm1"), f"{name}.conv1")
        y = self._conv(self._norm_silu(y, f"{name}.norm2"), f"{name}.conv2")
        return y + (self._conv(x, f"{name}.conv_shortcut") if f"{name}.conv_shortcut.weight" in self.weights else x)

    def _norm_silu(self, x: Tensor, name: str) -> Tensor:
        return F.silu(F.group_norm(x, self.groups, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], EPS))

    def _conv(self, x: Tensor, name: str) -> Tensor:
        weight = self.weights[f"{name}.weight"]
        return F.conv2d(x, weight, self.weights[f"{name}.bias"], padding=weight.shape[-1] // 2)


def _is_plain(config: dict[str, Any]) -> bool:
    return (
        config.get("_class_name") == "AutoencoderKL"
        and set(config.get("up_block_types", [""])) == {"UpDecoderBlock2D"}
        and config.get("mid_block_add_attention") is False
        and config.get("act_fn") == "silu"
        and bool(config.get("latents_mean"))
        and bool(config.get("latents_std"))
    )
