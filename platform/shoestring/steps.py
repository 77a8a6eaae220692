"""Dollars, steps or images become whole steps per stage and whole cadences. Pure: seconds in, steps out."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from shoestring_trainer.config import MAX_STEPS

from shoestring.cost import RunOverheads
from shoestring.request import Every, Request
from shoestring.request_parts import Cadence

BISECTIONS = 64
FILL_STEPS = 100  # single steps tried before bisecting again
ROUNDS = 8


@dataclass(frozen=True)
class Schedule:
    """Whole steps of each stage, whole cadences, and the seconds of all of it."""

    steps: tuple[int, ...]
    every: Every
    seconds: float  # overheads included
    training_s: float


class TooLittle(Exception):
    """The seconds are too few to start up and do one step of each stage; `needed_s` would be enough."""

    def __init__(self, needed_s: float) -> None:
        super().__init__(f"{needed_s:.1f} s")
        self.needed_s = needed_s


def times(every: int, ends: Sequence[int], first: int = 0) -> list[int]:
    """How often a thing done every so many steps, and at the end, happens in each stage after step `first`.

    `ends` are the stages' last steps. What is due at one of them is that stage's.
    """
    counts = [end // every - begin // every for begin, end in itertools.pairwise((first, *ends))]
    counts[-1] += ends[-1] % every != 0
    return counts


@dataclass(frozen=True)
class Pace:
    """What a schedule is made from: of each stage the seconds of a step and of the rest, dollars of a second, the first
    step."""

    step_s: tuple[float, ...]
    overheads: tuple[RunOverheads, ...]
    usd_per_s: float
    first: int = 0

    def schedule(self, request: Request, steps: Sequence[int], asked_s: float | None = None) -> Schedule:
        """Price these steps. `asked_s` is what a run in dollars was asked to last."""
        n, startup_s = sum(steps), self.overheads[0].startup_s
        training_s = sum(k * s for k, s in zip(steps, self.step_s, strict=True))
        ends = [self.first + done for done in itertools.accumulate(steps)]

        def whole(cadence: Cadence | None, each_s: Iterable[float]) -> tuple[int, float]:
            if cadence is None:
                return 1, 0.0
            total_s = asked_s or startup_s + training_s  # in steps or images: about
            every = _every(cadence, n, total_s * self.usd_per_s)
            return every, sum(k * s for k, s in zip(times(every, ends, self.first), each_s, strict=True))

        evaluate, evaluate_s = whole(request.evaluate, (stage.evaluation_s for stage in self.overheads))
        samples, samples_s = whole(request.samples, (stage.grid_s for stage in self.overheads))
        checkpoints, checkpoints_s = whole(request.checkpoints, (stage.checkpoint_s for stage in self.overheads))
        seconds = startup_s + training_s + evaluate_s + samples_s + checkpoints_s
        every = Every(evaluate=evaluate, samples=samples, checkpoints=checkpoints)
        return Schedule(tuple(steps), every, seconds, training_s)

    def buy(self, request: Request, asked_s: float) -> Schedule:
        """The most steps for at most so many seconds, stages sharing those of training. Raises TooLittle.

        A step more can cost less: every .001 of 1,000 steps is 1,000 evaluations, every .001 of 1,001 is 501. So there
        are several numbers of steps that just fit; when filling steps over one of them, the next is looked for.
        """
        best = self.schedule(request, [1] * len(self.step_s), asked_s)
        if best.seconds > asked_s:
            raise TooLittle(best.seconds)
        for _ in range(ROUNDS):
            training_s = self._bisect(request, best.training_s, asked_s)
            split = self.schedule(request, self._split(request, training_s), asked_s)
            if self._fits(split, asked_s) and split.training_s > best.training_s:
                best = split
            best, is_full = self._fill(request, best, asked_s)
            if is_full:
                break
        return best

    def _fits(self, schedule: Schedule, asked_s: float) -> bool:
        return schedule.seconds <= asked_s and sum(schedule.steps) <= MAX_STEPS

    def _bisect(self, request: Request, low: float, asked_s: float) -> float:
        """Training seconds, more than `low`, that just fit when the stages share them; `low` where none were found."""
        high = min(asked_s, MAX_STEPS * max(self.step_s))
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            if self._fits(self.schedule(request, self._split(request, middle), asked_s), asked_s):
                low = middle
            else:
                high = middle
        return low

    def _split(self, request: Request, training_s: float) -> list[int]:
        """Whole steps of each stage out of so many training seconds, at least one each."""
        shares = zip(request.shares, self.step_s, strict=True)
        return [max(1, int(share * training_s / step_s + 1e-9)) for share, step_s in shares]

    def _fill(self, request: Request, best: Schedule, asked_s: float) -> tuple[Schedule, bool]:
        """Spend what rounding left: a step more for the stage that lags most behind its share, while it fits.

        Also says whether no step more fits; otherwise it has only tried often enough.
        """
        for _ in range(FILL_STEPS):
            lag = [
                share - n * s / best.training_s
                for share, n, s in zip(request.shares, best.steps, self.step_s, strict=True)
            ]
            for stage in sorted(range(len(lag)), key=lambda i: -lag[i]):
                more = [n + (i == stage) for i, n in enumerate(best.steps)]
                tried = self.schedule(request, more, asked_s)
                if self._fits(tried, asked_s):
                    best = tried
                    break
            else:
                return best, True
        return best, False

    def count(self, request: Request, n_steps: int) -> Schedule:
        """So many steps, stages sharing the steps."""
        steps = [max(1, int(share * n_steps + 1e-9)) for share in request.shares]
        steps[steps.index(max(steps))] += n_steps - sum(steps)
        return self.schedule(request, steps)

    def compute(self, request: Request, flops: float, flops_per_step: Sequence[float]) -> Schedule:
        """The most steps for at most so many FLOPs, stages sharing those."""
        shares = zip(request.shares, flops_per_step, strict=True)
        steps = [max(1, int(share * flops / each + 1e-9)) for share, each in shares]
        return self.schedule(request, [min(n, MAX_STEPS) for n in steps])


def _every(cadence: Cadence, n_steps: int, total_usd: float) -> int:
    """A cadence in whole steps of a run of `n_steps` that costs `total_usd`."""
    n_steps = min(n_steps, MAX_STEPS)
    if cadence.every_steps is not None:
        return min(cadence.every_steps, n_steps)
    if cadence.every_share is not None:
        return max(1, math.ceil(n_steps * cadence.every_share - 1e-9))
    assert cadence.every_usd is not None
    n_times = max(1, min(n_steps, int(total_usd / cadence.every_usd + 1e-9)))
    return max(1, math.ceil(n_steps / n_times))
