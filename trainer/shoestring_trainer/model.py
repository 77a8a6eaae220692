"""MicroDiT (arXiv 2407.15811 §3): a diffusion transformer whose patch-mixer sees every token before most are dropped.

Shapes: B images, C×H×W samples, T tokens, K kept, L caption tokens D_caption wide, D wide in the backbone, D_mixer in
the patch-mixer, P = p·p·C values per patch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from shoestring_trainer import initialise
from shoestring_trainer.again import keeping
from shoestring_trainer.blocks import CaptionBlock, DiTBlock, Head, Mlp, norm
from shoestring_trainer.config import ModelConfig
from shoestring_trainer.grid import Grid, Squares
from shoestring_trainer.masking import Keep, gather
from shoestring_trainer.widths import BlockWidths, backbone_widths, caption_ffn, mixer_widths, projects, tail_widths

TIME_FEATURES = 512


class Captions(NamedTuple):
    """Text states (B, L, D_caption) float32 and which are real tokens, no padding, (B, L) bool; None: all."""

    states: Tensor
    mask: Tensor | None = None


class DiT(nn.Module):
    """The network F of EDM (arXiv 2206.00364), without its loss and preconditioning. Call `init_weights` once."""

    positions: Tensor  # (T, D), fixed, not in the state dict

    def __init__(
        self,
        model: ModelConfig,
        shape: tuple[int, int, int],
        caption_dim: int,
        other_shapes: Sequence[tuple[int, int, int]] = (),
    ) -> None:
        super().__init__()
        channels, height, width = shape
        assert height % model.patch == 0 and width % model.patch == 0, (shape, model.patch)
        dim, head_dim = model.dim, model.head_dim
        self.patch = model.patch
        self.recompute = False  # if set, blocks run again in the backward pass instead of keeping what they computed
        values = model.patch**2 * channels
        self.patch_embed = nn.Linear(values, dim)
        rows, columns = height // model.patch, width // model.patch
        positions = sin_cos_positions(dim, rows, columns, model.pos_scale)
        self.register_buffer("positions", positions, persistent=False)
        for _, other_height, other_width in other_shapes:  # the coordinates of `shape`'s table in other steps
            assert other_height * width == other_width * height, (other_shapes, shape)
            grid = (other_height // model.patch, other_width // model.patch)
            table = sin_cos_positions(dim, *grid, model.pos_scale * grid[0] / rows)
            self.register_buffer(_table_name(*grid), table, persistent=False)
        self.grid = (rows, columns)
        self.time_mlp = nn.Sequential(nn.Linear(TIME_FEATURES, dim), nn.GELU("tanh"), nn.Linear(dim, dim))
        self.caption_mlp = Mlp(caption_dim, dim)
        self.caption_block = CaptionBlock(dim, head_dim, caption_ffn(model))
        self.pooled_mlp = Mlp(dim, dim)
        project = projects(model)  # the mixer is of another width; without a mixer all three are identities
        self.into_mixer = _projection(dim, model.mixer_dim, project)
        self.captions_into_mixer = _projection(dim, model.mixer_dim, project)

        def blocks(all_widths: Sequence[BlockWidths]) -> nn.ModuleList:
            return nn.ModuleList(DiTBlock(widths, head_dim, dim, model.conv) for widths in all_widths)

        self.mixer = blocks(mixer_widths(model))
        self.out_of_mixer = _projection(model.mixer_dim, dim, project)
        self.blocks, self.tail = blocks(backbone_widths(model)), blocks(tail_widths(model))
        self.squares = Squares(model.mixer_dim, dim, model.merge) if model.merge > 1 else None
        self.head = Head(dim, values)

    def init_weights(self, generator: torch.Generator) -> None:
        """Draw every weight anew from `generator` as `initialise` says; the output starts at zero."""
        initialise.init_weights(self, generator)

    def forward(self, x: Tensor, c_noise: Tensor, captions: Captions, keep: Keep | None = None) -> Tensor:
        """x (B, C, H, W) noisy and scaled, c_noise = ln σ / 4 (B,), captions → (B, K, P), patches as `patchify` cuts.

        In the order of `keep.ids`; without `keep`, all T.
        """
        grid = (x.shape[2] // self.patch, x.shape[3] // self.patch)
        table = self.positions if grid == self.grid else self.get_buffer(_table_name(*grid))
        x = patchify(x, self.patch)  # (B, T, P)
        positions = table  # (T, D)
        if keep is not None and keep.place == "naive":
            x, positions = gather(x, keep.ids), table[keep.ids]  # (B, K, P), (B, K, D): before any token saw another
        x = self.patch_embed(x) + positions  # (B, T or K, D)
        y, condition, real = self._conditions(c_noise, captions)
        x, mixer_y = self.into_mixer(x), self.captions_into_mixer(y)  # (B, T or K, D_mixer), (B, L, D_mixer)
        for block in self.mixer:
            x = self._run(block, x, condition, mixer_y, real, grid)
        if keep is not None and keep.place == "deferred":
            x = gather(x, keep.ids)  # (B, K, D_mixer), each has seen all
        if self.squares is None:
            x = self._backbone(self.out_of_mixer(x), condition, y, real, grid)
        else:
            coarse = self.squares.merge(x, grid)  # (B, T/side², D)
            coarse = self._backbone(coarse, condition, y, real, self.squares.merged_grid(grid))
            x = x + self.squares.split(coarse, grid)  # (B, T, D_mixer)
            for block in self.tail:
                x = self._run(block, x, condition, mixer_y, real, grid)
            x = self.out_of_mixer(x)
        return self.head(x, condition)  # (B, K, P)

    def _backbone(self, x: Tensor, condition: Tensor, y: Tensor, real: Tensor | None, grid: Grid) -> Tensor:
        for block in self.blocks:
            x = self._run(block, x, condition, y, real, grid)
        return x

    def _run(self, block: nn.Module, *inputs: Tensor | Grid | None) -> Tensor:
        if self.recompute and torch.is_grad_enabled():
            return checkpoint(
                block, *inputs, use_reentrant=False, preserve_rng_state=False, context_fn=lambda: (keeping(), keeping())
            )  # no randomness in it
        return block(*inputs)

    def _conditions(self, c_noise: Tensor, captions: Captions) -> tuple[Tensor, Tensor, Tensor | None]:
        """(caption tokens (B, L, D), adaLN input (B, 1, D), real (B, 1, 1, L): which caption tokens are no padding).

        The adaLN input has passed its GELU, which is the same for every block and the head.
        """
        states, mask = captions
        real = None if mask is None else mask[:, None, None, :]
        y = self.caption_block(self.caption_mlp(states), real)
        if mask is None:
            pooled = y.mean(dim=1)  # (B, D)
        else:
            share = mask / mask.sum(dim=1, keepdim=True).clamp(min=1)  # (B, L)
            pooled = (y * share.to(y.dtype).unsqueeze(-1)).sum(dim=1)  # (B, D), padding left out
        condition = self.time_mlp(time_features(c_noise)) + self.pooled_mlp(pooled)  # (B, D)
        return y, F.gelu(condition, approximate="tanh").unsqueeze(1), real


def patchify(x: Tensor, patch: int) -> Tensor:
    """Cut x (B, C, H, W) into (B, T, p·p·C): patches row by row; the values of one by row, column, channel."""
    batch, channels, height, width = x.shape
    x = x.reshape(batch, channels, height // patch, patch, width // patch, patch)
    return x.permute(0, 2, 4, 3, 5, 1).reshape(batch, -1, patch * patch * channels)


def time_features(c_noise: Tensor) -> Tensor:
    """Cosines and sines of c_noise (B,) at 256 angular frequencies from 1 down to 1/10000 → (B, 512)."""
    half = TIME_FEATURES // 2
    frequencies = torch.exp(torch.arange(half, device=c_noise.device) * (-math.log(10000) / half))
    angles = c_noise.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def sin_cos_positions(dim: int, rows: int, columns: int, scale: float) -> Tensor:
    """Fixed 2-D table (T, D), T = rows·columns: half the width for the column, half for the row, each over `scale`."""
    quarter = -(-dim // 4)  # rounded up; the surplus is cut off at the end
    omega = 10000.0 ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
    down, right = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")  # (rows, columns)
    angles = [axis.flatten().double()[:, None] / scale * omega for axis in (right, down)]  # (T, D/4) each
    table = torch.cat([f(angle) for angle in angles for f in (torch.sin, torch.cos)], dim=-1)
    return table[:, :dim].float()


def _table_name(rows: int, columns: int) -> str:
    return f"positions_{rows}x{columns}"


def _projection(dim_in: int, dim_out: int, needed: bool) -> nn.Module:
    return nn.Sequential(norm(dim_in), nn.Linear(dim_in, dim_out, bias=False)) if needed else nn.Identity()
