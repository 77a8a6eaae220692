"""What each run will be and cost, before anything runs: dollars become whole steps, frozen in a TrainConfig. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from pydantic import ValidationError
from shoestring_trainer.config import Stage, Start, TrainConfig
from shoestring_trainer.flops import TRAIN_PER_FORWARD

from shoestring.calibration import Work
from shoestring.cost import Costs, Estimate, How, full_work, stage_works, worst
from shoestring.errors import SPEC_INVALID, ShoestringError
from shoestring.memory import peak_bytes, uncertain
from shoestring.ranges import NOTHING, ZERO, Needs, Range
from shoestring.request import Every, Request
from shoestring.steps import Pace, Schedule, TooLittle


class PlanRefused(ShoestringError):
    """A request that cannot be priced as written; `path` is the field to change."""

    exit_code = SPEC_INVALID

    def __init__(self, path: str, message: str, hint: str, code: str) -> None:
        super().__init__(f"{path}: {message}", hint, code=code)
        self.path, self.bare_message = path, message


@dataclass(frozen=True)
class RunPlan:
    """One run, priced. `request` is what was asked for, `config` what the trainer gets."""

    request: Request
    config: TrainConfig
    spec_hash: str
    parameters: int
    tokens: int
    tokens_kept: tuple[int, ...]  # per stage
    forward_flops: tuple[dict[str, float], ...]  # per image, by component, per stage
    flops_per_image: tuple[float, ...]  # forward and backward, per stage
    steps: tuple[int, ...]  # per stage
    s_per_step: tuple[float, ...]  # per stage, overheads apart
    dense_flops_per_image: float  # the same model with every token, which a mask's speed-up is against
    dense_s_per_step: float
    dense_how: How
    images: int
    flop: float
    hours: float
    gpu_hours: float
    usd: Range
    stages: tuple[Needs, ...]  # the run's overheads spread over them
    dispatch_flop: float  # what the run would take more if experts were reached by one-hot products, as published
    unmasked_flop: float  # what it would take if every stage saw every token
    closing_usd: float  # what a pause costs: an evaluation and a checkpoint
    memory_bytes: dict[str, int]  # of the stage that needs most
    how: How
    note: str  # the calibration in words
    calibrated_at: str  # which calibration; "" for an assumption
    machine_pace: float  # what finished runs made of it: a factor on its seconds

    @property
    def name(self) -> str:
        return self.request.name

    @property
    def calibrated(self) -> bool:
        return self.how != "assumed"

    @property
    def n_steps(self) -> int:
        return sum(self.steps)

    @property
    def needs(self) -> Needs:
        return sum(self.stages, NOTHING)

    def as_json(self) -> dict[str, Any]:
        """Everything but the request and the config, which are stored beside it."""
        fields = {k: v for k, v in vars(self).items() if k not in ("request", "config")}
        return {
            "name": self.name,
            "experiment": self.request.experiment,
            "seed": self.request.seed,
            **fields,
            "usd": self.usd.as_json(),
            "stages": [stage.as_json() for stage in self.stages],
            "forecast": self.needs.as_json(),
            "backward_flops": [
                {part: (TRAIN_PER_FORWARD - 1) * count for part, count in parts.items()} for parts in self.forward_flops
            ],
            "n_steps": self.n_steps,
            "calibrated": self.calibrated,
            "hardware": self.config.price.hardware,
            "usd_per_hour": self.config.price.usd_per_hour,
            "every": {
                "evaluate": self.config.evaluate.every_steps,
                "samples": self.config.samples.every_steps if self.config.samples else None,
                "checkpoints": self.config.checkpoints.every_steps,
            },
        }


def plan_request(request: Request, costs: Costs) -> RunPlan:
    """Price one request. Raises PlanRefused when its dollars do not buy a step."""
    alike, usd_per_step, every = plan_alike(request.bare(), costs)
    config = _config(request, alike.steps, usd_per_step, every, costs)
    return replace(alike, request=request, config=config, spec_hash=request.spec_hash)


@lru_cache(maxsize=1024)
def plan_alike(request: Request, costs: Costs) -> tuple[RunPlan, tuple[float, ...], Every]:
    """The plan of all requests that are this one once bare, the dollars of a step of each stage, the cadences.

    It sees nothing but what is bare, so those of a file that differ in the rest are priced once. Raises PlanRefused.
    """
    works = stage_works(request)
    estimates = costs.steps(works)
    pace = _pace(request, costs, works, estimates)
    schedule = _schedule(request, pace, works)
    usd_per_step = tuple(_spread_over_steps(schedule, pace))
    config = _config(request, schedule.steps, usd_per_step, schedule.every, costs)
    return _run_plan(request, config, costs, works, estimates, schedule, ""), usd_per_step, schedule.every


def _config(
    request: Request, steps: Sequence[int], usd_per_step: Sequence[float], every: Every, costs: Costs
) -> TrainConfig:
    """The training job with these steps. Raises PlanRefused when they are more than it may have."""
    try:
        return request.to_config(steps, usd_per_step, every, costs.price)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise PlanRefused("until", f"{where}: {first['msg']}", "ask for less", "out_of_range") from None


def extend_plan(request: Request, winner: TrainConfig, start: Start, extra_usd: float, costs: Costs) -> RunPlan:
    """Plan `winner` trained on from `start` for `extra_usd` more, through its own stages once more.

    The new config begins with the stages already trained, as `Start` demands; the plan's dollars are the new ones.
    Raises PlanRefused.
    """
    total_usd = winner.planned_usd_at(winner.n_steps) + extra_usd
    request = request.with_param("until", {"usd": total_usd})
    works = stage_works(request)
    estimates = costs.steps(works)
    pace = _pace(request, costs, works, estimates, first=start.step)
    schedule = _buy(request, pace, extra_usd)
    usd_per_step = _spread_over_steps(schedule, pace)
    fresh = request.to_config(list(schedule.steps), usd_per_step, schedule.every, costs.price)
    added = [stage.model_copy(update={"warmup_steps": 0}) for stage in fresh.stages]  # the optimiser is warm
    stages: list[Stage] = [*winner.stages, *added]
    values = fresh.model_dump() | {"stages": [s.model_dump() for s in stages], "start": start.model_dump()}
    spec_hash = hashlib.sha256(f"{request.spec_hash} continues {start.step} {winner.name}".encode()).hexdigest()
    return _run_plan(request, TrainConfig.model_validate(values), costs, works, estimates, schedule, spec_hash)


def _pace(request: Request, costs: Costs, works: list[Work], estimates: list[Estimate], first: int = 0) -> Pace:
    overheads = costs.stage_overheads(request, works)
    return Pace(tuple(e.value for e in estimates), overheads, costs.usd(1.0, request), first)


def _schedule(request: Request, pace: Pace, works: list[Work]) -> Schedule:
    """The steps that `until` asks for. Raises PlanRefused."""
    until = request.until
    if until.usd is not None:
        return _buy(request, pace, until.usd)
    if until.hours is not None:
        return _last(request, pace, "hours", until.hours * 3600)
    if until.flops is not None:
        least = sum(work.flops for work in works)
        if until.flops < least:
            what = f"{until.flops:.3g} FLOPs; one step of each stage takes {least:.3g}"
            raise PlanRefused("until.flops", what, f"ask for at least {least:.3g}", "until_too_small")
        return pace.compute(request, until.flops, [work.flops for work in works])
    return pace.count(request, until.steps or (until.images or 0) // request.batch_size)


def _buy(request: Request, pace: Pace, usd: float) -> Schedule:
    if not pace.usd_per_s:
        what = f"{request.hardware} costs $0 an hour, so dollars buy no end"
        hint = "use until: {steps: …} or {hours: …}, or give the hardware a price"
        raise PlanRefused("until.usd", what, hint, "free_hardware")
    return _last(request, pace, "usd", usd / pace.usd_per_s)


def _last(request: Request, pace: Pace, field: str, asked_s: float) -> Schedule:
    """A run that lasts so long, as `field` of `until` asks."""
    try:
        return pace.buy(request, asked_s)
    except TooLittle as error:

        def shown(seconds: float) -> str:
            return f"${seconds * pace.usd_per_s:.2g}" if field == "usd" else f"{seconds / 3600:.2g} hours"

        what = (
            f"{shown(asked_s)} buys {asked_s:.3g} s; starting, one step of each stage, an evaluation and a "
            f"checkpoint take {error.needed_s:.3g} s ({shown(error.needed_s)})"
        )
        hint = f"ask for at least {shown(2 * error.needed_s)}, evaluate fewer images, or draw fewer samples"
        raise PlanRefused(f"until.{field}", what, hint, "until_too_small") from None


def _spread_over_steps(schedule: Schedule, pace: Pace) -> list[float]:
    """Dollars of a step of each stage, the run's overheads spread in proportion, so that they sum to the plan."""
    factor = schedule.seconds / schedule.training_s * pace.usd_per_s
    return [s * factor for s in pace.step_s]


