"""Which tokens of an image are trained on.

Shapes: B images, T tokens each, K kept, D wide.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from shoestring_trainer.config import Mask, NoMask, RandomMask


class Keep(NamedTuple):
    """The tokens that stay, `ids` (B, K) int64, and where the others leave: after or before the patch-mixer."""

    ids: Tensor
    place: Literal["deferred", "naive"] = "deferred"


def sample_keep(mask: Mask, batch: int, n_tokens: int, generator: torch.Generator) -> Keep | None:
    """Draw each image's kept tokens: ids (B, K), sorted, on the generator's device; None when nothing is dropped."""
    match mask:
        case NoMask():
            return None
        case RandomMask():
            # the K smallest of T uniform scores are a uniform subset (MicroDiT §3: random beats blocks)
            scores = torch.rand(batch, n_tokens, generator=generator, device=generator.device)  # (B, T)
            ids = scores.topk(mask.tokens_kept(n_tokens), largest=False, sorted=False).indices  # (B, K)
            return Keep(ids.sort(dim=1).values, mask.place)


def gather(x: Tensor, ids: Tensor) -> Tensor:
    """Pick the tokens `ids` (B, K) of x (B, T, D) → (B, K, D), in the order of the ids."""
    picked = x.reshape(-1, x.shape[-1]).index_select(0, rows_of(ids, x.shape[1]))  # whole rows: torch.gather is slower
    return picked.view(*ids.shape, x.shape[-1])


def rows_of(ids: Tensor, n_tokens: int) -> Tensor:
    """Number the tokens `ids` (…, B, K) of each image among all B·T, images one after the other: (…·B·K,)."""
    first = torch.arange(0, ids.shape[-2] * n_tokens, n_tokens, device=ids.device)  # (B,)
    return (ids + first[:, None]).flatten()


def scatter(kept: Tensor, ids: Tensor, n_tokens: int) -> Tensor:
    """Put kept (B, K, D) back to their places among zeros: (B, T, D)."""
    whole = kept.new_zeros(kept.shape[0], n_tokens, kept.shape[-1])
    return whole.scatter(1, ids.unsqueeze(-1).expand_as(kept), kept)
