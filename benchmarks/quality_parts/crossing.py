"""When ours is as good as the paper's recipe was at its end: CPU-seconds, with an interval over seeds. Pure.

A curve is a list of (CPU-seconds, value); less is better.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence

Curve = Sequence[tuple[float, float]]
RESAMPLES = 2000


def crossing(curves: Sequence[Curve], value: float) -> float | None:
    """The fewest CPU-seconds at which any of these curves (of one seed, trained for different times) is at `value`.

    Linear between two evaluations; None when none gets there.
    """
    found = [at for curve in curves if (at := _first_at(curve, value)) is not None]
    return min(found, default=None)


def _first_at(curve: Curve, value: float) -> float | None:
    for number, (seconds, now) in enumerate(curve):
        if now <= value:
            if number == 0:
                return seconds
            before_s, before = curve[number - 1]
            return before_s + (seconds - before_s) * (before - value) / (before - now)
    return None


def ratio(paper: Sequence[Curve], ours: Sequence[Sequence[Curve]], seed: int = 0) -> dict[str, float | None]:
    """Ours' CPU-seconds at the paper's final value, over the paper's: of the mean over seeds, and its interval.

    `paper`: a curve a seed. `ours`: for each seed its curves. The interval is the 10th to 90th percentile of pairs of
    resampled seeds; None where ours does not get there (at an end of the interval: not in that share of resamples).
    """
    chance = random.Random(seed)
    drawn = []
    for _ in range(RESAMPLES):
        theirs, own = chance.choices(paper, k=len(paper)), chance.choices(ours, k=len(ours))
        drawn.append(_ratio(theirs, own))
    ordered = sorted(float("inf") if one is None else one for one in drawn)
    low, high = ordered[RESAMPLES // 10], ordered[-1 - RESAMPLES // 10]
    return {"ratio": _ratio(paper, ours), "low": _finite(low), "high": _finite(high)}


def _ratio(paper: Sequence[Curve], ours: Sequence[Sequence[Curve]]) -> float | None:
    value = statistics.fmean(curve[-1][1] for curve in paper)
    found = [crossing(curves, value) for curves in ours]
    reached = [at for at in found if at is not None]
    if len(reached) < len(found):
        return None
    return statistics.fmean(reached) / statistics.fmean(curve[-1][0] for curve in paper)


def _finite(value: float) -> float | None:
    return None if value == float("inf") else value