def _run_plan(
    request: Request,
    config: TrainConfig,
    costs: Costs,
    works: list[Work],
    estimates: list[Estimate],
    schedule: Schedule,
    spec_hash: str,
) -> RunPlan:
    memory = [peak_bytes(work) for work in works]
    spread = schedule.seconds / schedule.training_s  # overheads in proportion to the steps' seconds
    hours = [
        Range(e.low, 1.0, e.high).times(n * e.value * spread / 3600)
        for n, e in zip(schedule.steps, estimates, strict=True)
    ]
    usd_per_hour = costs.usd(3600.0, request)
    stages = tuple(Needs(h, h.times(usd_per_hour), uncertain(m)) for h, m in zip(hours, memory, strict=True))
    images = [n * request.batch_size for n in schedule.steps]
    how = worst(estimates)
    dense = full_work(works)
    overheads = costs.overheads(request, dense)
    dense_step = costs.step(dense)
    flops_per_image = tuple(w.flops / request.batch_size for w in works)
    return RunPlan(
        request=request,
        config=config,
        spec_hash=spec_hash,
        parameters=dense.parameters,
        tokens=max(config.n_tokens_at(i) for i in range(len(works))),
        tokens_kept=tuple(w.mask.tokens_kept(config.n_tokens_at(i)) for i, w in enumerate(works)),
        forward_flops=tuple(w.forward_parts for w in works),
        flops_per_image=flops_per_image,
        steps=schedule.steps,
        s_per_step=tuple(e.value for e in estimates),
        dense_flops_per_image=dense.flops / request.batch_size,
        dense_s_per_step=dense_step.value,
        dense_how=dense_step.how,
        images=sum(images),
        flop=sum(n * f for n, f in zip(images, flops_per_image, strict=True)),
        hours=schedule.seconds / 3600,
        gpu_hours=schedule.seconds / 3600 * costs.devices(request),
        usd=sum((stage.usd for stage in stages), ZERO),
        stages=stages,
        dispatch_flop=sum(n * w.dispatch_flops for n, w in zip(images, works, strict=True)),
        unmasked_flop=sum(n * full_work([w]).flops / w.batch_size for n, w in zip(images, works, strict=True)),
        closing_usd=costs.usd(overheads.evaluation_s + overheads.checkpoint_s, request),
        memory_bytes=max(memory, key=lambda parts: sum(parts.values())),
        how=how,
        note=costs.known(how, request.compute.precision),
        calibrated_at="" if how == "assumed" else costs.calibration.measured_at,
        machine_pace=costs.calibration.experience.pace,
    )
