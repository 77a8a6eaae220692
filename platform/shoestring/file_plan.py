"""A file's runs and sweeps, priced, and what they sum to. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shoestring.halving import share_of_full
from shoestring.ranges import NOTHING, ZERO, Needs, Range
from shoestring.resolve import SweepRequest
from shoestring.run_plan import RunPlan


@dataclass(frozen=True)
class SweepPlan:
    """A sweep, priced by its base: one trial, and all that are asked for or affordable."""

    sweep: SweepRequest
    trial: RunPlan

    @property
    def needs(self) -> Needs:
        """All trials, as far as rungs let them, at most the sweep's budget."""
        one, n, rungs = self.trial.needs, self.sweep.trials, self.sweep.spec.rungs
        share = share_of_full(rungs.usd, rungs.keep, n) if rungs else (1.0, 1.0, 1.0)
        usd = one.usd.times(n).part(*share).at_most(self.sweep.max_usd)
        usd_per_hour = one.usd.p50 / one.hours.p50
        most_hours = self.sweep.max_usd / usd_per_hour if self.sweep.max_usd and usd_per_hour else None
        return Needs(one.hours.times(n).part(*share).at_most(most_hours), usd, one.memory_bytes)

    @property
    def usd(self) -> Range:
        return self.needs.usd

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.sweep.name,
            "trials": self.sweep.trials,
            "trial_usd": self.trial.usd.as_json(),
            "usd": self.usd.as_json(),
            "forecast": self.needs.as_json(),
            "max_usd": self.sweep.max_usd,
        }


@dataclass(frozen=True)
class FilePlan:
    """All runs of a file, priced, and its sweeps. `totals` are of the runs."""

    file: str
    project: str
    runs: tuple[RunPlan, ...]
    sweeps: tuple[SweepPlan, ...]
    max_usd: float | None
    warnings: tuple[str, ...] = ()
    unbuilt: tuple[str, ...] = ()  # sets that are only described

    @property
    def needs(self) -> Needs:
        """Of all runs, one after the other; sweeps apart."""
        return sum((run.needs for run in self.runs), NOTHING)

    @property
    def usd(self) -> Range:
        return sum((run.usd for run in self.runs), ZERO)

    @property
    def usd_with_sweeps(self) -> Range:
        return sum((sweep.usd for sweep in self.sweeps), self.usd)

    @property
    def totals(self) -> dict[str, Any]:
        flop, gpu_hours = sum(run.flop for run in self.runs), sum(run.gpu_hours for run in self.runs)
        return {"flop": flop, "gpu_hours": gpu_hours, "usd": self.usd.as_json()}

    def as_json(self) -> dict[str, Any]:
        return {
            "file": self.file,
            "project": self.project,
            "runs": [run.as_json() for run in self.runs],
            "totals": self.totals,
            "forecast": self.needs.as_json(),
            "sweeps": [sweep.as_json() for sweep in self.sweeps],
            "budget": {"max_usd": self.max_usd},
            "warnings": list(self.warnings),
            "unbuilt": list(self.unbuilt),
        }
