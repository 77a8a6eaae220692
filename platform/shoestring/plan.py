"""Plan a file: read the spec, the data set's facts, the prices and this machine's calibration, then price all runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shoestring_trainer.config import DataConfig, Source
from shoestring_trainer.manifest import read_manifest

from shoestring.calibration import machine, read_calibration, usable_cores
from shoestring.cost import Costs, assumed_flops_per_s
from shoestring.errors import EnvironmentProblem, Fault, NotFound, SpecInvalid
from shoestring.faults import at, did_you_mean, distinct
from shoestring.file_plan import FilePlan, SweepPlan
from shoestring.garbage import uncollected
from shoestring.home import Home
from shoestring.prices import PriceRow, read_prices
from shoestring.provenance import code_digest, hardware
from shoestring.request import Request
from shoestring.resolve import Facts, SweepRequest, resolve, resolve_sweeps
from shoestring.run_plan import PlanRefused, RunPlan, extend_plan, plan_request
from shoestring.sets import DescribedSet
from shoestring.spec import Spec, read_spec, spec_from_text
from shoestring.yaml_source import Node

__all__ = [
    "FilePlan", "PlanRefused", "RunPlan", "Survey", "SweepPlan",
    "extend_plan", "plan_file", "plan_request", "plan_text", "read_costs", "read_data", "survey",
]  # fmt: skip


@dataclass(frozen=True)
class Survey:
    """A spec with everything that its requests and prices depend on."""

    home: Home
    spec: Spec
    facts: Facts
    costs: Costs
    requests: tuple[Request, ...]
    sweeps: tuple[SweepRequest, ...]

    def sweep(self, name: str) -> SweepRequest:
        """The sweep called `name`. Raises NotFound."""
        found = next((s for s in self.sweeps if s.name == name), None)
        if found is None:
            hint = did_you_mean(name, [s.name for s in self.sweeps]) or "the file has no `sweeps`"
            raise NotFound(f"{self.spec.file} has no sweep {name!r}", hint)
        return found


@uncollected()
def survey(path: Path, home: Home | None = None, described: bool = False) -> Survey:
    """Read everything that planning `path` needs; `described`: sets that are not built may stand as `sets` says.

    Raises SpecInvalid, EnvironmentProblem, NotFound.
    """
    return _survey(read_spec(path), home or Home.find(path.resolve().parent), described)


def _survey(spec: Spec, home: Home, described: bool) -> Survey:
    costs = read_costs(home, spec)
    named = {stage.data for experiment in spec.experiments for stage in experiment.spec.stages if stage.data}
    library = Library(home, spec.top.sets, described)
    sets = tuple(library.read(name) for name in sorted(named))
    facts = Facts(_drawn_from(library, spec), code_digest(), costs.row.device, sets)
    return Survey(home, spec, facts, costs, tuple(resolve(spec, facts)), tuple(resolve_sweeps(spec, facts)))


@uncollected()
def plan_file(path: Path, home: Home | None = None, only: Sequence[str] = (), described: bool = False) -> FilePlan:
    """Price every run of the file, or those of the experiments named in `only` (then without sweeps).

    `described`: sets that are not built may stand as `sets` says; such a plan is to look at, not to submit.
    Raises SpecInvalid, EnvironmentProblem, NotFound.
    """
    return _plan(survey(path, home, described), only)


@uncollected()
def plan_text(text: str, file: str, home: Home, described: bool = False) -> FilePlan:
    """`plan_file` of a spec given as text, as if it stood in `file` under the project's root."""
    return _plan(_survey(spec_from_text(text, home.root, file), home, described), ())


def _plan(surveyed: Survey, only: Sequence[str]) -> FilePlan:
    spec, costs = surveyed.spec, surveyed.costs
    known = {name for r in surveyed.requests for name in (r.experiment, r.name)}
    for name in only:
        if name not in known:
            raise NotFound(f"{spec.file} has no experiment {name!r}", did_you_mean(name, known))
    chosen = [r for r in surveyed.requests if not only or r.experiment in only or r.name in only]
    faults: list[Fault] = []
    runs = [plan for request in chosen if (plan := _priced(spec, request, costs, faults))]
    sweeps = [
        SweepPlan(sweep, trial)
        for sweep in ([] if only else surveyed.sweeps)
        if (trial := _priced(spec, sweep.base, costs, faults, sweep.name))
    ]
    faults += [fault for run in runs if (fault := _cap_fault(spec, run))]
    if faults:
        raise SpecInvalid(distinct(faults))
    return FilePlan(
        file=spec.file,
        project=spec.top.project,
        runs=tuple(runs),
        sweeps=tuple(sweeps),
        max_usd=spec.max_usd,
        warnings=tuple(_warnings(costs, runs)),
        unbuilt=tuple(name for name in spec.top.sets if not (surveyed.home.data / name / "manifest.json").is_file()),
    )


def read_data(home: Home, name: str) -> DataConfig:
    """The facts of the data set data/<name>. Raises EnvironmentProblem when it is not built."""
    try:
        return read_manifest(home.data / name)
    except FileNotFoundError:
        hint = (
            "run `dvc repro`, or `python -m shoestring_trainer.prepare.procedural data/procedural-16` for the tiny set"
        )
        raise EnvironmentProblem(f"data set {name!r} is not built (no data/{name}/manifest.json)", hint) from None
    except ValueError as error:
        raise EnvironmentProblem(str(error), "run `dvc repro`") from None


