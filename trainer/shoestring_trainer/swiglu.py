"""The dense FFN, whose backward pass computes its gated product again instead of keeping it.

Autograd would keep silu(gate) and the product too: two more tensors as wide as the FFN, in every dense block. To
compute them again is elementwise and cost no seconds beyond the noise (`docs/log.md`).
Shapes: B images, N tokens, D wide, F inside.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function


class SwiGlu(nn.Module):
    """w3(silu(w1 x)·w2 x) (arXiv 2002.05202)."""

    def __init__(self, dim: int, ffn: int) -> None:
        super().__init__()
        self.w1 = nn.Linear(dim, ffn, bias=False)
        self.w2 = nn.Linear(dim, ffn, bias=False)
        self.w3 = nn.Linear(ffn, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, N, D) → (B, N, D)."""
        return _GatedProduct.apply(self.w1(x), self.w2(x), self.w3.weight)


class _GatedProduct(Function):
    """down·(silu(gate)·up) of gate and up (B, N, F), down (D, F); in the inputs' precision."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up, down)
        return F.linear(F.silu(gate).mul_(up), down)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (grad,) = grads  # (B, N, D)
        gate, up, down = ctx.saved_tensors
        silu = F.silu(gate)
        grad_product = grad @ down.to(grad.dtype)  # (B, N, F)
        grad_gate = torch.ops.aten.silu_backward(grad_product * up, gate)
        grad_up = grad_product.mul_(silu)
        grad_down = grad.flatten(0, -2).t() @ silu.mul_(up).flatten(0, -2)  # (D, F)
        return grad_gate, grad_up, grad_down.to(down.dtype)
