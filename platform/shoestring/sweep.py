"""Sweeps: Optuna proposes, ordinary runs of the same queue train, Optuna is told.

Two databases cannot commit together, so the order carries the safety: Optuna stores a proposal, our database stores
the trial and then its run (submitting is idempotent), the run trains, Optuna is told, our trial is closed. Started
again anywhere in between, an unfinished proposal is taken up where it stands (never asked anew) and one that was told
is only closed here (never told twice). Nothing that a decision needs is held in memory alone.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from shoestring import actions, queries
from shoestring.allowance import AT_REST, allowance, committed_usd, rest_usd, typical_usd
from shoestring.db import Database
from shoestring.errors import Conflict, UsageError
from shoestring.home import Home
from shoestring.outcomes import constraint_values, earlier_runs, objective_values
from shoestring.ranking import Direction
from shoestring.records import Run, Sweep
from shoestring.resolve import Parameter, SweepRequest, value_at
from shoestring.run_plan import PlanRefused, RunPlan
from shoestring.rungs import REASON, Choice, choose, planned
from shoestring.spec_parts import Search
from shoestring.states import TERMINAL
from shoestring.study import Proposal, Study, Told
from shoestring.sweep_state import SweepState, look

if TYPE_CHECKING:
    from shoestring.request import Request


@dataclass(frozen=True)
class Bench:
    """What a sweep works with: where things live, how a request is priced, and who trains.

    `work` is given the runs in flight and returns when one of them may have come to rest.
    """

    home: Home
    db: Database
    price: Callable[[Request], RunPlan]
    work: Callable[[Sequence[int]], None]
    provenance: dict[str, Any]
    tell: Callable[[str], None] = lambda line: None


def base_point(request: SweepRequest) -> dict[str, Any]:
    """The base experiment's own values, as far as they lie inside the search."""
    point = {}
    for p in request.parameters:
        try:
            value = value_at(request.base, p.path)
        except (KeyError, IndexError, TypeError):  # for instance no experts at all in the base
            continue
        if value is not None and request.spec.search[p.path].holds(value):
            point[p.path] = value
    return point


def study_of(home: Home, sweep: Sweep, request: SweepRequest) -> Study:
    """Optuna's side of the sweep that was made for this request."""
    ways = cast(list[Direction], list(request.objectives.values()))
    return Study(home, sweep, request.parameters, ways, request.seed, request.spec.sampler)


def run_sweep(bench: Bench, request: SweepRequest, n_trials: int | None = None, jobs: int = 1) -> Sweep:
    """Propose, train and tell until the trials or the dollars are used up; go on where an earlier call stopped.

    At most `jobs` trials are in flight. Raises Conflict when a trial's run neither ends nor can go on by itself
    (paused by hand), UsageError for no trials or jobs, NotFound for a warm start from what is not there.
    """
    for option, n in (("--trials", n_trials), ("--jobs", jobs)):
        if n is not None and n < 1:
            raise UsageError(f"{option} {n}: at least 1", "leave it out to take the default")
    earlier = earlier_runs(bench.db, request)  # before anything is written: it may be refused
    sweep = actions.create_sweep(bench.db, request)
    with _alone(bench.home, sweep):
        study = study_of(bench.home, sweep, request)
        study.begin(base_point(request), request.spec.enqueue or (), earlier)
        return _Loop(bench, request, sweep, study, n_trials or request.trials, jobs).run()


