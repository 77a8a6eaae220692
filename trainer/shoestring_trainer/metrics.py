"""What a set of pictures is worth, from features alone: KID, and retrieval of the caption. Pure tensor code.

N drawn pictures, M real ones, F features, E width of a caption embedding, Q captions to choose from
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

RIDGE_STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)


class Estimate(NamedTuple):
    """A number and its standard error."""

    value: float
    se: float


def kid(drawn: Tensor, real: Tensor) -> Estimate:
    """Estimate the kernel inception distance between features (N, F) and (M, F): unbiased MMD² (arXiv 1801.01401).

    Kernel (x·y/F + 1)³. The standard error is the two-sample delete-one jackknife's: leave out each drawn picture in
    turn, then each real one; the two variances add. It covers the choice of pictures, not the training run.
    """
    x, y = drawn.double(), real.double()
    n, m = len(x), len(y)
    assert n >= 2 and m >= 2 and x.shape[1] == y.shape[1], (x.shape, y.shape)
    xx, yy, xy = (_polynomial_kernel(a, b) for a, b in ((x, x), (y, y), (x, y)))
    row_xx, row_yy = xx.sum(1) - xx.diagonal(), yy.sum(1) - yy.diagonal()  # (N,), (M,): the others only
    sum_xx, sum_yy, sum_xy = row_xx.sum(), row_yy.sum(), xy.sum()

    def mmd(pairs_x: Tensor, n: int, pairs_y: Tensor, m: int, cross: Tensor) -> Tensor:
        return pairs_x / (n * (n - 1)) + pairs_y / (m * (m - 1)) - 2 * cross / (n * m)

    value = mmd(sum_xx, n, sum_yy, m, sum_xy)
    if min(n, m) < 3:
        return Estimate(float(value), float("nan"))
    without_x = mmd(sum_xx - 2 * row_xx, n - 1, sum_yy, m, sum_xy - xy.sum(1))  # (N,)
    without_y = mmd(sum_xx, n, sum_yy - 2 * row_yy, m - 1, sum_xy - xy.sum(0))  # (M,)
    variance = sum(float((len(left) - 1) * left.var(correction=0)) for left in (without_x, without_y))
    return Estimate(float(value), variance**0.5)


class Ridge(NamedTuple):
    """A linear map from features to caption embeddings, both standardised as the training pictures were."""

    mean: Tensor  # (F,)
    std: Tensor  # (F,)
    centre: Tensor  # (E,)
    weight: Tensor  # (F, E)

    def __call__(self, features: Tensor) -> Tensor:
        """Predict caption embeddings, less the mean caption: (N, F) → (N, E)."""
        return (features.double() - self.mean) / self.std @ self.weight


def fit_ridge(features: Tensor, embeddings: Tensor, strengths: tuple[float, ...] = RIDGE_STRENGTHS) -> Ridge:
    """Fit embeddings (N, E) from features (N, F); the strength is the one that predicts every fifth row best.

    A strength of 1 weighs the penalty like the average feature's own variance.
    """
    held = torch.arange(len(features)) % 5 == 0

    def error(strength: float) -> float:
        ridge = _solve(features[~held], embeddings[~held], strength)
        return float((ridge(features[held]) + ridge.centre - embeddings[held].double()).square().mean())

    return _solve(features, embeddings, min(strengths, key=error))


class Retrieval(NamedTuple):
    """How well captions are found from pictures: share found first, similarities, permutation p."""

    r1: float
    similarity: float
    similarity_shuffled: float
    p: float


def similarities(predicted: Tensor, captions: Tensor) -> Tensor:
    """Give the cosine of each predicted embedding (N, E) with each caption (Q, E): (N, Q)."""
    normalize = torch.nn.functional.normalize
    return normalize(predicted, dim=1) @ normalize(captions.double(), dim=1).T


def retrieval(
    predicted: Tensor, captions: Tensor, true: Tensor, generator: torch.Generator, n_shuffles: int = 2000
) -> Retrieval:
    """Compare predicted embeddings (N, E) with captions (Q, E), of which `true` (N,) are the right ones.

    R@1 is the share of pictures whose own caption is the most similar (cosine) of all Q. p is the share of shuffles
    of the captions among the pictures whose mean similarity reaches that of the matched ones (counting the match
    itself, so never 0).
    """
    table = similarities(predicted, captions)  # (N, Q)
    matched = table.gather(1, true[:, None]).mean()
    shuffles = torch.stack([torch.randperm(len(true), generator=generator) for _ in range(n_shuffles)])
    shuffled = torch.stack([table.gather(1, true[order][:, None]).mean() for order in shuffles])
    p = (1 + int((shuffled >= matched).sum())) / (1 + n_shuffles)
    return Retrieval(float((table.argmax(1) == true).double().mean()), float(matched), float(shuffled.mean()), p)


def _polynomial_kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3


def _solve(features: Tensor, embeddings: Tensor, strength: float) -> Ridge:
    x, y = features.double(), embeddings.double()
    mean, std, centre = x.mean(0), x.std(0).clamp(min=1e-6), y.mean(0)
    x, y = (x - mean) / std, y - centre
    penalty = strength * len(x) * torch.eye(x.shape[1], dtype=x.dtype)
    return Ridge(mean, std, centre, torch.linalg.solve(x.T @ x + penalty, x.T @ y))
