"""An exponential moving average of the weights: what is evaluated and sampled."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class Ema:
    """A second set of weights that follows the trained one slowly; `.net` is a copy to evaluate."""

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.decay = decay
        self.net = copy.deepcopy(net).eval().requires_grad_(False)
        self._weights: list[Tensor] = list(self.net.parameters())

    @torch.no_grad()
    def update(self, net: nn.Module, step: int) -> None:
        """Move towards `net`'s weights after update `step`; early on faster, with decay (1 + step)/(10 + step)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        weights: list[Tensor] = list(net.parameters())
        torch._foreach_lerp_(self._weights, weights, 1 - decay)

    def state_dict(self) -> dict[str, Tensor]:
        """The averaged weights, by the network's names (no copies)."""
        return self.net.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take over averaged weights; names and shapes must match. Raises RuntimeError."""
        self.net.load_state_dict(state)
