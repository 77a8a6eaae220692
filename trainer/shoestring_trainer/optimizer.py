"""AdamW on torch's fused kernel, with its state as a flat dict of tensors.

`torch.optim.AdamW` is the same arithmetic, but building one imports `torch._dynamo`, which takes as long as importing
torch (1.9 s of every run's paid time), and its state is nested and pickled.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from shoestring_trainer.config import AdamW as AdamWConfig


class AdamW:
    """Decoupled weight decay Adam (arXiv 1711.05101).

    Weight decay falls on matrices only, norms and biases are left alone; or on everything, as in the published run.
    """

    def __init__(self, named: Iterable[tuple[str, nn.Parameter]], config: AdamWConfig) -> None:
        self.config = config
        self.named = [(name, p) for name, p in named if p.requires_grad]
        self.mean = {name: torch.zeros_like(p) for name, p in self.named}
        self.square = {name: torch.zeros_like(p) for name, p in self.named}
        self.steps = {name: torch.zeros((), device=p.device) for name, p in self.named}

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """Update every parameter that has a gradient."""
        with_grad = [(name, p) for name, p in self.named if p.grad is not None]
        decayed = [pair for pair in with_grad if pair[1].ndim >= 2 or self.config.decay == "all"]
        spared = [pair for pair in with_grad if pair[1].ndim < 2 and self.config.decay == "matrices"]
        for decay, group in ((self.config.weight_decay, decayed), (0.0, spared)):
            if group:
                self._update(group, lr, decay)

    def _update(self, group: list[tuple[str, nn.Parameter]], lr: float, weight_decay: float) -> None:
        adamw(
            [p for _, p in group],
            [p.grad for _, p in group if p.grad is not None],
            [self.mean[name] for name, _ in group],
            [self.square[name] for name, _ in group],
            [],
            [self.steps[name] for name, _ in group],
            foreach=False,
            capturable=False,
            differentiable=False,
            fused=True,
            has_complex=False,
            amsgrad=False,
            beta1=self.config.betas[0],
            beta2=self.config.betas[1],
            lr=lr,
            weight_decay=weight_decay,
            eps=self.config.eps,
            maximize=False,
        )

    def zero_grad(self) -> None:
        for _, parameter in self.named:
            parameter.grad = None

    def state_dict(self) -> dict[str, Tensor]:
        """Give the state as tensors named `mean.<parameter>`, `square.<parameter>`, `steps.<parameter>`."""
        parts = {"mean": self.mean, "square": self.square, "steps": self.steps}
        return {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Copy a state in. Raises KeyError, RuntimeError when names or shapes differ."""
        copy_state(self.state_dict(), state)


def copy_state(own: dict[str, Tensor], state: dict[str, Tensor]) -> None:
    """Copy `state` into the tensors of `own`. Raises KeyError, RuntimeError when names or shapes differ."""
    if own.keys() != state.keys():
        raise KeyError(f"optimiser state differs in {sorted(own.keys() ^ state.keys())[:3]}")
    for name, value in own.items():
        if value.shape != state[name].shape:
            raise RuntimeError(f"optimiser state {name}: {tuple(state[name].shape)}, expected {tuple(value.shape)}")
        value.copy_(state[name])
