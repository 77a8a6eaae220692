"""What a model costs, in closed form: FLOPs, parameters, memory. No torch.

A multiply-add is 2 FLOPs; only matrix products are counted, as torch's counter does (a test holds them equal), with
expert tokens gathered, not dispatched by one-hot products. The backward pass is twice the forward (nanochat counts
alike). Captions enter at their mean true length, so quadratic caption terms are slightly under-counted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from functools import lru_cache, wraps
from typing import ParamSpec, TypeVar

from shoestring_trainer.config import Compute, Mask, ModelConfig, RandomMask, Sampler
from shoestring_trainer.widths import (
    BlockWidths,
    backbone_widths,
    caption_ffn,
    mixer_widths,
    projects,
    tail_widths,
    tokens_per_expert,
)

Shape = tuple[int, int, int]
TRAIN_PER_FORWARD = 3  # forward and backward, in forward passes
TIME_FEATURES = 512  # model.TIME_FEATURES, which a test compares
BYTES_FP32, BYTES_BF16 = 4, 2


P = ParamSpec("P")
Number = TypeVar("Number", int, float)


def _remembered(count: Callable[P, dict[str, Number]]) -> Callable[P, dict[str, Number]]:
    """Count once for equal arguments: a file of a thousand runs asks the same of one model again and again."""
    kept = lru_cache(maxsize=4096)(count)

    @wraps(count)
    def again(*args: P.args, **kwargs: P.kwargs) -> dict[str, Number]:
        return kept(*args, **kwargs).copy()  # type: ignore[arg-type]  # all of them are frozen

    return again


def tokens(model: ModelConfig, shape: Shape) -> int:
    """T: tokens of a (C, H, W) sample before masking."""
    _, height, width = shape
    return (height // model.patch) * (width // model.patch)


FORWARDS_PER_STEP = {"heun": 2, "dpmpp2m": 1, "euler": 1}


def forwards_per_picture(sampler: Sampler, n_steps: int, guidance: float) -> int:
    """Forward passes of one image that drawing a picture takes; guidance needs one without the caption, too."""
    return n_steps * FORWARDS_PER_STEP[sampler] * (1 if guidance in (0, 1) else 2)


@_remembered
def forward_flops(
    model: ModelConfig, shape: Shape, caption_tokens: float, mask: Mask, caption_dim: int
) -> dict[str, float]:
    """Count one image's forward pass by component.

    Components: patch_embed, conditioning (time, pooled caption, adaLN of the backbone), captions, mixer (with its
    projections, merging and the tail), attention, cross_attention, ffn, experts (these four: backbone), head.
    A model with convolutions has them as one more.
    """
    n_tokens, n_kept, n_mixed = _token_counts(model, shape, mask)
    dim, mixer_dim, length = model.dim, model.mixer_dim, caption_tokens
    values = shape[0] * model.patch**2
    n_seen = n_kept // model.merge**2  # by the backbone
    backbone = _sum_parts(_block_flops(model, w, n_seen, length) for w in backbone_widths(model))
    beside = mixer_widths(model) + tail_widths(model)
    mixer = sum(sum(_block_flops(model, w, n_mixed, length).values()) for w in beside)
    if projects(model):
        mixer += 2 * dim * mixer_dim * (n_mixed + n_kept + length)
    if model.merge > 1:
        mixer += 2 * 2 * n_kept * mixer_dim * dim  # merging and splitting
    naive = isinstance(mask, RandomMask) and mask.place == "naive"
    return {
        "patch_embed": 2 * (n_kept if naive else n_tokens) * values * dim,
        "conditioning": backbone.pop("modulation") + 2 * (TIME_FEATURES + 3 * dim) * dim,
        "captions": 2 * length * dim * (caption_dim + dim + 4 * dim + 2 * length + 3 * caption_ffn(model)),
        "mixer": mixer,
        **backbone,
        "head": 2 * dim * (2 * dim + n_kept * values),
    }


@lru_cache(maxsize=4096)
def dispatch_flops(model: ModelConfig, shape: Shape, mask: Mask) -> float:
    """What one image's forward pass would take more if tokens went to experts and back by one-hot products.

    The public code does so, and counts as published hold it; here tokens are gathered, which multiplies nothing.
    """
    _, n_kept, n_mixed = _token_counts(model, shape, mask)
    n_seen = n_kept // model.merge**2
    blocks = [(w, n_mixed) for w in mixer_widths(model)] + [(w, n_seen) for w in backbone_widths(model)]
    routed = [(w.dim, w.experts.count * tokens_per_expert(w.experts, n), n) for w, n in blocks if w.experts]
    return float(sum(2 * 2 * picked * n * dim for dim, picked, n in routed))


def train_flops_per_image(
    model: ModelConfig, shape: Shape, caption_tokens: float, mask: Mask, caption_dim: int
) -> float:
    """Forward and backward of one image."""
    return TRAIN_PER_FORWARD * sum(forward_flops(model, shape, caption_tokens, mask, caption_dim).values())


@lru_cache(maxsize=4096)
def parameters(model: ModelConfig, channels: int, caption_dim: int) -> int:
    """Count the trained weights of `DiT(model, (channels, H, W), caption_dim)`."""
    dim, mixer_dim = model.dim, model.mixer_dim
    values = channels * model.patch**2
    count = (values + 1) * dim  # patch embedding
    count += (TIME_FEATURES + 1) * dim + (dim + 1) * dim  # time
    count += _mlp_parameters(caption_dim, dim) + _mlp_parameters(dim, dim)  # caption, pooled caption
    count += 2 * dim + 4 * dim**2 + 3 * dim * caption_ffn(model)  # caption block
    if projects(model):
        count += 3 * dim * mixer_dim + 2 * dim + mixer_dim
    if model.merge > 1:
        count += 2 * model.merge**2 * mixer_dim * dim + dim
    every = mixer_widths(model) + backbone_widths(model) + tail_widths(model)
    count += sum(_block_parameters(model, widths) for widths in every)
    return count + dim + (dim + 1) * 2 * dim + (dim + 1) * values  # head


@_remembered
def memory_bytes(
    model: ModelConfig,
    shape: Shape,
    caption_tokens: float,
    mask: Mask,
    batch: int,
    caption_dim: int,
    recompute: bool = False,
) -> dict[str, int]:
    """Estimate the memory of training in fp32 on one process, by part; activations are an estimate (±10 %).

    `batch` images go through at once. Activations count each tensor that the backward pass needs, for fused attention
    (no T² matrix is stored); with `recompute` a block's input, and one whole block at a time.
    """
    weights = BYTES_FP32 * parameters(model, shape[0], caption_dim)
    n_tokens, n_kept, n_mixed = _token_counts(model, shape, mask)
    n_seen = n_kept // model.merge**2
    blocks = [(w, n_mixed) for w in mixer_widths(model) + tail_widths(model)]
    blocks += [(w, n_seen) for w in backbone_widths(model)]
    each = [_block_activations(w, n, caption_tokens) + (model.conv and w.dim * n) for w, n in blocks]
    floats = max(each) + sum(w.dim * n for w, n in blocks) if recompute else sum(each)
    floats += caption_tokens * (caption_dim + 14 * model.dim + 2 * caption_ffn(model))
    floats += 2 * model.dim * (n_tokens + 2 * n_kept)  # embedding, the mixer's way out, head
    return {
        "weights": weights,
        "gradients": weights,
        "optimizer": 2 * weights,  # AdamW: two moments (Muon has one for most)
        "ema": weights,
        "activations": int(BYTES_FP32 * batch * floats),
    }


@lru_cache(maxsize=4096)
def calibration_key(
    model: ModelConfig, shape: Shape, batch: int, mask: Mask, compute: Compute, optimizer: str = "adamw"
) -> str:
    """Name what decides the seconds of a step: 16 hex digits, equal for equal work."""
    facts = {
        "model": model.model_dump(mode="json"),
        "shape": list(shape),
        "batch": batch,
        "mask": mask.model_dump(mode="json"),
        "compute": compute.model_dump(mode="json"),
        "optimizer": optimizer,
    }
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _token_counts(model: ModelConfig, shape: Shape, mask: Mask) -> tuple[int, int, int]:
    """(T, kept K, tokens in the mixer)."""
    n_tokens = tokens(model, shape)
    n_kept = mask.tokens_kept(n_tokens)
    naive = isinstance(mask, RandomMask) and mask.place == "naive"
    return n_tokens, n_kept, n_kept if naive else n_tokens


def _block_flops(model: ModelConfig, widths: BlockWidths, n: int, length: float) -> dict[str, float]:
    """One DiT block over n tokens and `length` caption tokens."""
    dim, inner, ffn, experts = widths
    parts: dict[str, float] = {
        "modulation": 2 * model.dim * _modulated(widths) * dim,
        "attention": 2 * n * 4 * dim * inner + 4 * n * n * inner,
        "cross_attention": 2 * dim * dim * (2 * n + 2 * length) + 4 * n * length * dim,
        "ffn": 0.0,
        "experts": 0.0,
    }
    if model.conv:
        parts["convolution"] = 2 * n * 9 * dim
    if experts is None:
        parts["ffn"] = 2 * n * 3 * dim * ffn
    else:
        picked = experts.count * tokens_per_expert(experts, n)
        parts["experts"] = 2 * n * dim * experts.count + 2 * picked * 2 * dim * ffn
    return parts


def _modulated(widths: BlockWidths) -> int:
    """Values a channel that the condition sets: shift, scale and gate of self-attention and of the FFN."""
    return 6 if widths.attention else 3


def _sum_parts(blocks: Iterable[dict[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for parts in blocks:
        for name, count in parts.items():
            total[name] = total.get(name, 0.0) + count
    return total


def _mlp_parameters(dim_in: int, dim: int) -> int:
    return (dim_in + 1) * dim + dim + (dim + 1) * dim


def _block_parameters(model: ModelConfig, widths: BlockWidths) -> int:
    dim, inner, ffn, experts = widths
    count = (10 * dim if model.conv else 0) + (3 if inner else 2) * dim + (model.dim + 1) * _modulated(widths) * dim
    count += 4 * dim * inner + 4 * dim * dim
    return count + (3 * dim * ffn if experts is None else experts.count * (dim + 2 * dim * ffn))


def _block_activations(widths: BlockWidths, n: int, length: float) -> float:
    """Floats that one block keeps for the backward pass: inputs of norms, of products and of non-linearities.

    But not what is made again: normed queries and keys, and what is modulated.
    """
    dim, inner, ffn, experts = widths
    floats = n * ((10 if inner else 7) * dim + 4 * inner) + 2 * length * dim
    if experts is None:
        return floats + n * 2 * ffn
    picked = experts.count * tokens_per_expert(experts, n)
    return floats + picked * (2 * dim + 2 * ffn) + n * experts.count * 2
