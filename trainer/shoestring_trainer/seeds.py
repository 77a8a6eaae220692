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


@functools.lru_cache(maxsize=2)
def epoch_order(seed: int, epoch: int, n: int) -> torch.Tensor:
    """Shuffle 0…n−1 for one epoch. (n,) int64; do not write to it."""
    return torch.randperm(n, generator=generator(seed, epoch, "order"))


def batch_positions(seed: int, step: int, batch_size: int, n: int) -> torch.Tensor:
    """Give the positions in the train split that step `step` sees. (batch_size,) int64.

    Epochs follow each other without a gap: image i of the run is position i mod n of epoch i // n.
    """
    first, end = step * batch_size, (step + 1) * batch_size
    pieces = []
    while first < end:
        epoch, offset = divmod(first, n)
        take = min(end - first, n - offset)
        pieces.append(epoch_order(seed, epoch, n)[offset : offset + take])
        first += take
    return torch.cat(pieces)
