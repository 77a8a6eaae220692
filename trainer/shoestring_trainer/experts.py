"""Expert choice (arXiv 2202.09368): each expert picks its tokens, so experts are always evenly loaded.

Shapes: B images, T tokens, D wide, E experts, k tokens per expert and image, F inside an expert.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shoestring_trainer.config import Experts
from shoestring_trainer.masking import rows_of
from shoestring_trainer.widths import tokens_per_expert


class ExpertChoice(nn.Module):
    """An FFN of `experts.count` two-layer experts that read gathered tokens (no one-hot dispatch of O(T²))."""

    def __init__(self, dim: int, ffn: int, experts: Experts) -> None:
        super().__init__()
        self.experts = experts
        self.router = nn.Linear(dim, experts.count, bias=False)
        self.w1 = nn.Parameter(torch.empty(experts.count, dim, ffn))
        self.w2 = nn.Parameter(torch.empty(experts.count, ffn, dim))

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, D) → (B, T, D); a token nobody picked gives 0."""
        batch, n_tokens, dim = x.shape
        k = tokens_per_expert(self.experts, n_tokens)
        probability = self.router(x).float().softmax(dim=-1)  # (B, T, E)
        weight, ids = probability.permute(2, 0, 1).topk(k, dim=-1, sorted=False)  # (E, B, k)
        rows = rows_of(ids, n_tokens)  # (E·B·k)
        picked = x.reshape(-1, dim).index_select(0, rows)  # (E·B·k, D)
        hidden = F.gelu(torch.bmm(picked.view(len(self.w1), -1, dim), self.w1))  # (E, B·k, F)
        answers = torch.bmm(hidden, self.w2).view(-1, dim) * weight.reshape(-1, 1).to(x.dtype)  # (E·B·k, D)
        out = answers.new_zeros(batch * n_tokens, dim)
        return out.index_add(0, rows, answers).view(batch, n_tokens, dim)
