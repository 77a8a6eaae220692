"""Muon: momentum made orthogonal, for the matrices inside blocks; AdamW for everything else.

`torch.optim.Muon` takes 2-D parameters only, one at a time, and iterates in bf16, which is slow on a CPU. Here fused
matrices are cut into their parts (q, k, v), experts and parts of one shape go through Newton-Schulz as one batch, and
the iteration is in bf16 on a GPU only.
N matrices of one shape, R×C each
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from shoestring_trainer.config import AdamW as AdamWConfig
from shoestring_trainer.config import Muon as MuonConfig
from shoestring_trainer.optimizer import AdamW, copy_state

INSIDE = ("mixer.", "blocks.", "tail.", "squares.", "caption_block.")
APART = ("router", "modulation", "conv")  # few outputs, or inputs of one vector an image: gradients of low rank
PARTS = {"qkv.weight": 3, "kv.weight": 2}  # by the end of a name: matrices stacked in one
COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of Newton-Schulz, kellerjordan.github.io/posts/muon
RMS = 0.2  # of an update: AdamW's, so that its learning rate and decay carry over (arXiv 2502.16982, equation 4)


def is_matrix(name: str, parameter: Tensor) -> bool:
    """Say whether Muon takes it: a matrix (or experts' matrices) inside a block that maps tokens to tokens."""
    return parameter.ndim >= 2 and name.startswith(INSIDE) and not any(word in name for word in APART)


class Muon:
    """The optimiser of a whole network: `AdamW`'s interface, both parts in one flat state."""

    def __init__(self, named: Iterable[tuple[str, nn.Parameter]], config: MuonConfig) -> None:
        named = [(name, p) for name, p in named if p.requires_grad]
        self.config = config
        self.matrices = [(name, p) for name, p in named if is_matrix(name, p)]
        self.momentum = {name: torch.zeros_like(p) for name, p in self.matrices}
        rest = [(name, p) for name, p in named if not is_matrix(name, p)]
        adamw = AdamWConfig(kind="adamw", betas=config.betas, eps=config.eps, weight_decay=config.weight_decay)
        self.rest = AdamW(rest, adamw)

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """Update every parameter that has a gradient."""
        self.rest.step(lr)
        by_shape: dict[tuple[int, ...], list[tuple[Tensor, Tensor]]] = {}
        for name, parameter in self.matrices:
            if parameter.grad is None:
                continue
            momentum = self.momentum[name].lerp_(parameter.grad, 1 - self.config.momentum)
            wanted = parameter.grad.lerp(momentum, self.config.momentum)  # Nesterov's look ahead
            stack = as_matrices(name, parameter)
            by_shape.setdefault(tuple(stack.shape[1:]), []).append((stack, wanted.view_as(stack)))
        for (rows, columns), pairs in by_shape.items():
            update = orthogonal(torch.cat([wanted for _, wanted in pairs]), self.config.newton_schulz_steps)
            scale = lr * RMS * max(rows, columns) ** 0.5
            for (stack, _), part in zip(pairs, update.split([len(stack) for stack, _ in pairs]), strict=True):
                stack.mul_(1 - lr * self.config.weight_decay).sub_(part.to(stack.dtype), alpha=scale)

    def zero_grad(self) -> None:
        self.rest.zero_grad()
        for _, parameter in self.matrices:
            parameter.grad = None

    def state_dict(self) -> dict[str, Tensor]:
        """Give the state as tensors: `momentum.<parameter>`, and AdamW's for the rest."""
        return {f"momentum.{name}": value for name, value in self.momentum.items()} | self.rest.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Copy a state in. Raises KeyError, RuntimeError when names or shapes differ."""
        copy_state(self.state_dict(), state)


def as_matrices(name: str, parameter: Tensor) -> Tensor:
    """View a parameter as (N, R, C): experts are a stack already, fused matrices are cut into their parts."""
    if parameter.ndim == 3:
        return parameter
    parts = next((n for end, n in PARTS.items() if name.endswith(f".{end}")), 1)
    return parameter.view(parts, -1, parameter.shape[1])


def orthogonal(x: Tensor, n_steps: int) -> Tensor:
    """Bring every singular value of x (N, R, C) near 1 by Newton-Schulz, all matrices at once → (N, R, C).

    Singular values end between about .7 and 1.2, which serves as well as 1.
    """
    a, b, c = COEFFICIENTS
    wide = x.shape[1] <= x.shape[2]
    x = x if wide else x.mT
    x = x.bfloat16() if x.is_cuda else x
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(n_steps):
        gram = x @ x.mT  # (N, R, R), R the smaller side
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x if wide else x.mT
