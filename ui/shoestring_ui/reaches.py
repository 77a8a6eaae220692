"""What a quality costs: the runs that reach it, by the dollars at which their curves first do. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from shoestring.ranking import Direction, usd_to_reach
from shoestring.records import Series


@dataclass(frozen=True)
class Reach:
    """One run, and the useful dollars at which it was first good enough."""

    run_id: int
    usd: float


@dataclass(frozen=True)
class Goal:
    """A quality asked for, and who reaches it, the cheapest first."""

    metric: str
    quality: float
    reaches: tuple[Reach, ...]

    @property
    def first(self) -> Reach | None:
        return self.reaches[0] if self.reaches else None


def goal_of(series: Sequence[Series], metric: str, way: Direction, quality: float) -> Goal:
    """Who of these reaches `quality`."""
    found = [Reach(s.run_id, usd) for s in series if (usd := usd_to_reach(s, quality, way)) is not None]
    return Goal(metric, quality, tuple(sorted(found, key=lambda one: (one.usd, one.run_id))))


def usual(series: Sequence[Series], way: Direction) -> float | None:
    """A quality worth asking for: what the second best ends at (of one, the best), in three digits that it reaches."""
    ends = sorted(s.value[-1] for s in series if s.value and math.isfinite(s.value[-1]))
    if way == "maximize":
        ends.reverse()
    return _eased(ends[min(1, len(ends) - 1)], way) if ends else None


def _eased(number: float, way: Direction) -> float:
    """Three significant digits, rounded to the side that is easier to reach."""
    if number == 0:
        return 0.0
    places = 2 - math.floor(math.log10(abs(number)))
    scaled = round(number * 10.0**places, 9)
    return round((math.ceil if way == "minimize" else math.floor)(scaled) / 10.0**places, max(places, 0))
