"""How likely one experiment is better than another, from their seeds alone. Pure.

A parametric bootstrap: the mean of each experiment's seeds is drawn anew many times from what so few seeds leave open,
and the share of draws in which one is ahead is its probability. Seeds that both have are paired (the same data order,
noise and initial weights): then it is the mean of their differences that is drawn. The deviation is not taken as known
but drawn too (a mean of n normal values, centred on theirs, is Student's t with n − 1 degrees of freedom). Resampling
the seeds themselves instead says 100 % for half of all pairs of equals that have two seeds each: `docs/log.md`.

Without a second seed nothing is known of chance, and the probability is None.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from statistics import fmean, stdev
from typing import Any

import numpy as np

DRAWS, BOOTSTRAP_SEED = 20_000, 2407_15811
SURE = 0.975  # beyond it, on either side, a difference is real: 95 % two-sided, as for the places of a ranking
MIN_SEEDS = 2
PAIRS_UP_TO = 20  # of more experiments only the first is compared with each other one


@dataclass(frozen=True)
class Odds:
    """`a` beats `b` with probability `p` (None: it cannot be known); `paired`: so many seeds both have, 0 unpaired."""

    a: str
    b: str
    difference: float  # mean of a less mean of b, over the seeds that were used
    p: float | None
    seeds: tuple[int, int]
    paired: int

    @property
    def verdict(self) -> str:
        """`better`, `worse`, `within noise` or `unknown`."""
        if self.p is None:
            return "unknown"
        return "better" if self.p >= SURE else "worse" if self.p <= 1 - SURE else "within noise"

    def words(self) -> str:
        """One sentence."""
        if self.p is None:
            few = self.a if self.seeds[0] < MIN_SEEDS else self.b
            return f"{self.a} against {self.b}: cannot be known, {few} has one seed"
        how = f"{self.paired} seeds, paired" if self.paired else f"{self.seeds[0]} and {self.seeds[1]} seeds"
        noise = "; within the noise of these two" if self.verdict == "within noise" else ""
        return f"{self.a} beats {self.b} with probability {percent(self.p)} ({how}){noise}"

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "verdict": self.verdict}


def odds(a: tuple[str, Mapping[int, float]], b: tuple[str, Mapping[int, float]], way: str = "minimize") -> Odds:
    """Compare two experiments, each a name and its value by seed, at the same dollars."""
    (name_a, of_a), (name_b, of_b) = a, b
    both = sorted(of_a.keys() & of_b.keys())
    seeds = (len(of_a), len(of_b))
    if len(both) >= MIN_SEEDS:
        gaps = [of_a[seed] - of_b[seed] for seed in both]
        return Odds(name_a, name_b, fmean(gaps), _share_ahead(_means(gaps, 0), way), seeds, len(both))
    difference = fmean(of_a.values()) - fmean(of_b.values())
    if min(seeds) < MIN_SEEDS:
        return Odds(name_a, name_b, difference, None, seeds, 0)
    drawn = _means(list(of_a.values()), 0) - _means(list(of_b.values()), 1)
    return Odds(name_a, name_b, difference, _share_ahead(drawn, way), seeds, 0)


def all_odds(values: Sequence[tuple[str, Mapping[int, float]]], way: str = "minimize") -> tuple[Odds, ...]:
    """Every pair, in the order given; of many only those of the first."""
    firsts = len(values) if len(values) <= PAIRS_UP_TO else 1
    return tuple(odds(a, b, way) for i, a in enumerate(values[:firsts]) for b in values[i + 1 :])


def _means(values: Sequence[float], stream: int) -> np.ndarray:
    """What the mean might be, DRAWS times. (DRAWS,)"""
    return fmean(values) + stdev(values) / math.sqrt(len(values)) * _student(len(values) - 1, stream)


@cache
def _student(freedom: int, stream: int) -> np.ndarray:
    """The same draws for every pair, so that the same seeds give the same probability. (DRAWS,)"""
    return np.random.default_rng([BOOTSTRAP_SEED, stream]).standard_t(freedom, DRAWS)


def _share_ahead(drawn: np.ndarray, way: str) -> float:
    """The share of draws below zero (above, to maximize); ties count half."""
    ahead = drawn < 0 if way == "minimize" else drawn > 0
    return float((ahead.sum() + 0.5 * (drawn == 0).sum()) / len(drawn))


def percent(p: float) -> str:
    """97 %, and beyond 99 % or below 1 % no more than the draws can tell."""
    return "> 99 %" if p > 0.99 else "< 1 %" if p < 0.01 else f"{p:.0%}".replace("%", " %")
