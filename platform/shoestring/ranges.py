"""A forecast number with its uncertainty: 10th, 50th and 90th percentile. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Range:
    """10th, 50th and 90th percentile of hours, dollars or bytes."""

    p10: float
    p50: float
    p90: float

    def __add__(self, other: Range) -> Range:
        """Sum as if both err together (they run on one machine), which is the careful side."""
        return Range(self.p10 + other.p10, self.p50 + other.p50, self.p90 + other.p90)

    def times(self, n: float) -> Range:
        return Range(n * self.p10, n * self.p50, n * self.p90)

    def part(self, low: float, middle: float, high: float) -> Range:
        """What is left where only a share counts, which has percentiles of its own."""
        return Range(low * self.p10, middle * self.p50, high * self.p90)

    def at_most(self, cap: float | None) -> Range:
        return self if cap is None else Range(min(self.p10, cap), min(self.p50, cap), min(self.p90, cap))

    def as_json(self) -> dict[str, float]:
        return {"p10": self.p10, "p50": self.p50, "p90": self.p90}


ZERO = Range(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Needs:
    """What a stage, a run, a sweep or a file will need: hours on the wall, dollars, bytes of memory at its peak."""

    hours: Range
    usd: Range
    memory_bytes: Range

    def __add__(self, other: Needs) -> Needs:
        """One after the other: hours and dollars add up, of the peaks the higher counts."""
        peak = max(self.memory_bytes, other.memory_bytes, key=lambda one: one.p50)
        return Needs(self.hours + other.hours, self.usd + other.usd, peak)

    def as_json(self) -> dict[str, dict[str, float]]:
        return {
            "hours": self.hours.as_json(),
            "usd": self.usd.as_json(),
            "memory_bytes": self.memory_bytes.as_json(),
        }


NOTHING = Needs(ZERO, ZERO, ZERO)
