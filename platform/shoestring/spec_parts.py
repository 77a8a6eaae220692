"""The fields a user may write in experiments.yaml, once `defaults`, `extends` and `matrix` are applied."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError
from shoestring_trainer.config import Frozen

from shoestring.request import Recipe
from shoestring.request_parts import Name, Seed, Until, Usd
from shoestring.resources import ANY_MACHINE, Resources
from shoestring.samplers import SamplerSpec
from shoestring.sets import DescribedSet

SPEC_VERSION = 1
Scalar = bool | int | float | str
Metric = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,32}/[a-z0-9_]{1,64}$")]


class Budget(Frozen):
    """A cap on actual dollars."""

    max_usd: Usd


class ExperimentSpec(Recipe):
    """One experiment: its recipe, and how it is repeated, shown and scheduled."""

    seed: Seed | None = Field(default=None, description="one seed; or several in `seeds`")
    seeds: tuple[Seed, ...] | None = Field(default=None, min_length=1, max_length=64)
    tags: tuple[Annotated[str, StringConstraints(min_length=1, max_length=64)], ...] = Field(default=(), max_length=32)
    notes: str = Field(default="", max_length=10_000)
    priority: int = Field(default=0, ge=-1000, le=1000, description="bigger is sooner; a point is an hour of waiting")
    queue: Name = Field(default="default", description="taken by workers that serve it alone: shoestring work --queue")
    resources: Resources = Field(default=ANY_MACHINE, description="the least that it needs of a machine")
    budget: Budget | None = Field(
        default=None, description="cap on this run's actual dollars; reaching it pauses the run"
    )

    @model_validator(mode="after")
    def _seeds_differ(self) -> ExperimentSpec:
        if self.seeds and len(set(self.seeds)) < len(self.seeds):
            raise PydanticCustomError("invalid_value", "seeds: one stands there twice", {"hint": "each seed once"})
        return self

    @property
    def all_seeds(self) -> tuple[int, ...]:
        return self.seeds or (self.seed or 0,)


class Search(Frozen):
    """Values of one parameter: `low` to `high`, or `choices`."""

    low: float | int | None = None
    high: float | int | None = None
    log: bool = False
    step: float | int | None = Field(default=None, gt=0)
    choices: tuple[Scalar, ...] | None = Field(default=None, min_length=1, max_length=100)

    @model_validator(mode="after")
    def _a_range_or_choices(self) -> Search:
        if self.choices is not None:
            if self.low is not None or self.high is not None or self.step is not None or self.log:
                raise _bad_search("choices are given and a range too", "write either `choices` or `low` and `high`")
            if len(set(self.choices)) < len(self.choices):
                raise _bad_search("choices: one stands there twice", "each choice once")
            return self
        if self.low is None or self.high is None:
            raise _bad_search("neither `choices` nor both `low` and `high` are given", "write one of them")
        if self.low > self.high:
            raise _bad_search(f"low {self.low} is above high {self.high}", "swap them")
        if self.log and (self.low <= 0 or self.step is not None):
            raise _bad_search("log needs low above 0 and no step", "raise `low` or drop `log`")
        if self.step is not None and (self.high - self.low) / self.step > 1e6:
            raise _bad_search(f"step {self.step} makes more than a million values", "use a larger step, or none")
        return self

    @property
    def ends(self) -> tuple[Any, Any]:
        """Two values that bound the cost of a trial, when cost grows with the parameter."""
        return (self.choices[0], self.choices[-1]) if self.choices else (self.low, self.high)

    def holds(self, value: Any) -> bool:
        """Whether the search could propose this value."""
        if self.choices is not None:
            return any(value == one and type(value) is type(one) for one in self.choices)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not self.low <= value <= self.high:
            return False
        steps = (value - self.low) / self.step if self.step else 0.0
        return abs(steps - round(steps)) < 1e-8

    @property
    def words(self) -> str:
        """Which values there are."""
        if self.choices is not None:
            return "one of " + ", ".join(map(str, self.choices))
        return f"{self.low} to {self.high}" + (f" in steps of {self.step}" if self.step else "")


def _bad_search(message: str, hint: str) -> PydanticCustomError:
    return PydanticCustomError("bad_search", "{message}", {"message": message, "hint": hint})


def searches(spec: Mapping[str, Any]) -> dict[str, Search]:
    """The search of a sweep as it is stored, by path."""
    found = spec.get("search")
    return {path: Search.model_validate(one) for path, one in found.items()} if isinstance(found, Mapping) else {}


class RungsSpec(Frozen):
    """Successive halving: planned dollars at which trials are compared; `keep` of them go on, the last is the end."""

    usd: tuple[Usd, ...] = Field(min_length=2, max_length=8, description="ascending; a trial ends at the last")
    keep: float = Field(default=1 / 3, gt=0, lt=1, description="share of the trials at a rung that go on")

    @model_validator(mode="after")
    def _ascending(self) -> RungsSpec:
        for below, above in itertools.pairwise(self.usd):
            if above <= below:
                raise _bad_search(f"usd: ${above:g} comes after ${below:g}", "each rung above the one before")
        return self


class SweepSpec(Frozen):
    """A search around one experiment: every trial is an ordinary run."""

    base: str = Field(description="name of the experiment that trials start from")
    search: dict[str, Search] = Field(min_length=1, max_length=16, description="dotted path of a field → its values")
    objectives: dict[Metric, Literal["minimize", "maximize"]] = Field(min_length=1, max_length=3)
    constraints: dict[Metric, float] | None = Field(
        default=None, min_length=1, max_length=8, description="metric → at most; a trial above it is never the best"
    )
    sampler: SamplerSpec | None = Field(default=None, description="what proposes: tpe unless written")
    budget: Budget | None = Field(default=None, description="cap on the actual dollars of all trials together")
    trials: int = Field(default=20, ge=1, le=10_000)
    until: Until | None = Field(default=None, description="where each trial ends; default: where the base ends")
    rungs: RungsSpec | None = Field(default=None, description="successive halving at equal planned dollars")
    enqueue: tuple[dict[str, Scalar], ...] | None = Field(
        default=None, min_length=1, max_length=100, description="points tried first, after the base's own"
    )
    warm_start: Literal[True] | tuple[int | str, ...] | None = Field(
        default=None, description="begin with earlier runs of this recipe: all, or of these run ids and sweep names"
    )
    seed: Seed = Field(default=0, description="of the search and of every trial")

    @model_validator(mode="after")
    def _goes_together(self) -> SweepSpec:
        sampler = self.sampler.kind if self.sampler else None
        if sampler and len(self.objectives) > sampler.objectives:
            hint = "one objective and `constraints`, or another sampler"
            raise _bad_search(f"sampler: {sampler.optuna} takes {sampler.objectives} objective", hint)
        if self.rungs and self.until:
            raise _bad_search("until: the last rung says where a trial ends", "drop `until`")
        if self.rungs and next(iter(self.objectives)).split("/")[0] not in ("val", "train"):
            first = next(iter(self.objectives))
            raise _bad_search(f"rungs: {first} is not known while a run trains", "val/loss as the first objective")
        for number, point in enumerate(self.enqueue or ()):
            for path, value in point.items():
                if path not in self.search:
                    raise _bad_search(f"enqueue.{number}: {path} is not searched", "only paths of `search`")
                if not self.search[path].holds(value):
                    raise _bad_search(f"enqueue.{number}: {path} {value} is outside its search", "widen the search")
        return self


class Showcase(Frozen):
    """The best experiment, trained on with its own stages until it has had this many planned dollars in all."""

    until: Until

    @model_validator(mode="after")
    def _in_dollars(self) -> Showcase:
        if self.until.usd is None:
            raise PydanticCustomError(
                "invalid_value", "until: the showcase is counted in usd", {"hint": "until: {usd: …}"}
            )
        return self


class SourceSpec(Frozen):
    """One of several data sets that are drawn from together."""

    data: Name
    weight: float = Field(default=1.0, gt=0, le=1e9, description="its share of the images is this over the sum of all")
    origin: Literal["real", "synthetic"] = "real"


class FileSpec(Frozen):
    """The top of experiments.yaml. Experiments and defaults are read apart, after they are merged."""

    version: Literal[1]
    project: Name
    data: Name = Field(description="an encoded data set: the folder data/<name>")
    sources: tuple[SourceSpec, ...] = Field(
        default=(),
        max_length=64,
        description="several sets drawn from by weight; `data`, one of them, is validated on",
    )
    sets: dict[Name, DescribedSet] = Field(
        default_factory=dict, max_length=64, description="data sets that are not built, described for `shoestring plan`"
    )
    hardware: Name = Field(default="this-machine", description="a price row (`shoestring prices` shows them)")
    budget: Budget | None = Field(
        default=None, description="everything in this file together; refused above it at submission"
    )
    defaults: dict[str, Any] | None = Field(
        default=None, description="fields for every experiment that does not write them"
    )
    experiments: dict[Name, Any] = Field(min_length=1, max_length=1000)
    sweeps: dict[Name, SweepSpec] = Field(default_factory=dict, max_length=100)
    showcase: Showcase | None = None
