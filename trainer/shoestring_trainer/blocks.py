"""The parts of a DiT block. No block knows of dropped tokens: it receives a shorter sequence.

Shapes: B images, N tokens (T or K), L caption tokens, D wide (the block's own), h inside self-attention.
`real` (B, 1, 1, L) bool says which caption tokens are no padding; None: all.
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shoestring_trainer.again import Made, again
from shoestring_trainer.experts import ExpertChoice
from shoestring_trainer.grid import DepthwiseConv, Grid
from shoestring_trainer.swiglu import SwiGlu
from shoestring_trainer.widths import BlockWidths

EPS = 1e-6


def norm(dim: int) -> nn.LayerNorm:
    """LayerNorm with a weight and no bias."""
    return nn.LayerNorm(dim, eps=EPS, bias=False)


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """x·(1 + scale) + shift."""
    return torch.addcmul(shift, x, 1 + scale)


def attend(q: Tensor, k: Tensor, v: Tensor, head_dim: int, real: Tensor | None) -> Tensor:
    """Multi-head attention of q (B, N, h) on k, v (B, M, h) → (B, N, h); q and k are normed over all heads at once."""
    width = q.shape[-1:]
    heads = (width[0] // head_dim, head_dim)

    def dot_products(q: Tensor, k: Tensor) -> Tensor:
        q, k, each_v = (one.unflatten(-1, heads).transpose(1, 2) for one in (q, k, v))  # (B, heads, N, head_dim)
        return F.scaled_dot_product_attention(q, k, each_v, attn_mask=real).transpose(1, 2).flatten(2)

    normed = functools.partial(F.layer_norm, normalized_shape=width, eps=EPS)
    return again(dot_products, Made(normed, (q,)), Made(normed, (k,)))


class SelfAttention(nn.Module):
    """Self-attention, `width` wide inside; no bias."""

    def __init__(self, dim: int, width: int, head_dim: int) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.qkv = nn.Linear(dim, 3 * width, bias=False)
        self.out = nn.Linear(width, dim, bias=False)

    def forward(self, x: Tensor, real: Tensor | None = None) -> Tensor:
        """x (B, N, D) → (B, N, D)."""
        q, k, v = self.qkv(x).chunk(3, dim=-1)  # (B, N, h) each
        return self.out(attend(q, k, v, self.head_dim, real))


class CrossAttention(nn.Module):
    """Tokens ask the caption; always full width, no bias."""

    def __init__(self, dim: int, head_dim: int) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.q = nn.Linear(dim, dim, bias=False)
        self.kv = nn.Linear(dim, 2 * dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False)

    def forward(self, x: Tensor, y: Tensor, real: Tensor | None) -> Tensor:
        """x (B, N, D), y (B, L, D) → (B, N, D)."""
        k, v = self.kv(y).chunk(2, dim=-1)  # (B, L, D) each
        return self.out(attend(self.q(x), k, v, self.head_dim, real))


class Mlp(nn.Module):
    """Linear → GELU(tanh) → LayerNorm → Linear, for captions."""

    def __init__(self, dim_in: int, dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim_in, dim)
        self.norm = norm(dim)
        self.fc2 = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """x (…, D_in) → (…, D)."""
        return self.fc2(self.norm(F.gelu(self.fc1(x), approximate="tanh")))


class CaptionBlock(nn.Module):
    """Pre-norm self-attention and SwiGLU over the caption; both outputs start at zero (`initialise`)."""

    def __init__(self, dim: int, head_dim: int, ffn: int) -> None:
        super().__init__()
        self.norm_self = norm(dim)
        self.self_attention = SelfAttention(dim, dim, head_dim)
        self.norm_ffn = norm(dim)
        self.ffn = SwiGlu(dim, ffn)

    def forward(self, y: Tensor, real: Tensor | None) -> Tensor:
        """y (B, L, D) → (B, L, D)."""
        y = y + self.self_attention(self.norm_self(y), real)
        return y + self.ffn(self.norm_ffn(y))


class DiTBlock(nn.Module):
    """Self-attention, cross-attention, FFN; the first and the last are modulated and gated by the condition (adaLN).

    Before them a convolution, and no self-attention, where the model asks for it (`ModelConfig`).
    """

    def __init__(self, widths: BlockWidths, head_dim: int, condition_dim: int, conv: bool = False) -> None:
        super().__init__()
        dim = widths.dim
        self.conv = DepthwiseConv(dim) if conv else None
        self.norm_self = norm(dim) if widths.attention else None
        self.self_attention = SelfAttention(dim, widths.attention, head_dim) if widths.attention else None
        self.norm_cross = norm(dim)
        self.cross_attention = CrossAttention(dim, head_dim)
        self.norm_ffn = norm(dim)
        self.ffn = ExpertChoice(dim, widths.ffn, widths.experts) if widths.experts else SwiGlu(dim, widths.ffn)
        self.modulation = nn.Linear(condition_dim, (6 if widths.attention else 3) * dim)

    def forward(self, x: Tensor, condition: Tensor, y: Tensor, real: Tensor | None, grid: Grid | None = None) -> Tensor:
        """x (B, N, D), condition (B, 1, D of the backbone) after its GELU, y (B, L, D) → (B, N, D).

        `grid`: the rows and columns of the tokens, which a convolution needs.
        """
        if self.conv is not None:
            assert grid is not None, "a convolution needs the whole grid"
            x = self.conv(x, grid)
        *around_attention, shift, scale, gate = self.modulation(condition).split(x.shape[-1], dim=-1)  # (B, 1, D) each
        if self.norm_self is not None and self.self_attention is not None:
            shift1, scale1, gate1 = around_attention
            modulated = Made(modulate, (self.norm_self(x), shift1, scale1))
            x = torch.addcmul(x, gate1, again(self.self_attention, modulated))
        x = x + self.cross_attention(self.norm_cross(x), y, real)
        modulated = Made(modulate, (self.norm_ffn(x), shift, scale))
        return torch.addcmul(x, gate, again(self.ffn, modulated))


class Head(nn.Module):
    """From tokens to the values of their patches; starts at zero (`initialise`)."""

    def __init__(self, dim: int, values: int) -> None:
        super().__init__()
        self.norm = norm(dim)
        self.modulation = nn.Linear(dim, 2 * dim)
        self.linear = nn.Linear(dim, values)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """x (B, N, D) → (B, N, P)."""
        shift, scale = self.modulation(condition).chunk(2, dim=-1)
        return self.linear(modulate(self.norm(x), shift, scale))