@dataclass(frozen=True)
class Library:
    """Where the sets of a file come from: built ones, and if `described` is true those that the file describes."""

    home: Home
    sets: Mapping[str, DescribedSet]
    described: bool

    def read(self, name: str) -> DataConfig:
        """The facts of a set; what is built counts. Raises EnvironmentProblem."""
        folder = self.home.data / name
        if name not in self.sets or (folder / "manifest.json").is_file():
            return read_data(self.home, name)
        if not self.described:
            what = f"data set {name!r} is described in the file, not built (no data/{name}/manifest.json)"
            raise EnvironmentProblem(what, "`shoestring plan` prices it as it is; to run it, build it: data/README.md")
        return self.sets[name].as_data(name, folder)


def _drawn_from(library: Library, spec: Spec) -> DataConfig:
    """The file's data: one set, or several drawn from by weight. Raises SpecInvalid, EnvironmentProblem."""
    main, sources = library.read(spec.top.data), spec.top.sources
    if not sources:
        return main
    faults = []
    place = spec.root.nearest(("sources",))
    if spec.top.data not in [source.data for source in sources]:
        what = f"`data` {spec.top.data!r}, which is validated on, is not among the sources"
        faults.append(at(spec.file, place, "invalid_value", what, "add it, or name one of the sources as `data`"))
    parts = []
    for index, source in enumerate(sources):
        found = library.read(source.data)
        differs = [f for f in ("shape", "space", "caption_dim") if getattr(found, f) != getattr(main, f)]
        if differs:
            what = f"{source.data} has another {' and '.join(differs)} than {main.name}"
            hint = "sets that are drawn from together share shape and encoders"
            faults.append(at(spec.file, place.nearest((index, "data")), "does_not_fit", what, hint))
        facts = found.model_dump(include={"path", "name", "digest", "n_train"})
        parts.append((found, Source(**facts, weight=source.weight, origin=source.origin)))
    if faults:
        raise SpecInvalid(distinct(faults))
    return mixed(main, sorted(parts, key=lambda part: part[1].name != main.name))


def mixed(main: DataConfig, parts: Sequence[tuple[DataConfig, Source]]) -> DataConfig:
    """One description of several sets, the first of which is `main`."""
    total = sum(source.weight for _, source in parts)
    tokens = sum(data.caption_tokens * source.weight for data, source in parts) / total
    content = [(source.digest, source.weight / total, source.origin) for _, source in parts]
    return main.model_copy(
        update={
            "digest": hashlib.sha256(json.dumps(content).encode()).hexdigest(),
            "n_train": sum(source.n_train for _, source in parts),
            "caption_tokens": tokens,
            "sources": tuple(source for _, source in parts),
        }
    )


def read_costs(home: Home, spec: Spec) -> Costs:
    """The price row that the spec names, and what is known of that hardware's speed. Raises SpecInvalid."""
    rows, name = read_prices(home.root), spec.top.hardware
    if name not in rows:
        place = spec.root.nearest(("hardware",))
        what = f"no price row is called {name!r}"
        raise SpecInvalid([at(spec.file, place, "unknown_hardware", what, did_you_mean(name, rows))])
    return costs_of(home, name, rows[name])


def costs_of(home: Home, name: str, row: PriceRow) -> Costs:
    """A row of the catalogue with what was measured on this machine."""
    calibration = read_calibration(home.calibrations, machine(hardware()))
    return Costs(name, row, calibration, assumed_flops_per_s(usable_cores()))


def _priced(
    spec: Spec, request: Request, costs: Costs, faults: list[Fault], sweep: str | None = None
) -> RunPlan | None:
    try:
        return plan_request(request, costs)
    except PlanRefused as error:
        place = _written(spec, request, error.path, sweep)
        faults.append(at(spec.file, place, error.code, error.bare_message, error.hint))
        return None


def _written(spec: Spec, request: Request, path: str, sweep: str | None) -> Node:
    """Where the field was written: in the sweep, or in the experiment and what it inherits."""
    parts = path.split(".")
    node = spec.root.nearest(("sweeps", sweep)) if sweep else spec.root
    if sweep and node.get(parts[0]):
        return node.nearest(parts)
    experiment = spec.experiment(request.experiment)
    return experiment.node.nearest(parts) if experiment else node


def _cap_fault(spec: Spec, run: RunPlan) -> Fault | None:
    """A cap that stops the run before its first checkpoint: every attempt would start again from nothing."""
    cap = run.request.max_usd
    every = run.config.checkpoints.every_steps
    first = run.config.planned_usd_at(min(every, run.n_steps))
    if cap is None or cap >= first + run.closing_usd:
        return None
    place = _written(spec, run.request, "budget.max_usd", None)
    what = f"${cap:g} stops {run.name} before its first checkpoint, at ${first + run.closing_usd:.2g}"
    return at(spec.file, place, "budget_below_checkpoint", what, "raise it, or checkpoint more often")


def _warnings(costs: Costs, runs: Sequence[RunPlan]) -> list[str]:
    how = "" if not costs.row.local else "; `shoestring calibrate` measures this machine"
    warnings = [f"{note}{how}" for note in dict.fromkeys(run.note for run in runs if not run.calibrated)]
    for run in runs:
        cap = run.request.max_usd
        if cap is not None and cap < run.usd.p50:
            warnings.append(f"{run.name}: budget.max_usd ${cap:g} is below the plan ${run.usd.p50:.5f}; it will pause")
        epochs = run.images / run.request.data.n_train
        if epochs > 200:
            warnings.append(f"{run.name}: sees each training image {epochs:.0f} times")
    return warnings
