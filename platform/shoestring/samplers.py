"""The samplers a sweep may name: Optuna's own, and short names; their options, and what they can search."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Literal, NamedTuple

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic_core import PydanticCustomError
from shoestring_trainer.config import Frozen


class Kind(NamedTuple):
    """One sampler: Optuna's class, the options that a file may set, and what it needs or cannot do."""

    optuna: str
    options: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()  # packages besides Optuna
    objectives: int = 3  # at most so many
    one_seed: bool = False  # its points are one sequence: its seed must not change from trial to trial


SAMPLERS = {
    "tpe": Kind("TPESampler", ("n_startup_trials", "n_ei_candidates", "multivariate", "group", "constant_liar")),
    "random": Kind("RandomSampler"),
    "nsga2": Kind("NSGAIISampler", ("population_size", "mutation_prob", "crossover_prob", "swapping_prob")),
    "nsga3": Kind("NSGAIIISampler", ("population_size", "mutation_prob", "crossover_prob", "swapping_prob")),
    "gp": Kind("GPSampler", ("n_startup_trials", "deterministic_objective"), needs=("torch", "scipy")),
    "cmaes": Kind(
        "CmaEsSampler",
        ("n_startup_trials", "sigma0", "popsize", "use_separable_cma", "with_margin", "lr_adapt"),
        needs=("cmaes",),
        objectives=1,
    ),
    "grid": Kind("GridSampler", one_seed=True),
    "qmc": Kind("QMCSampler", ("qmc_type", "scramble"), needs=("scipy",), one_seed=True),
}
SHORT = {kind.optuna: name for name, kind in SAMPLERS.items()}


def importable() -> dict[str, Kind]:
    """The samplers whose packages are installed here, by short name."""
    return {name: kind for name, kind in SAMPLERS.items() if all(find_spec(package) for package in kind.needs)}


class SamplerSpec(Frozen):
    """Which sampler proposes, by its short name or Optuna's, and its options."""

    name: str = "tpe"
    n_startup_trials: int | None = Field(default=None, ge=1, le=10_000)
    n_ei_candidates: int | None = Field(default=None, ge=1, le=10_000)
    multivariate: bool | None = None
    group: bool | None = None
    constant_liar: bool | None = None
    population_size: int | None = Field(default=None, ge=2, le=10_000)
    mutation_prob: float | None = Field(default=None, ge=0, le=1)
    crossover_prob: float | None = Field(default=None, ge=0, le=1)
    swapping_prob: float | None = Field(default=None, ge=0, le=1)
    deterministic_objective: bool | None = None
    sigma0: float | None = Field(default=None, gt=0, le=1e9)
    popsize: int | None = Field(default=None, ge=2, le=10_000)
    use_separable_cma: bool | None = None
    with_margin: bool | None = None
    lr_adapt: bool | None = None
    qmc_type: Literal["sobol", "halton"] | None = None
    scramble: bool | None = None

    @model_validator(mode="before")
    @classmethod
    def _by_name_alone(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _known_and_its_own(self) -> SamplerSpec:
        from shoestring.faults import did_you_mean

        short = SHORT.get(self.name, self.name)
        here = importable()
        if short in SAMPLERS and short not in here:
            lacks = " and ".join(package for package in SAMPLERS[short].needs if not find_spec(package))
            raise _bad("bad_choice", f"{self.name} needs the package {lacks}", f"one of: {', '.join(here)}")
        if short not in here:
            known = [*here, *(kind.optuna for kind in here.values())]
            raise _bad("bad_choice", f"no sampler is called {self.name!r}", did_you_mean(self.name, known))
        for option in self.options:
            if option not in here[short].options:
                own = did_you_mean(option, here[short].options) or "it has no options"
                raise _bad("bad_search", f"{option}: {here[short].optuna} has no such option", own)
        if self.group and self.multivariate is False:
            raise _bad("bad_search", "group: needs multivariate", "multivariate: true, or drop `group`")
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        whole = handler(core)
        handler.resolve_ref_schema(whole)["properties"]["name"]["enum"] = [*SAMPLERS, *SHORT]
        return {"anyOf": [{"enum": [*SAMPLERS, *SHORT]}, whole]}

    @property
    def short(self) -> str:
        return SHORT.get(self.name, self.name)

    @property
    def kind(self) -> Kind:
        return SAMPLERS[self.short]

    @property
    def options(self) -> dict[str, Any]:
        """What the file sets, for Optuna."""
        options = self.model_dump(exclude={"name"}, exclude_none=True)
        return {**options, "multivariate": True} if options.get("group") else options


def _bad(code: str, message: str, hint: str) -> PydanticCustomError:
    return PydanticCustomError(code, "{message}", {"message": message, "hint": hint})  # type: ignore[arg-type]
