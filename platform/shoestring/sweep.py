"""Sweeps: Optuna proposes, ordinary runs of the same queue train, Optuna is told. The only file with optuna.

Two databases cannot commit together, so the order carries the safety: Optuna stores a proposal, our database stores
the trial and then its run (submitting is idempotent), the run trains, Optuna is told, our trial is closed. Started
again anywhere in between, an unfinished proposal is taken up where it stands (never asked anew) and one that was told
is only closed here (never told twice). Each proposal's randomness is a function of the sweep's seed and the trial's
number, so the same history gives the same proposals.
"""

from __future__ import annotations

import logging
import statistics
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

from shoestring import actions, queries
from shoestring.db import Database
from shoestring.errors import Conflict, UsageError
from shoestring.home import Home
from shoestring.ranking import Direction, pareto_front
from shoestring.records import Run, Sweep, Trial
from shoestring.resolve import Parameter, SweepRequest, value_at
from shoestring.run_plan import PlanRefused, RunPlan

if TYPE_CHECKING:
    import optuna

    from shoestring.request import Request

ENDED = ("succeeded", "failed", "cancelled")
STARTUP_TRIALS = 4  # drawn at random before TPE's model has anything to say
MIN_FOR_IMPORTANCE = 4


@dataclass(frozen=True)
class Proposal:
    """Parameters that Optuna wants tried."""

    number: int
    params: dict[str, Any]


def open_storage(home: Home) -> optuna.storages.RDBStorage:
    """Optuna's own database, made where there is none."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    home.state.mkdir(parents=True, exist_ok=True)
    return optuna.storages.RDBStorage(home.optuna_url)


class Study:
    """Optuna's side of one sweep, on its own database."""

    def __init__(
        self, home: Home, sweep: Sweep, parameters: tuple[Parameter, ...], directions: list[Direction], seed: int
    ):
        import optuna

        self.optuna, self.parameters, self.seed = optuna, parameters, seed
        # Our id and time of birth are in the name, so another database's sweep of this name is another study.
        self.study = optuna.create_study(
            storage=open_storage(home),
            study_name=f"{sweep.project}/{sweep.name}/{sweep.id}-{sweep.created_at:.3f}",
            directions=directions,
            load_if_exists=True,
        )

    def enqueue(self, params: dict[str, Any]) -> None:
        """Put `params` before all proposals, once, if nothing was proposed yet."""
        if params and not self.study.get_trials(deepcopy=False):
            self.study.enqueue_trial(params)

    def next(self) -> Proposal:
        """The unfinished proposal if there is one, else a new one."""
        running = self._trials(self.optuna.trial.TrialState.RUNNING)
        started = len(self.study.get_trials(deepcopy=False)) - len(self._trials(self.optuna.trial.TrialState.WAITING))
        number = running[0].number if running else started
        self.study.sampler = self.optuna.samplers.TPESampler(
            seed=self.seed * 100_003 + number, n_startup_trials=STARTUP_TRIALS
        )
        # A proposal that a crash cut short has its first parameters stored: suggesting again returns those.
        trial = self.optuna.trial.Trial(self.study, running[0]._trial_id) if running else self.study.ask()
        return Proposal(trial.number, {p.path: _suggest(trial, p) for p in self.parameters})

    def told(self) -> dict[int, tuple[float, ...] | None]:
        """Number → values of each finished proposal; None for one that failed."""
        state = self.optuna.trial.TrialState
        return {
            t.number: tuple(t.values) if t.state == state.COMPLETE else None
            for t in self._trials(state.COMPLETE, state.FAIL, state.PRUNED)
        }

    def tell(self, number: int, values: tuple[float, ...] | None) -> None:
        """Report a finished proposal; None says that its run failed."""
        if values is None:
            self.study.tell(number, state=self.optuna.trial.TrialState.FAIL)
        else:
            self.study.tell(number, list(values))

    def importance(self) -> dict[str, float]:
        """Share of each parameter in the first objective (PED-ANOVA); empty when too few trials can say."""
        if len(self._trials(self.optuna.trial.TrialState.COMPLETE)) < MIN_FOR_IMPORTANCE:
            return {}
        sign = 1.0 if self.study.directions[0].name == "MINIMIZE" else -1.0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found = self.optuna.importance.get_param_importances(self.study, target=lambda t: sign * t.values[0])
            except (RuntimeError, ValueError):  # for instance every trial has the same value
                return {}
        return {path: float(share) for path, share in found.items()}

    def _trials(self, *states: optuna.trial.TrialState) -> list[optuna.trial.FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=states)


