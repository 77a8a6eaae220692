"""Randomness as a function of (seed, step, purpose), so that a resumed run draws what it would have drawn.

Nothing in training reads a global generator: there is no state to save, and none to lose.
"""

from __future__ import annotations

import functools
import hashlib

import torch


def generator(seed: int, step: int, purpose: str) -> torch.Generator:
    """Make the CPU generator of one purpose at one step; the same arguments always give the same stream.

    It lives on the CPU on every device, so that the draws do not depend on the hardware.
    """
    digest = hashlib.sha256(f"{seed}/{step}/{purpose}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


@functools.lru_cache(maxsize=32)
def epoch_order(seed: int, epoch: int, n: int, source: int = 0) -> torch.Tensor:
    """Shuffle 0…n−1 for one epoch of one source. (n,) int64; do not write to it."""
    return torch.randperm(n, generator=generator(seed, epoch, f"order{source or ''}"))