@contextlib.contextmanager
def _alone(home: Home, sweep: Sweep) -> Iterator[None]:
    """Hold the sweep: one process asks and tells, and the kernel lets go however it ends. Raises Conflict."""
    with open(home.state / f"sweep-{sweep.id}.lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            what = f"another process runs sweep {sweep.name}: one proposes, `--jobs` makes it propose several"
            raise Conflict(what, "start workers beside it: shoestring work") from None
        yield


@dataclass
class _Loop:
    """One call of `run_sweep`."""

    bench: Bench
    request: SweepRequest
    sweep: Sweep
    study: Study
    wanted: int
    jobs: int
    by_hand: int = 0  # points that people asked for, which count beside the trials wanted
    refused: set[int] = field(default_factory=set)  # such points that cannot be tried

    def run(self) -> Sweep:
        db = self.bench.db
        self._enter_earlier()
        while True:
            self._listen()
            _close_told(db, self.sweep, self.study.told())
            now = self._look()
            if self._settle(now) or (not self.stopped and (self._decide(now) or self._fill(now))):
                continue
            if now.active:
                self._work(now.active)
                continue
            if self.stopped:
                self.bench.tell("stopped by hand; sweep again to go on")
                return self.sweep
            reason = self._stuck(now) or self._why_over(now)
            self.bench.tell(reason)
            return actions.finish_sweep(db, self.sweep.id, reason)

    # ── what people ask for meanwhile ───────────────────────────────────────────────────────────

    @property
    def stopped(self) -> bool:
        return self.sweep.state == "stopped"

    def _listen(self) -> None:
        """Read the sweep anew, somebody may have stopped it or moved its cap, and take up the points asked for."""
        db, search = self.bench.db, self.request.spec.search
        self.sweep = next(one for one in queries.sweeps(db, self.sweep.project) if one.id == self.sweep.id)
        points = queries.asked_points(db, self.sweep.id)
        for number in points.keys() - self.refused:
            wrong = [p.path for p in self.request.parameters if not _fits(p, search[p.path], points[number])]
            if wrong:
                self.refused.add(number)
                self.bench.tell(f"the point {points[number]} cannot be tried: {', '.join(wrong)} is outside the search")
        wanted = {number: point for number, point in points.items() if number not in self.refused}
        self.wanted += len(wanted) - self.by_hand
        self.by_hand = len(wanted)
        self.study.enqueue(wanted)

    # ── how it stands ───────────────────────────────────────────────────────────────────────────

    def _look(self) -> SweepState:
        """Every trial with its run; proposals that have none yet get theirs."""
        unfinished = {one.number for one in self.study.unfinished() if self._placed(one)}
        n_asked = len(self.study.told()) + len(unfinished) - len(self.study.earlier())
        rungs, metric = self.request.spec.rungs, next(iter(self.request.objectives))
        return look(self.bench.db, self.sweep, unfinished, n_asked, metric, rungs.usd[:-1] if rungs else ())

    def _left_usd(self, now: SweepState) -> float | None:
        """Dollars of the sweep that nobody has spent or may spend; None without a cap."""
        return None if self.sweep.max_usd is None else self.sweep.max_usd - committed_usd(now.own)

    def _why_over(self, now: SweepState) -> str:
        """Why no further trial is proposed, in words; "" to go on."""
        if now.n_asked >= self.wanted:
            return f"all {self.wanted} trials are done"
        if self.study.exhausted():
            return "every point of the grid was tried"
        left, typical = self._left_usd(now), typical_usd(now.own)
        if left is not None and typical is not None and left < typical:
            return f"${left:.5f} of ${self.sweep.max_usd:.5f} left cannot pay one more trial (median ${typical:.5f})"
        if left is not None and left <= 0:
            return f"the sweep's ${self.sweep.max_usd:.5f} are spent"
        return ""

    def _stuck(self, now: SweepState) -> str:
        """Why the sweep ends with a trial unfinished, in words: its money is spent."""
        paused = [run for run in now.runs.values() if run.state == "paused" and run.reason == "budget"]
        if not paused:
            return ""
        ids = ", ".join(str(run.id) for run in paused)
        whose = "its cap" if any(_capped(run) for run in paused) else f"project {self.sweep.project}'s budget"
        spent = sum(run.spent_usd for run in now.own)
        of = "" if self.sweep.max_usd is None else f" of ${self.sweep.max_usd:.5f}"
        return f"run {ids} was paused at {whose}, ${spent:.5f}{of} are spent: raise it and sweep again to go on"

    # ── what it does ────────────────────────────────────────────────────────────────────────────

    def _enter_earlier(self) -> None:
        """Enter the trials of a warm start, which Optuna knows already, into our own database."""
        db, known = self.bench.db, {t.number for t in queries.trials(self.bench.db, self.sweep.id)}
        found = {t.number: t for t in self.study.finished() if t.number not in known}
        for number, run_id in self.study.earlier().items():
            if number in found:
                actions.propose_trial(db, self.sweep.id, number, found[number].params, run_id)

    def _settle(self, now: SweepState) -> bool:
        """Tell Optuna of the runs that have ended; say whether any had. Raises Conflict."""
        ended = False
        for number, run in now.runs.items():
            if run.state in TERMINAL:
                self._tell(number, run, now.pruned_at(number))
                ended = True
            elif run.state == "paused" and run.reason not in (REASON, "budget") and not self.stopped:
                why = f" ({run.reason})" if run.reason else ""
                raise Conflict(
                    f"trial {number}'s run {run.id} is {run.state}{why}",
                    f"let it go on (`shoestring resume {run.id}`) or end it (`shoestring cancel {run.id}`), then sweep "
                    "again",
                )
        return ended

    def _tell(self, number: int, run: Run, rung: int | None) -> None:
        """Tell Optuna what a run came to: at its end, or at the last rung that it reached."""
        db, objectives = self.bench.db, list(self.request.objectives)
        rungs = self.request.spec.rungs
        at_usd = rungs.usd[rung] if rungs and rung is not None else None
        values = None
        if run.state == "succeeded" or at_usd is not None:
            values = objective_values(db, run, objectives, at_usd)
        limits = constraint_values(db, run, self.request.spec.constraints or {})
        if limits is None:
            values = None
        self.study.tell(number, values, limits or {}, "pruned" if at_usd is not None and values else "")
        what = ", ".join(f"{key} {value:.4g}" for key, value in zip(objectives, values or (), strict=bool(values)))
        ended = f"run {run.id} {run.state}" if rung is None else f"pruned at rung {rung}"
        self.bench.tell(f"trial {number}: {what}" + (f" ({ended})" if rung is not None else "") if values else
                        f"trial {number}: {ended}")  # fmt: skip

    def _decide(self, now: SweepState) -> bool:
        """Let the best trials of each rung go on and end those that cannot be among them; say whether any was."""
        rungs = self.request.spec.rungs
        if rungs is None:
            return False
        to_come = 0 if self._why_over(now) else max(0, self.wanted - now.n_asked)
        way = next(iter(self.request.objectives.values()))
        choice = choose(now.rungs, rungs.keep, way, to_come)
        for number, level in choice.promote:
            if len(now.active) < self.jobs and self._promote(now, number, level):
                return True
        for number, level in self._given_up(now, choice):
            n, best = len(now.rungs[level].values), f"${rungs.usd[level]:g}"
            actions.prune(self.bench.db, now.runs[number].id, f"not among the best of {n} at {best}")
        return bool(self._given_up(now, choice))

    def _given_up(self, now: SweepState, choice: Choice) -> list[tuple[int, int]]:
        """Whom to prune: those who are out, and everybody who waits when nothing can go on any more."""
        if now.active or len(choice.promote) == 0 or not self._why_over(now):
            return list(choice.prune)
        return [*choice.prune, *choice.promote]

    def _promote(self, now: SweepState, number: int, level: int) -> bool:
        """Queue a waiting run up to its next rung, if the sweep can pay that; say whether it did."""
        rungs, run, left = self.request.spec.rungs, now.runs[number], self._left_usd(now)
        assert rungs is not None
        cap = run.max_usd
        if left is not None:
            if left < rest_usd(run, rungs.usd[level + 1], "p50"):
                return False
            more = allowance(left, rest_usd(run, rungs.usd[level + 1]), self.jobs - len(now.active))
            cap = _least(self.request.base.max_usd, run.spent_usd + more)
        self.bench.tell(f"trial {number}: goes on from rung {level}, ${rungs.usd[level]:g}")
        return actions.promote(self.bench.db, run.id, level, max_usd=cap)

    def _fill(self, now: SweepState) -> bool:
        """Resume what a larger budget can pay now, else ask for one more trial; say whether something was begun."""
        if len(now.active) >= self.jobs:
            return False
        for run in now.runs.values():
            if run.state == "paused" and run.reason == "budget" and self._resumed(now, run):
                return True
        if self._why_over(now) or self._stuck(now):
            return False
        proposal = self.study.ask()
        if self._placed(proposal, self._left_usd(now), self.jobs - len(now.active)):
            run = self._run_of(proposal)
            shown = ", ".join(f"{path} {_short(value)}" for path, value in proposal.params.items())
            self.bench.tell(f"trial {proposal.number}: run {run.id}, {shown}")
        return True

    def _resumed(self, now: SweepState, run: Run) -> bool:
        """Let a run go on that its cap had paused, if its rest can be paid now."""
        left, db = self._left_usd(now), self.bench.db
        if left is None or not _capped(run):
            cap = queries.budget(db, run.project)
            if cap is not None and queries.spent(db, run.project) >= cap:
                return False
        most = None if left is None else _least(self.request.base.max_usd, run.spent_usd + left)
        if most is not None and most < run.spent_usd + rest_usd(run, share="p50"):
            return False
        if most is None and _capped(run):
            return False  # the recipe's own cap: a person raises it
        actions.resume(db, run.id, max_usd=most)
        return True

    def _placed(self, proposal: Proposal, left_usd: float | None = None, n_slots: int = 1) -> bool:
        """Put the proposal's run into the queue, the same one however often this is called; say whether it has one."""
        db, sweep_id = self.bench.db, self.sweep.id
        if self._known(proposal.number) is not None:
            return True
        try:
            plan = self.bench.price(self.request.trial(proposal.number, proposal.params))
        except (UsageError, PlanRefused) as error:
            self.bench.tell(f"trial {proposal.number}: {error.message}")
            actions.propose_trial(db, sweep_id, proposal.number, proposal.params)
            self.study.tell(proposal.number, None)
            return False
        actions.propose_trial(db, sweep_id, proposal.number, proposal.params)
        if self.sweep.max_usd is not None:
            if left_usd is None:  # it was asked by an earlier call, that ended before its run was queued
                left_usd = self.sweep.max_usd - committed_usd(queries.runs(db, sweep_id=sweep_id))
            cap = _least(plan.request.max_usd, allowance(left_usd, plan.usd.p90, n_slots))
            plan = replace(plan, request=plan.request.model_copy(update={"max_usd": max(cap or 0.0, 1e-6)}))
        one = actions.submission(plan, kind="trial", sweep_id=sweep_id, provenance=self.bench.provenance)
        if self.request.spec.rungs:
            gates = planned(next(iter(self.request.objectives)), self.request.spec.rungs.usd)
            one = replace(one, plan={**one.plan, "rungs": gates})
        run_id = actions.submit(db, [one], runs_dir=self.bench.home.runs)[0].run_id
        actions.propose_trial(db, sweep_id, proposal.number, proposal.params, run_id)
        return True

    def _known(self, number: int) -> int | None:
        found = (t.run_id for t in queries.trials(self.bench.db, self.sweep.id) if t.number == number)
        return next(found, None)

    def _run_of(self, proposal: Proposal) -> Run:
        return queries.run(self.bench.db, self._known(proposal.number) or 0)

    def _work(self, active: list[Run]) -> None:
        """Let one of these runs come to rest. Raises Conflict when nobody trains them."""
        ids = [run.id for run in active]
        self.bench.work(ids)
        if not any(queries.run(self.bench.db, run_id).state in AT_REST for run_id in ids):
            what = ", ".join(f"{run.id} is {run.state}" for run in active)
            raise Conflict(f"nobody trains the sweep's runs any more: run {what}", "sweep again to go on")


def _fits(parameter: Parameter, search: Search, point: Mapping[str, Any]) -> bool:
    """Whether Optuna would propose this point's value: inside the search, and whole where the field is."""
    value = point.get(parameter.path)
    return search.holds(value) and (not parameter.integer or isinstance(value, int))


def _close_told(db: Database, sweep: Sweep, told: dict[int, Told]) -> None:
    """Write into our trials what Optuna was told, where a crash or this loop left them open."""
    for trial in queries.trials(db, sweep.id):
        if trial.number in told and trial.state in ("proposed", "running"):
            known = told[trial.number]
            actions.finish_trial(db, sweep.id, trial.number, known.state, known.values)


def _capped(run: Run) -> bool:
    """Whether the run's own cap, not its project's budget, is what paused it."""
    closing = float(run.plan.get("closing_usd", 0.0))
    return run.max_usd is not None and run.spent_usd + closing >= run.max_usd


def _least(one: float | None, other: float) -> float:
    return other if one is None else min(one, other)


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