def _suggest(trial: optuna.trial.Trial, parameter: Parameter) -> Any:
    p = parameter
    if p.choices is not None:
        return trial.suggest_categorical(p.path, p.choices)
    assert p.low is not None and p.high is not None
    if p.integer:
        return trial.suggest_int(p.path, int(p.low), int(p.high), step=int(p.step or 1), log=p.log)
    return trial.suggest_float(p.path, float(p.low), float(p.high), step=p.step, log=p.log)


def base_point(request: SweepRequest) -> dict[str, Any]:
    """The base experiment's own values, as far as they lie inside the search."""
    point = {}
    for p in request.parameters:
        try:
            value = value_at(request.base, p.path)
        except (KeyError, IndexError, TypeError):  # for instance no experts at all in the base
            continue
        inside = value in p.choices if p.choices is not None else value is not None and p.low <= value <= p.high
        if inside:
            point[p.path] = value
    return point


# ── the loop ────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Bench:
    """What a sweep works with: where things live, how a request is priced, and who trains a run to its end."""

    home: Home
    db: Database
    price: Callable[[Request], RunPlan]
    work: Callable[[int], None]
    provenance: dict[str, Any]
    tell: Callable[[str], None] = lambda line: None


def run_sweep(bench: Bench, request: SweepRequest, n_trials: int | None = None) -> Sweep:
    """Propose, train and tell until the trials or the dollars are used up; go on where an earlier call stopped.

    Raises Conflict when a trial's run neither ends nor can go on by itself (paused), UsageError for no trials.
    """
    if n_trials is not None and n_trials < 1:
        raise UsageError(f"--trials {n_trials}: at least 1", "leave it out to take the sweep's own number")
    wanted = n_trials or request.trials
    db = bench.db
    sweep = actions.create_sweep(db, request)
    study = Study(
        bench.home, sweep, request.parameters, cast(list[Direction], list(request.objectives.values())), request.seed
    )
    study.enqueue(base_point(request))
    while True:
        told = study.told()
        _close_told(db, sweep, told)
        reason = why_over(sweep, wanted, queries.trials(db, sweep.id), queries.runs(db, sweep_id=sweep.id), told)
        if reason:
            bench.tell(reason)
            return actions.finish_sweep(db, sweep.id, reason)
        _one_trial(bench, sweep, request, study)


def why_over(
    sweep: Sweep, wanted: int, trials: list[Trial], runs: list[Run], told: dict[int, tuple[float, ...] | None]
) -> str:
    """Why no further trial is proposed, in words; "" to go on. An unfinished trial is always taken to its end."""
    if any(t.number not in told for t in trials):
        return ""
    if len(told) >= wanted:
        return f"all {wanted} trials are done"
    spent = [r.spent_usd for r in runs if r.state in ENDED]
    if sweep.max_usd is not None and spent:
        left, median = sweep.max_usd - sum(spent), statistics.median(spent)
        if left < median:
            return f"${left:.5f} of ${sweep.max_usd:.5f} left cannot pay one more trial (median ${median:.5f})"
    return ""


def _one_trial(bench: Bench, sweep: Sweep, request: SweepRequest, study: Study) -> None:
    """Take one proposal through its run and tell what came of it."""
    db, proposal = bench.db, study.next()
    shown = ", ".join(f"{path} {_short(value)}" for path, value in proposal.params.items())
    try:
        plan = bench.price(request.trial(proposal.number, proposal.params))
    except (UsageError, PlanRefused) as error:
        bench.tell(f"trial {proposal.number}: {shown}: {error.message}")
        actions.propose_trial(db, sweep.id, proposal.number, proposal.params)
        study.tell(proposal.number, None)
        return
    run_id = _submit(bench, sweep, proposal, plan)
    bench.tell(f"trial {proposal.number}: run {run_id}, {shown}")
    if queries.run(db, run_id).state not in ENDED:
        bench.work(run_id)
    run = queries.run(db, run_id)
    if run.state not in ENDED:
        raise Conflict(
            f"trial {proposal.number}'s run {run_id} is {run.state}" + (f" ({run.reason})" if run.reason else ""),
            f"let it go on (`shoestring resume {run_id}`) or end it (`shoestring cancel {run_id}`), then sweep again",
        )
    values = objective_values(db, run, list(request.objectives)) if run.state == "succeeded" else None
    study.tell(proposal.number, values)
    bench.tell(f"trial {proposal.number}: " + (_values(request, values) if values else f"run {run_id} {run.state}"))


