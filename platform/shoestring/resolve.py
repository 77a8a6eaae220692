"""From a spec to requests: one per experiment, matrix point and seed; and the sweeps around them. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydantic import ValidationError
from shoestring_trainer.config import Compute, DataConfig

from shoestring.errors import Fault, SpecInvalid, UsageError
from shoestring.faults import at, did_you_mean, distinct, from_validation
from shoestring.request import Recipe, Request
from shoestring.spec import Experiment, Spec
from shoestring.spec_parts import Search, SweepSpec
from shoestring.yaml_source import shown

_RECIPE = set(Recipe.model_fields)
MAX_GRID = 10_000  # points: as many as a sweep may have trials


@dataclass(frozen=True)
class Facts:
    """What a request needs besides the spec: the data set's facts, the trainer's code, the device to compute on."""

    data: DataConfig
    code_digest: str
    device: str = "cpu"
    sets: tuple[DataConfig, ...] = ()  # those that stages name


@dataclass(frozen=True)
class Parameter:
    """One searched field: a range of whole or real numbers, or choices."""

    path: str
    low: float | int | None
    high: float | int | None
    log: bool
    step: float | int | None
    choices: tuple[Any, ...] | None
    integer: bool  # the field takes whole numbers only

    @property
    def grid(self) -> tuple[Any, ...] | None:
        """Every value, where they can be counted."""
        if self.choices is not None:
            return self.choices
        step = self.step or (1 if self.integer else None)
        if step is None or self.log:
            return None
        assert self.low is not None and self.high is not None
        n = int((self.high - self.low) / step + 1e-9) + 1
        return tuple(self.low + i * step for i in range(min(n, MAX_GRID + 1)))


@dataclass(frozen=True)
class SweepRequest:
    """A search, ready to propose trials: `base` already carries the sweep's own `until` and seed."""

    name: str
    project: str
    base: Request
    parameters: tuple[Parameter, ...]
    objectives: dict[str, str]  # metric → "minimize" | "maximize", in order
    max_usd: float | None
    trials: int
    seed: int
    spec: SweepSpec

    def trial(self, number: int, params: dict[str, Any]) -> Request:
        """The request of trial `number`. Raises UsageError when the values do not fit together."""
        request = self.base.with_params(params)
        return request.called(f"{self.name}/t{number}", experiment=f"{self.name[:56]}.t{number}")

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, **self.spec.model_dump(mode="json", exclude_none=True)}


def resolve(spec: Spec, facts: Facts) -> list[Request]:
    """One request per experiment × matrix point × seed, in the file's order. Raises SpecInvalid."""
    faults: list[Fault] = []
    requests = [
        request
        for experiment in spec.experiments
        for seed in experiment.spec.all_seeds
        if (request := _request(spec, experiment, seed, facts, faults))
    ]
    if faults:
        raise SpecInvalid(distinct(faults))
    return requests


def resolve_sweeps(spec: Spec, facts: Facts) -> list[SweepRequest]:
    """Every sweep of the file, its search tried at both ends of each parameter. Raises SpecInvalid."""
    faults: list[Fault] = []
    sweeps = [s for name in spec.top.sweeps if (s := _sweep(spec, name, facts, faults))]
    if faults:
        raise SpecInvalid(distinct(faults))
    return sweeps


def _request(spec: Spec, experiment: Experiment, seed: int, facts: Facts, faults: list[Fault]) -> Request | None:
    recipe = experiment.spec
    values = {field: getattr(recipe, field) for field in _RECIPE}  # validated already; what is new is checked below
    if "compute" not in recipe.model_fields_set or "device" not in recipe.compute.model_fields_set:
        values["compute"] = _on(recipe.compute, facts.device)
    values |= {
        "name": f"{experiment.name}/s{seed}",
        "experiment": experiment.name,
        "project": spec.top.project,
        "data": facts.data,
        "stage_sets": tuple(one for one in facts.sets if one.name in {stage.data for stage in recipe.stages}),
        "seed": seed,
        "hardware": spec.top.hardware,
        "code_digest": facts.code_digest,
        "tags": recipe.tags,
        "notes": recipe.notes,
        "priority": recipe.priority,
        "queue": recipe.queue,
        "resources": recipe.resources,
        "max_usd": recipe.budget.max_usd if recipe.budget else None,
    }
    try:
        return Request.model_validate(values, strict=True)
    except ValidationError as error:
        faults += from_validation(spec.file, experiment.node, error, Request)
        return None


@lru_cache(maxsize=64)
def _on(compute: Compute, device: str) -> Compute:
    return Compute.model_validate(compute.model_dump() | {"device": device}, strict=True)


def _sweep(spec: Spec, name: str, facts: Facts, faults: list[Fault]) -> SweepRequest | None:
    sweep, node = spec.top.sweeps[name], spec.root.nearest(("sweeps", name))
    experiment = spec.experiment(sweep.base)
    assert experiment is not None  # read_spec has checked
    base = _request(spec, experiment, sweep.seed, facts, faults)
    if base is None:
        return None
    if sweep.until is not None:
        base = base.with_param("until", sweep.until.model_dump())
    if sweep.rungs is not None:
        base = base.with_param("until", {"usd": sweep.rungs.usd[-1]})
    parameters = []
    for path, search in sweep.search.items():
        try:
            parameters.append(_parameter(base, path, search))
        except UsageError as error:
            place = node.nearest(("search", path))
            faults.append(at(spec.file, place, error.code, error.message, error.hint, key=True))
    if sweep.sampler and sweep.sampler.short == "grid" and (problem := _no_grid(parameters)):
        hint = "`choices` or a `step`, or another sampler"
        faults.append(at(spec.file, node.nearest(("sampler",)), "bad_search", problem, hint))
    max_usd = sweep.budget.max_usd if sweep.budget else None
    return SweepRequest(
        name=name,
        project=spec.top.project,
        base=base,
        parameters=tuple(parameters),
        objectives=dict(sweep.objectives),
        max_usd=max_usd,
        trials=sweep.trials,
        seed=sweep.seed,
        spec=sweep,
    )


def _no_grid(parameters: list[Parameter]) -> str:
    """Why these parameters make no grid; "" when they do."""
    grids = [p.grid for p in parameters]
    endless = [p.path for p, values in zip(parameters, grids, strict=True) if values is None]
    if endless:
        return f"a grid of {endless[0]} has no end"
    n_points = math.prod(len(values) for values in grids if values is not None)
    return f"the grid has more than {MAX_GRID:,} points" if n_points > MAX_GRID else ""


def _parameter(base: Request, path: str, search: Search) -> Parameter:
    """Try the values on the base request. Raises UsageError with what does not fit.

    Only what a recipe says may be searched: not the data's folder, nor the run's name.
    """
    first = path.split(".")[0]
    if first not in _RECIPE:
        raise UsageError(f"no field is called {shown(first)}", did_you_mean(first, _RECIPE), code="unknown_field")
    tried = [base.with_param(path, value) for value in (search.choices or search.ends)]
    integer = isinstance(value_at(tried[0], path), int)
    return Parameter(path, search.low, search.high, search.log, search.step, search.choices, integer)


def value_at(request: Request, path: str) -> Any:
    """The value at a dotted path of a request."""
    value: Any = request.model_dump()
    for part in path.split("."):
        value = value[int(part)] if isinstance(value, tuple | list) else value[part]
    return value
