"""Widths of every block, from a `ModelConfig`: the one place where they are rounded. No torch.

The network is built from these and `flops` counts with them. MicroDiT §3 (arXiv 2407.15811).
"""

from __future__ import annotations

from typing import NamedTuple

from shoestring_trainer.config import Experts, ModelConfig


class BlockWidths(NamedTuple):
    """One DiT block: `dim` of its tokens, `attention` inside self-attention (0: it has none), `ffn` inside the FFN or
    each expert.
    """

    dim: int
    attention: int
    ffn: int
    experts: Experts | None


def mixer_widths(model: ModelConfig) -> list[BlockWidths]:
    """Widths of the patch-mixer's blocks: ratios 1 and 4, experts in every `every`-th."""
    return [_mixer_block(model, _has_experts(model.experts, index)) for index in range(model.mixer_depth)]


def tail_widths(model: ModelConfig) -> list[BlockWidths]:
    """Widths of the blocks after a backbone that merges tokens: the mixer's, without experts."""
    return [_mixer_block(model, False) for _ in range(model.tail_depth)]


def backbone_widths(model: ModelConfig) -> list[BlockWidths]:
    """Widths of the backbone's blocks, growing with depth; the last one never has experts."""
    qkv, mlp = _linspace(model.qkv_ratio, model.depth), _linspace(model.mlp_ratio, model.depth)
    return [
        _block(model, model.dim, (qkv[i], mlp[i]), i < model.depth - 1 and _has_experts(model.experts, i))
        for i in range(model.depth)
    ]


def caption_ffn(model: ModelConfig) -> int:
    """Width inside the SwiGLU of the caption block (ratio 4)."""
    return _swiglu(model, model.dim, 4.0)


def projects(model: ModelConfig) -> bool:
    """Whether tokens and captions change width on their way through the mixer."""
    return model.mixer_depth > 0 and model.mixer_dim != model.dim


def tokens_per_expert(experts: Experts, n_tokens: int) -> int:
    """k: tokens each expert picks in an image of `n_tokens`, within 1…T."""
    return min(max(int(experts.capacity * n_tokens / experts.count), 1), n_tokens)


def _has_experts(experts: Experts | None, index: int) -> bool:
    return experts is not None and (index + 1) % experts.every == 0


def _mixer_block(model: ModelConfig, has_experts: bool) -> BlockWidths:
    widths = _block(model, model.mixer_dim, (1.0, 4.0), has_experts)
    return widths if model.mixer_attention else widths._replace(attention=0)


def _block(model: ModelConfig, dim: int, ratios: tuple[float, float], has_experts: bool) -> BlockWidths:
    qkv_ratio, mlp_ratio = ratios
    pair = 2 * model.head_dim
    attention = dim if qkv_ratio == 1 else pair * max(-(-int(dim * qkv_ratio) // pair), 1)  # an even count of heads
    ffn = _round_up(int(dim * mlp_ratio), model.multiple_of) if has_experts else _swiglu(model, dim, mlp_ratio)
    return BlockWidths(dim, attention, ffn, model.experts if has_experts else None)


def _swiglu(model: ModelConfig, dim: int, ratio: float) -> int:
    return _round_up(2 * int(dim * ratio) // 3, model.multiple_of)  # three matrices for the cost of two


def _round_up(n: int, multiple: int) -> int:
    return max(-(-n // multiple), 1) * multiple


def _linspace(ends: tuple[float, float], n: int) -> list[float]:
    first, last = ends
    if n == 1:
        return [first]
    return [first + i * ((last - first) / (n - 1)) for i in range(n - 1)] + [last]
