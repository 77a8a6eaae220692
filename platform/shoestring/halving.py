"""What rungs leave of a sweep's dollars, by replaying who goes on. The same every time: its chance is seeded."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import lru_cache

from shoestring.rungs import Rung, choose

REPLAYS, LIKE = 21, 30  # sweeps replayed, and the most trials in each


@lru_cache(maxsize=64)
def share_of_full(usd: tuple[float, ...], keep: float, n_trials: int) -> tuple[float, float, float]:
    """A sweep's dollars over what they were if every trial reached the last rung: 10th, 50th and 90th percentile.

    `choose` replayed, one trial at a time, on REPLAYS random orders of at most LIKE trials (more change it little).
    """
    n, chance = min(n_trials, LIKE), random.Random(0)
    shares = sorted(_replayed(usd, keep, [chance.random() for _ in range(n)]) / (n * usd[-1]) for _ in range(REPLAYS))
    low, middle, high = (shares[round(part * (REPLAYS - 1))] for part in (0.1, 0.5, 0.9))
    return low, middle, high


def _replayed(usd: Sequence[float], keep: float, values: Sequence[float]) -> float:
    """Dollars of a sweep whose trials have these values at every rung."""
    found: list[dict[int, float | None]] = [{} for _ in usd[:-1]]
    gone_on: list[set[int]] = [set() for _ in usd[:-1]]
    spent, n_begun = 0.0, 0
    while True:
        rungs = [Rung(there, frozenset(there) - on, frozenset(on), 0) for there, on in zip(found, gone_on, strict=True)]
        if promoted := choose(rungs, keep, "minimize", len(values) - n_begun).promote:
            number, level = promoted[0]
            gone_on[level].add(number)
            spent += usd[level + 1] - usd[level]
            if level + 1 < len(found):
                found[level + 1][number] = values[number]
        elif n_begun < len(values):
            found[0][n_begun] = values[n_begun]
            spent, n_begun = spent + usd[0], n_begun + 1
        else:
            return spent
