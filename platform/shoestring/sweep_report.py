"""What a sweep found: the Pareto front, the best trial, what mattered, its rungs, and what the money bought."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from shoestring import queries
from shoestring.db import Database
from shoestring.home import Home
from shoestring.outcomes import constraint_values
from shoestring.ranking import Direction, pareto_front
from shoestring.records import Sweep, Trial
from shoestring.rungs import PRUNED
from shoestring.study import Study
from shoestring.sweep_state import at_rungs


@dataclass(frozen=True)
class RungRow:
    """One rung: how many trials came to it, how they left it, and its best."""

    usd: float
    reached: int
    went_on: int
    waiting: int
    pruned: int
    best: int | None  # trial number
    value: float | None


@dataclass(frozen=True)
class Report:
    """What a sweep's dollars bought."""

    sweep: str
    state: str
    objectives: dict[str, Direction]
    trials: list[Trial]
    front: list[int]  # trial numbers, cheapest first
    best: int | None  # trial with the best first objective, of those that keep the constraints
    importance: dict[str, float]
    spent_usd: float
    max_usd: float | None
    bought: str  # in words
    constraints: dict[str, float]
    broken: list[int]  # trials above a constraint
    earlier: list[int]  # trials of a warm start: paid before
    rungs: list[RungRow]
    pruned_usd: float

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def report(home: Home, db: Database, sweep: Sweep) -> Report:
    """Read a sweep's trials: Pareto front, best, importance of each parameter, rungs."""
    objectives: dict[str, Direction] = dict(sweep.spec["objectives"])
    limits: dict[str, float] = sweep.spec.get("constraints") or {}
    trials = queries.trials(db, sweep.id)
    own = queries.runs(db, sweep_id=sweep.id)
    done = [t for t in trials if t.state == "complete"]
    broken = broken_by(db, done, limits) if limits else []
    kept = [t for t in done if t.number not in broken]
    study = Study(home, sweep, (), list(objectives.values()), 0)
    spent_usd, best = sum(run.spent_usd for run in own), best_trial(kept, objectives)
    base = study.base()
    return Report(
        sweep=sweep.name,
        state=sweep.state,
        objectives=objectives,
        trials=trials,
        front=front_of(kept, objectives),
        best=best.number if best else None,
        importance=study.importance(),
        spent_usd=spent_usd,
        max_usd=sweep.max_usd,
        bought=bought(best, done, objectives, spent_usd, base) if best or not broken else "no trial keeps to "
        + " and ".join(f"{key} at most {limit:g}" for key, limit in limits.items()),
        constraints=limits,
        broken=broken,
        earlier=sorted(study.earlier()),
        rungs=rung_table(db, sweep, trials),
        pruned_usd=sum(run.spent_usd for run in own if run.reason.startswith(PRUNED)),
    )  # fmt: skip


def rung_table(db: Database, sweep: Sweep, trials: Sequence[Trial]) -> list[RungRow]:
    """How the trials fared at each rung of the sweep, and at its end; nothing without rungs."""
    metric, way = next(iter(dict(sweep.spec["objectives"]).items()))
    sign, rows = 1.0 if way == "minimize" else -1.0, []
    for usd, rung in at_rungs(db, sweep):
        found = {n: v for n, v in rung.values.items() if v is not None}
        best = min(found, key=lambda n: (sign * found[n], n), default=None)
        pruned = len(rung.values) - len(rung.waiting) - len(rung.gone_on)
        value = None if best is None else found[best]
        rows.append(RungRow(usd, len(rung.values), len(rung.gone_on), len(rung.waiting), pruned, best, value))
    if rows:
        ended = [t for t in trials if t.state == "complete"]
        last = best_trial(ended, {metric: way})
        top = (last.number, last.values[0]) if last else (None, None)
        rows.append(RungRow(sweep.spec["rungs"]["usd"][-1], len(ended), 0, 0, 0, *top))
    return rows


def broken_by(db: Database, done: Sequence[Trial], limits: dict[str, float]) -> list[int]:
    """Numbers of the trials that are above a limit."""
    broken = []
    for trial in done:
        excess = constraint_values(db, queries.run(db, trial.run_id), limits) if trial.run_id else None
        if excess is None or any(value > 0 for value in excess.values()):
            broken.append(trial.number)
    return broken


def front_of(done: Sequence[Trial], objectives: dict[str, Direction]) -> list[int]:
    """Trials on the Pareto front of dollars and the other objective; empty unless those are the two objectives."""
    if "cost/usd" not in objectives or len(objectives) != 2:
        return []
    money = list(objectives).index("cost/usd")
    points = [(t.values[money], t.values[1 - money]) for t in done]
    return [done[i].number for i in pareto_front(points, list(objectives.values())[1 - money])]


def best_trial(done: Sequence[Trial], objectives: dict[str, Direction]) -> Trial | None:
    """The finished trial with the best first objective; of equals, the first."""
    sign = 1.0 if next(iter(objectives.values())) == "minimize" else -1.0
    return min(done, key=lambda t: (sign * t.values[0], t.number), default=None)


def bought(
    best: Trial | None,
    done: Sequence[Trial],
    objectives: dict[str, Direction],
    spent_usd: float,
    base_number: int | None = 0,
) -> str:
    """What the money bought, in words: the best trial against the one that has the base's own values."""
    if best is None:
        return ""
    key = next(iter(objectives))
    text = f"${spent_usd:.5f} bought {key} {best.values[0]:.4g} (trial {best.number})"
    base = next((t for t in done if t.number == base_number), None)
    if base is None:
        return text + "; the base itself did not finish"
    if base.number == best.number:
        return text + ": the base itself, no trial was better"
    return text + f"; the base's own values give {base.values[0]:.4g}"