def _submit(bench: Bench, sweep: Sweep, proposal: Proposal, plan: RunPlan) -> int:
    """The proposal's run, in the queue; the same one however often this is called."""
    actions.propose_trial(bench.db, sweep.id, proposal.number, proposal.params)
    known = next(t for t in queries.trials(bench.db, sweep.id) if t.number == proposal.number)
    if known.run_id is not None:
        return known.run_id
    origin: dict[str, Any] = {"kind": "trial", "sweep_id": sweep.id, "provenance": bench.provenance}
    run_id = actions.submit_plans(bench.db, [plan], runs_dir=bench.home.runs, **origin)[0].run_id
    actions.propose_trial(bench.db, sweep.id, proposal.number, proposal.params, run_id)
    return run_id


def objective_values(db: Database, run: Run, objectives: list[str]) -> tuple[float, ...] | None:
    """The run's last value of each objective; dollars are what it actually spent. None when one was never recorded."""
    last = queries.last_values(db, [run.id], objectives).get(run.id, {})
    values = [run.spent_usd if key == "cost/usd" else last.get(key) for key in objectives]
    return None if None in values else tuple(float(v) for v in values if v is not None)


def _close_told(db: Database, sweep: Sweep, told: dict[int, tuple[float, ...] | None]) -> None:
    """Write into our trials what Optuna was told, where a crash or this loop left them open."""
    for trial in queries.trials(db, sweep.id):
        if trial.number in told and trial.state in ("proposed", "running"):
            values = told[trial.number]
            state = "failed" if values is None else "complete"
            actions.finish_trial(db, sweep.id, trial.number, state, values or ())


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _values(request: SweepRequest, values: tuple[float, ...]) -> str:
    return ", ".join(f"{key} {value:.4g}" for key, value in zip(request.objectives, values, strict=True))


# ── what it found ───────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Report:
    """What a sweep's dollars bought."""

    sweep: str
    state: str
    objectives: dict[str, Direction]
    trials: list[Trial]
    front: list[int]  # trial numbers, cheapest first
    best: int | None  # trial with the best first objective
    importance: dict[str, float]
    spent_usd: float
    max_usd: float | None
    bought: str  # in words

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def report(home: Home, db: Database, sweep: Sweep) -> Report:
    """Read a sweep's trials: Pareto front, best, importance of each parameter."""
    objectives: dict[str, Direction] = dict(sweep.spec["objectives"])
    trials = queries.trials(db, sweep.id)
    done = [t for t in trials if t.state == "complete"]
    spent_usd = sum(r.spent_usd for r in queries.runs(db, sweep_id=sweep.id))
    study = Study(home, sweep, (), list(objectives.values()), 0)
    best = best_trial(done, objectives)
    return Report(
        sweep=sweep.name,
        state=sweep.state,
        objectives=objectives,
        trials=trials,
        front=front_of(done, objectives),
        best=best.number if best else None,
        importance=study.importance(),
        spent_usd=spent_usd,
        max_usd=sweep.max_usd,
        bought=bought(best, done, objectives, spent_usd),
    )


def front_of(done: list[Trial], objectives: dict[str, Direction]) -> list[int]:
    """Trials on the Pareto front of dollars and the other objective; empty unless those are the two objectives."""
    if "cost/usd" not in objectives or len(objectives) != 2:
        return []
    money = list(objectives).index("cost/usd")
    points = [(t.values[money], t.values[1 - money]) for t in done]
    return [done[i].number for i in pareto_front(points, list(objectives.values())[1 - money])]


def best_trial(done: list[Trial], objectives: dict[str, Direction]) -> Trial | None:
    """The finished trial with the best first objective; of equals, the first."""
    sign = 1.0 if next(iter(objectives.values())) == "minimize" else -1.0
    return min(done, key=lambda t: (sign * t.values[0], t.number), default=None)


def bought(best: Trial | None, done: list[Trial], objectives: dict[str, Direction], spent_usd: float) -> str:
    """What the money bought, in words: the best trial against trial 0, which has the base's own values."""
    if best is None:
        return ""
    key = next(iter(objectives))
    text = f"${spent_usd:.5f} bought {key} {best.values[0]:.4g} (trial {best.number})"
    base = next((t for t in done if t.number == 0), None)
    if base is None:
        return text + "; trial 0, the base, did not finish"
    if base.number == best.number:
        return text + ": the base itself, no trial was better"
    return text + f"; the base's own values give {base.values[0]:.4g}"
