"""How a sweep stands: its trials with their runs, and who is in at which rung. Read anew before every decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shoestring import queries
from shoestring.allowance import AT_REST
from shoestring.db import Database
from shoestring.records import Run, Series, Sweep, Trial
from shoestring.rungs import PRUNED, REASON, Rung, value_of


@dataclass(frozen=True)
class SweepState:
    """One look at a sweep."""

    own: list[Run]  # every run that the sweep has begun: what it pays
    runs: dict[int, Run]  # those of trials that Optuna was not told of, by number
    rungs: list[Rung]
    passed: Mapping[int, int]  # run → rungs that it was let through
    n_asked: int  # trials proposed; those of a warm start apart

    @property
    def active(self) -> list[Run]:
        """Runs that are in flight: waiting in the queue, or training."""
        return [run for run in self.runs.values() if run.state not in AT_REST]

    def pruned_at(self, number: int) -> int | None:
        """The rung at which the trial was ended; None where it was not."""
        run = self.runs[number]
        return self.passed.get(run.id, 0) if _was_pruned(run) else None


def look(
    db: Database, sweep: Sweep, open_: set[int], n_asked: int, metric: str, rungs_usd: Sequence[float]
) -> SweepState:
    """Read how the sweep stands; `open_` are the trials that Optuna was not told of, `rungs_usd` the gates."""
    trials = {t.number: t for t in queries.trials(db, sweep.id)}
    own = queries.runs(db, sweep_id=sweep.id)
    known = {run.id: run for run in own}
    for trial in trials.values():
        if trial.run_id is not None and trial.run_id not in known:  # another sweep or experiment had begun it
            known[trial.run_id] = queries.run(db, trial.run_id)
    runs = {n: known[t.run_id] for n, t in trials.items() if n in open_ and t.run_id is not None}
    passed = queries.promotions(db, list(known)) if rungs_usd else {}
    rungs = who_is_in(db, list(trials.values()), known, passed, metric, rungs_usd)
    return SweepState(own, runs, rungs, passed, n_asked)


def at_rungs(db: Database, sweep: Sweep) -> list[tuple[float, Rung]]:
    """Each rung of a sweep that has any, with its planned dollars; where trials end is none."""
    usd, metric = (sweep.spec.get("rungs") or {}).get("usd", [])[:-1], next(iter(sweep.spec["objectives"]))
    trials = queries.trials(db, sweep.id) if usd else []
    own = {run.id: run for run in queries.runs(db, sweep_id=sweep.id)} if usd else {}
    ids = [t.run_id for t in trials if t.run_id is not None]
    runs = {i: own[i] if i in own else queries.run(db, i) for i in ids}  # a warm start's runs are another sweep's
    found = who_is_in(db, trials, runs, queries.promotions(db, list(runs)), metric, usd)
    return list(zip(usd, found, strict=True))


def who_is_in(
    db: Database,
    trials: Sequence[Trial],
    runs: Mapping[int, Run],
    passed: Mapping[int, int],
    metric: str,
    rungs_usd: Sequence[float],
) -> list[Rung]:
    """The trials at each rung, with their values there."""
    if not rungs_usd:
        return []
    pairs = [(t.number, runs[t.run_id]) for t in trials if t.run_id is not None and t.run_id in runs]
    curves = {s.run_id: s for s in queries.series(db, [run.id for _, run in pairs], metric, max_points=10**9)}
    return [_rung(level, usd, pairs, passed, curves) for level, usd in enumerate(rungs_usd)]


def _rung(
    level: int, usd: float, pairs: Sequence[tuple[int, Run]], passed: Mapping[int, int], curves: Mapping[int, Series]
) -> Rung:
    values, waiting, gone_on, on_the_way = dict[int, float | None](), set[int](), set[int](), 0
    for number, run in pairs:
        at = passed.get(run.id, 0)
        waits = run.state == "paused" and run.reason == REASON
        if at > level or run.state == "succeeded":
            gone_on.add(number)
        elif at == level and waits:
            waiting.add(number)
        elif (at == level and run.state not in AT_REST) or (run.state == "paused" and not waits and at == level):
            on_the_way += 1
            continue
        elif not (at == level and _was_pruned(run)):
            continue
        values[number] = value_of(curves[run.id], usd) if run.id in curves else None
    return Rung(values, frozenset(waiting), frozenset(gone_on), on_the_way)


def _was_pruned(run: Run) -> bool:
    return run.state == "cancelled" and run.reason.startswith(PRUNED)
