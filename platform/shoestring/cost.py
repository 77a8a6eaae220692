"""Seconds and dollars of the pieces of a run: measured here, fitted from what was measured, or assumed. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from shoestring_trainer.config import NoMask, Price, Samples, TrainConfig
from shoestring_trainer.flops import forwards_per_picture

from shoestring.calibration import MIN_SPREAD, Calibration, Fit, Overheads, Work, fit, works
from shoestring.prices import PriceRow
from shoestring.request import Request

ASSUMED_CORE_FLOPS_PER_S = 20e9  # small fp32 models, one CPU core (recipe §4 saw 45e9 on larger ones)
ASSUMED_LOW, ASSUMED_HIGH = 0.5, 2.0  # p10 and p90 of a forecast that nothing was measured for
# Seconds beside the steps, as long as nothing is measured.
ASSUMED_STARTUP_S, ASSUMED_CHECKPOINT_S, ASSUMED_PICTURE_S = 6.0, 0.3, 0.02
ASSUMED_TEXT_ENCODER_S = 5.0  # to load it: 4.7 s of a core here
Z_90 = 1.28  # the 10th and 90th percentile of a normal distribution, in standard deviations

How = Literal["measured", "fitted", "assumed"]


@dataclass(frozen=True)
class Estimate:
    """A number with its 10th and 90th percentile as factors, and where it comes from."""

    value: float
    low: float
    high: float
    how: How


@dataclass(frozen=True, eq=False)  # by identity: what was priced with it is remembered
class Costs:
    """All that is known of a machine's speed and price. `flops_per_s` is what is assumed where nothing is measured
    and the row has no peak."""

    name: str
    row: PriceRow
    calibration: Calibration
    flops_per_s: float
    _fits: dict[tuple[Any, ...], Fit | None] = field(default_factory=dict, init=False, repr=False)

    @property
    def price(self) -> Price:
        return self.row.price(self.name)

    def known(self, how: How, precision: str) -> str:
        """Where an estimate comes from, in words."""
        if how == "assumed":
            return self.assumption(precision)
        told = "calibrated" if how == "measured" else "fitted to this machine's calibration"
        taught = self.calibration.experience.words()
        return f"{told}, {taught}" if taught else told

    def assumption(self, precision: str) -> str:
        """What is assumed without a calibration, in words."""
        if peak := self.row.peak(precision):
            percent = 100 * self.row.assumed_utilisation
            return f"uncalibrated: assumed {percent:.1f} % of {peak:g} TFLOP/s"
        return f"uncalibrated: assumed {self.flops_per_s / 1e9:g} GFLOP/s"

    def usd(self, seconds: float, request: Request | TrainConfig) -> float:
        """Dollars of so many seconds on the wall."""
        return seconds * self.devices(request) * self.row.usd_per_hour / 3600

    def devices(self, request: Request | TrainConfig) -> int:
        """Devices that are paid for: every GPU, or the one machine."""
        return request.compute.processes if request.compute.device == "cuda" else 1

    def steps(self, works: Sequence[Work]) -> list[Estimate]:
        """Seconds of one step of each of these, the stages of a run."""
        return [self.step(work) for work in works]

    def step(self, work: Work) -> Estimate:
        """Seconds of one step of this kind."""
        measured = self.calibration.shapes.get(work.key) if self.row.local else None
        pace, seen = self.calibration.experience.pace, self.calibration.experience.spread
        if measured:
            width = Z_90 * max(MIN_SPREAD, measured.spread if seen is None else seen)
            return Estimate(measured.s_per_step * pace, 1 - min(width, 0.5), 1 + width, "measured")
        fitted = self._fit(work.kind) if self.row.local else None
        if fitted:
            width = Z_90 * fitted.spread
            return Estimate(fitted.seconds(work) * pace, 1 - min(width, 0.5), 1 + width, "fitted")
        return Estimate(work.flops / self._speed(work), ASSUMED_LOW, ASSUMED_HIGH, "assumed")

    def _fit(self, kind: tuple[Any, ...]) -> Fit | None:
        if kind not in self._fits:
            self._fits[kind] = fit(self.calibration, kind)
        return self._fits[kind]

    def _speed(self, work: Work) -> float:
        """Assumed FLOP/s of all processes together; processes of one machine share its cores."""
        peak = self.row.peak(work.compute.precision)
        one = peak * 1e12 * self.row.assumed_utilisation if peak else self.flops_per_s
        return one * (work.compute.processes if work.compute.device == "cuda" else 1)

    def overheads(self, request: Request | TrainConfig, full: Work) -> RunOverheads:
        """Seconds of everything in this run that is no step; `full` is its `full_work`."""
        per = self.calibration.overheads_of(full) if self.row.local else None
        if per is None:
            per_flop = 1 / self._speed(full)
            per = Overheads(ASSUMED_STARTUP_S, per_flop, per_flop, ASSUMED_PICTURE_S, ASSUMED_CHECKPOINT_S)
        else:
            per = per.scaled(self.calibration.experience.pace)
        evaluate, samples = request.evaluate, request.samples
        evaluation_s = evaluate.n_images * len(evaluate.sigmas) * full.forward_flops * per.s_per_val_flop
        grid_s = 0.0
        if samples:
            flops = forwards_per_picture(samples.sampler, samples.n_steps, samples.guidance) * full.forward_flops
            grid_s = len(samples.prompts) * (flops * per.s_per_sample_flop + per.s_per_sample_image)
        return RunOverheads(per.startup_s, evaluation_s, grid_s, per.s_per_checkpoint)

    def stage_overheads(self, request: Request | TrainConfig, works: Sequence[Work]) -> tuple[RunOverheads, ...]:
        """What `overheads` says in each stage: evaluations and grids are at the stage's own resolution."""
        return tuple(self.overheads(request, full_work(works[: index + 1])) for index in range(len(works)))

    def drawing(self, config: TrainConfig, step: int, samples: Samples) -> Estimate:
        """Seconds of drawing `samples` with the weights of a step, by a process of its own on one device.

        Prompts that are typed need the text encoder. Calibration times a grid in one batch, which is faster than one
        picture after the other, so the range stays that of an assumption.
        """
        index, _, _ = config.stage_at(min(max(0, step - 1), config.n_steps - 1))
        one = config.compute.model_copy(update={"processes": 1})
        full = replace(full_work(works(config)[: index + 1]), compute=one)
        overheads = self.overheads(config.model_copy(update={"samples": samples}), full)
        seconds = overheads.startup_s + ASSUMED_TEXT_ENCODER_S + overheads.grid_s
        how: How = "fitted" if self.row.local and self.calibration.overheads else "assumed"
        return Estimate(seconds, ASSUMED_LOW, ASSUMED_HIGH, how)


@dataclass(frozen=True)
class RunOverheads:
    """Seconds of starting, of one evaluation, one sample grid, one checkpoint."""

    startup_s: float
    evaluation_s: float
    grid_s: float
    checkpoint_s: float


def assumed_flops_per_s(cores: int) -> float:
    """FLOP/s of a machine whose peak the catalogue does not know, as long as nothing was measured."""
    return ASSUMED_CORE_FLOPS_PER_S * cores


def stage_works(request: Request) -> list[Work]:
    """The kind of step of each stage."""
    return works(request.probe())


def full_work(works: Sequence[Work]) -> Work:
    """The work with every token, as evaluation and sampling do it; at the resolution of the last of these stages."""
    return replace(works[-1], mask=NoMask(kind="none"))


def worst(estimates: Sequence[Estimate]) -> How:
    """The least known of several estimates."""
    order: tuple[How, ...] = ("measured", "fitted", "assumed")
    return max((e.how for e in estimates), key=order.index)
