"""Tokens as the grid they were cut from: squares of them merged into one and split again, a depthwise convolution.

Shapes: B images, H×W tokens row by row (N = H·W), D wide.
"""

from __future__ import annotations

from torch import Tensor, nn

Grid = tuple[int, int]  # rows and columns of tokens


def merge_squares(x: Tensor, grid: Grid, side: int) -> Tensor:
    """Lay side×side neighbours side by side: (B, N, D) → (B, N/side², side²·D)."""
    rows, columns = grid
    x = x.unflatten(1, (rows // side, side, columns // side, side)).transpose(2, 3)
    return x.flatten(3).flatten(1, 2)


def split_squares(x: Tensor, grid: Grid, side: int) -> Tensor:
    """Undo `merge_squares`; `grid` is the finer one: (B, N/side², side²·D) → (B, N, D)."""
    rows, columns = grid
    x = x.unflatten(-1, (side, side, -1)).unflatten(1, (rows // side, columns // side))
    return x.transpose(2, 3).flatten(1, 4)  # from (B, H/side, W/side, side, side, D)


class Squares(nn.Module):
    """side×side neighbouring tokens, D wide, as one token of another width, and back."""

    def __init__(self, dim: int, merged_dim: int, side: int) -> None:
        super().__init__()
        self.side, square = side, side**2 * dim
        self.into = nn.Linear(square, merged_dim, bias=False)
        self.norm = nn.LayerNorm(merged_dim, eps=1e-6, bias=False)
        self.out = nn.Linear(merged_dim, square, bias=False)  # starts at zero (`initialise`)

    def merged_grid(self, grid: Grid) -> Grid:
        return grid[0] // self.side, grid[1] // self.side

    def merge(self, x: Tensor, grid: Grid) -> Tensor:
        """x (B, N, D) → (B, N/side², D_merged)."""
        return self.into(merge_squares(x, grid, self.side))

    def split(self, x: Tensor, grid: Grid) -> Tensor:
        """x (B, N/side², D_merged) → (B, N, D); `grid` is the finer one."""
        return split_squares(self.out(self.norm(x)), grid, self.side)


class DepthwiseConv(nn.Module):
    """x plus a 3×3 convolution of each channel over its grid, zeros around it; starts as x alone (`initialise`)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        """x (B, N, D) → (B, N, D)."""
        plane = x.transpose(1, 2).unflatten(2, grid)  # (B, D, H, W), the channels still beside each other in memory
        return x + self.conv(plane).flatten(2).transpose(1, 2)
