"""What a run as it is configured costs on other rows of the price catalogue, whether planned or past. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from shoestring_trainer.config import TrainConfig

from shoestring.calibration import Work, works
from shoestring.cost import Costs, How, worst
from shoestring.memory import peak_bytes, uncertain
from shoestring.prices import PriceRow
from shoestring.ranges import ZERO, Needs, Range
from shoestring.steps import times

SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True)
class Quote:
    """One run on one row: what it needs there, and whether its memory fits (None: the row does not say how much)."""

    run: str
    hardware: str
    needs: Needs
    spot_usd: Range | None
    fits: bool | None
    how: How
    note: str

    def as_json(self) -> dict[str, Any]:
        return {
            **vars(self),
            "needs": self.needs.as_json(),
            "spot_usd": vars(self.spot_usd) if self.spot_usd else None,
        }


@dataclass(frozen=True)
class Measured:
    """What a past run took: seconds on the wall, as its dollars at its price say, and FLOPs of the steps it reached."""

    hours: float
    usd: float
    flop: float

    @property
    def flops_per_s(self) -> float:
        return self.flop / (self.hours * SECONDS_PER_HOUR) if self.hours else 0.0


def measured(config: TrainConfig, step: int, spent_usd: float) -> Measured:
    """Of a run that reached `step` and cost `spent_usd`; its hours are nothing where an hour cost nothing."""
    devices = config.compute.processes if config.compute.device == "cuda" else 1
    usd_per_hour = config.price.usd_per_hour * devices
    counted = zip(steps_of(config, step), works(config), strict=True)
    flop = sum(n * work.flops for n, work in counted)
    return Measured(spent_usd / usd_per_hour if usd_per_hour else 0.0, spent_usd, flop)


def steps_of(config: TrainConfig, upto: int | None = None) -> list[int]:
    """Steps of each stage that the run does itself, as far as step `upto`."""
    first, end, found = config.start.step if config.start else 0, 0, []
    for stage in config.stages:
        begin, end = end, end + stage.steps
        last = end if upto is None else min(end, upto)
        found.append(max(0, last - max(begin, first)))
    return found


def quote(config: TrainConfig, costs: Costs, past: Measured | None = None) -> Quote:
    """Price a run's steps, evaluations, grids and checkpoints on `costs`' row.

    On the user's own machine a past run costs the hours that it took there.
    """
    config = moved(config, costs.row)
    jobs = works(config)
    peak = max((peak_bytes(work) for work in jobs), key=lambda parts: sum(parts.values()))
    hours, how, note = _forecast(config, costs, jobs)
    if past and past.hours and costs.row.local:
        hours, how, note = Range(past.hours, past.hours, past.hours), "measured", "as measured"
    row, devices = costs.row, costs.devices(config)
    memory = uncertain(peak)
    spot = None if row.spot_usd_per_hour is None else hours.times(row.spot_usd_per_hour * devices)
    needs = Needs(hours, hours.times(row.usd_per_hour * devices), memory)
    fits = None if row.memory_gb is None else memory.p50 <= row.memory_gb * 1e9
    return Quote(config.name, costs.name, needs, spot, fits, how, note)


def moved(config: TrainConfig, row: PriceRow) -> TrainConfig:
    """The run on another row's device; processes are of its own device, so on another there is one."""
    compute = config.compute
    if compute.device == row.device:
        return config
    compute = compute.model_copy(update={"device": row.device, "processes": 1})
    return config.model_copy(update={"compute": compute})


def _forecast(config: TrainConfig, costs: Costs, jobs: Sequence[Work]) -> tuple[Range, How, str]:
    estimates = [costs.step(work) for work in jobs]
    steps = steps_of(config)
    seconds = sum((Range(e.low, 1.0, e.high).times(n * e.value) for n, e in zip(steps, estimates, strict=True)), ZERO)
    extra, first = costs.stage_overheads(config, jobs), config.start.step if config.start else 0
    ends = [max(first, end) for end in itertools.accumulate(stage.steps for stage in config.stages)]

    def beside(every: int, each_s: Iterable[float]) -> float:
        return sum(k * s for k, s in zip(times(every, ends, first), each_s, strict=True))

    beside_s = extra[0].startup_s
    beside_s += beside(config.evaluate.every_steps, (stage.evaluation_s for stage in extra))
    beside_s += beside(config.checkpoints.every_steps, (stage.checkpoint_s for stage in extra))
    if config.samples:
        beside_s += beside(config.samples.every_steps, (stage.grid_s for stage in extra))
    spread = 1 + beside_s / seconds.p50  # as a plan has it: overheads are as uncertain as the steps
    how = worst(estimates)
    note = costs.known(how, config.compute.precision)
    if how == "assumed" and isinstance(costs.row.peak_tflops, dict):
        precision = config.compute.precision
        note += f" in {precision}" if precision in costs.row.peak_tflops else f" in fp32, there is no {precision}"
    return seconds.times(spread / SECONDS_PER_HOUR), how, note
