"""What finished runs taught about this machine's speed since it was calibrated: a pace, and its uncertainty. Pure.

A calibration is a minute's look at a machine whose speed wanders for minutes (other tenants, heat). Every finished
run is another look, longer and of the real thing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

GAIN = 0.25  # of the newest run, once there are more; chosen on 40 runs (docs/cost.md)
PRIOR = 1  # runs that the calibration itself counts for
MOST = math.log(1.5)  # one run teaches no more than this: a laptop may have slept through it
KEPT, ENOUGH = 32, 8  # runs that are remembered, and those that a spread needs


@dataclass(frozen=True)
class Experience:
    """`ratios`: of each finished run, the oldest first, actual dollars over what the calibration alone forecast."""

    ratios: tuple[float, ...] = ()

    def after(self, ratio: float) -> Experience:
        """With one more run."""
        return Experience((*self.ratios, ratio)[-KEPT:])

    @cached_property
    def pace(self) -> float:
        """Factor on every calibrated second: the newest runs count most, none alone. 1 without any run."""
        return math.exp(self._paces()[-1])

    @cached_property
    def spread(self) -> float | None:
        """How far a run was from what the runs before it led to expect, relative; None after too few to say."""
        if len(self.ratios) < ENOUGH:
            return None
        misses = [math.log(ratio) - pace for ratio, pace in zip(self.ratios, self._paces(), strict=False)][1:]
        return math.sqrt(sum(miss * miss for miss in misses) / len(misses))

    def words(self) -> str:
        """What it says, "" when it says nothing."""
        if not self.ratios:
            return ""
        runs = "a finished run" if len(self.ratios) == 1 else f"{len(self.ratios)} finished runs"
        return f"× {self.pace:.2f} after {runs}"

    def _paces(self) -> list[float]:
        """Logarithms of the pace before the first run, and after each."""
        paces = [0.0]
        for n, ratio in enumerate(self.ratios, PRIOR + 1):
            miss = max(-MOST, min(MOST, math.log(ratio) - paces[-1]))
            paces.append(paces[-1] + max(GAIN, 1 / n) * miss)
        return paces
