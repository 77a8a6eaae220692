"""Optuna's side of a sweep: what it proposes and what it was told. The only file with optuna.

Each proposal's randomness is a function of the sweep's seed and the trial's number, so the same history gives the same
proposals. A proposal that a crash cut short has its first parameters stored: it is taken up, never asked anew.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shoestring.home import Home
from shoestring.ranking import Direction
from shoestring.records import Sweep
from shoestring.resolve import Parameter
from shoestring.samplers import SamplerSpec

if TYPE_CHECKING:
    import optuna

STARTUP_TRIALS = 4  # drawn at random before the sampler's model has anything to say
MIN_FOR_IMPORTANCE = 4


@dataclass(frozen=True)
class Proposal:
    """Parameters that Optuna wants tried."""

    number: int
    params: dict[str, Any]


@dataclass(frozen=True)
class Told:
    """What Optuna knows of a finished proposal: complete, pruned (at a rung) or failed, and its values."""

    state: str
    values: tuple[float, ...] = ()


@dataclass(frozen=True)
class Earlier:
    """A run that had ended before the sweep began, and counts as a trial that nobody pays again."""

    run_id: int
    params: dict[str, Any]
    values: tuple[float, ...]
    constraints: Mapping[str, float]


def open_storage(home: Home) -> optuna.storages.RDBStorage:
    """Optuna's own database, made where there is none."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    home.state.mkdir(parents=True, exist_ok=True)
    return optuna.storages.RDBStorage(home.optuna_url)


class Study:
    """One sweep's study, on Optuna's own database."""

    def __init__(
        self,
        home: Home,
        sweep: Sweep,
        parameters: tuple[Parameter, ...],
        directions: list[Direction],
        seed: int,
        sampler: SamplerSpec | None = None,
    ):
        import optuna

        self.optuna, self.parameters, self.seed, self.spec = optuna, parameters, seed, sampler or SamplerSpec()
        self._state = optuna.trial.TrialState
        self._open: dict[int, optuna.trial.Trial] = {}
        # Our id and time of birth are in the name, so another database's sweep of this name is another study.
        self.study = optuna.create_study(
            storage=open_storage(home),
            study_name=f"{sweep.project}/{sweep.name}/{sweep.id}-{sweep.created_at:.3f}",
            directions=directions,
            load_if_exists=True,
        )

    def begin(self, base: Mapping[str, Any], points: Iterable[Mapping[str, Any]], earlier: Sequence[Earlier]) -> None:
        """Enter what was known before, then put the base and `points` before all proposals; once."""
        if self.study.user_attrs.get("begun"):
            return
        asked = [t for t in self._trials() if t.state != self._state.WAITING and "run" not in t.user_attrs]
        if not asked:
            entered = self.earlier().values()
            for one in earlier:
                if one.run_id not in entered:
                    self.study.add_trial(self._finished(one, base))
            names = {p.path for p in self.parameters}
            for number, point in enumerate((base, *points)):
                if point and (self.spec.short != "grid" or (number and set(point) == names)):
                    what = {"base": True} if number == 0 else {}
                    self.study.enqueue_trial(dict(point), user_attrs=what, skip_if_exists=True)
        self.study.set_user_attr("begun", True)

    def enqueue(self, points: Mapping[int, Mapping[str, Any]]) -> None:
        """Put points that people asked for before all proposals, each once, however often this is called."""
        known = {t.user_attrs.get("asked") for t in self._trials()}
        for number, point in points.items():
            if number not in known:
                self.study.enqueue_trial(dict(point), user_attrs={"asked": number})

    def earlier(self) -> dict[int, int]:
        """Number → run of each trial that was there before the sweep began."""
        return {t.number: t.user_attrs["run"] for t in self._trials() if "run" in t.user_attrs}

    def unfinished(self) -> list[Proposal]:
        """The proposals that were asked and not told, in order."""
        found = []
        for frozen in sorted(self._trials(self._state.RUNNING), key=lambda t: t.number):
            if frozen.number not in self._open:
                with self._sampling(frozen.number):
                    self._open[frozen.number] = self.optuna.trial.Trial(self.study, frozen._trial_id)
                    found.append(self._proposal(self._open[frozen.number]))
            else:
                found.append(Proposal(frozen.number, dict(frozen.params)))
        return found

    def ask(self) -> Proposal:
        """A new proposal: what waits, else the sampler's."""
        waiting = self._trials(self._state.WAITING)
        number = min((t.number for t in waiting), default=len(self._trials()))
        with self._sampling(number):
            trial = self.study.ask()
            self._open[trial.number] = trial
            return self._proposal(trial)

    def exhausted(self) -> bool:
        """Whether every point of a grid was proposed."""
        if self.spec.short != "grid":
            return False
        n_points = 1
        for p in self.parameters:
            n_points *= len(p.grid or ())
        return len({tuple(sorted(t.params.items())) for t in self._trials() if t.params}) >= n_points

    def told(self) -> dict[int, Told]:
        """Number → what Optuna knows of each finished proposal."""
        found = {}
        for t in self._trials(self._state.COMPLETE, self._state.FAIL, self._state.PRUNED):
            complete = t.state == self._state.COMPLETE
            state = t.user_attrs.get("ended", "complete") if complete else "failed"
            found[t.number] = Told(state, tuple(t.values) if complete else ())
        return found

    def finished(self) -> list[Proposal]:
        """The proposals that Optuna was told of."""
        done = self._trials(self._state.COMPLETE, self._state.FAIL, self._state.PRUNED)
        return [Proposal(t.number, dict(t.params)) for t in done]

    def tell(
        self, number: int, values: tuple[float, ...] | None, constraints: Mapping[str, float] = {}, ended: str = ""
    ) -> None:
        """Report a finished proposal; None says that its run failed. A constraint holds where its number is ≤ 0."""
        trial = self._open.pop(number)
        self.study.sampler = self.optuna.samplers.RandomSampler(seed=0)  # some samplers act on being told
        if values is None:
            self.study.tell(number, state=self._state.FAIL)
            return
        with warnings.catch_warnings(action="ignore"):  # a crash may have left them set
            for name, excess in constraints.items():
                trial.set_constraint(name, excess)
        if ended:
            trial.set_user_attr("ended", ended)
        self.study.tell(number, list(values))

    def base(self) -> int | None:
        """The trial that has the base's own values; None where there is none."""
        marked = next((t.number for t in self._trials() if t.user_attrs.get("base")), None)
        return 0 if marked is None and not self.earlier() else marked

    def importance(self) -> dict[str, float]:
        """Share of each parameter in the first objective (PED-ANOVA); empty when too few trials can say."""
        if len(self._trials(self._state.COMPLETE)) < MIN_FOR_IMPORTANCE:
            return {}
        sign = 1.0 if self.study.directions[0].name == "MINIMIZE" else -1.0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found = self.optuna.importance.get_param_importances(self.study, target=lambda t: sign * t.values[0])
            except (RuntimeError, ValueError):  # for instance every trial has the same value
                return {}
        return {path: float(share) for path, share in found.items()}

    def _proposal(self, trial: optuna.trial.Trial) -> Proposal:
        return Proposal(trial.number, {p.path: self._suggest(trial, p) for p in self.parameters})

    def _sampling(self, number: int) -> warnings.catch_warnings:
        """Set the sampler as it has to be for trial `number`; Optuna's advice stays unsaid meanwhile."""
        kind, options = self.spec.kind, self.spec.options
        options["seed"] = self.seed if kind.one_seed else self.seed * 100_003 + number
        if "n_startup_trials" in kind.options:
            options.setdefault("n_startup_trials", STARTUP_TRIALS)
        if self.spec.short == "grid":
            options["search_space"] = {p.path: list(p.grid or ()) for p in self.parameters}
        quiet = warnings.catch_warnings(action="ignore")
        with warnings.catch_warnings(action="ignore"):
            self.study.sampler = getattr(self.optuna.samplers, kind.optuna)(**options)
        return quiet

    def _suggest(self, trial: optuna.trial.Trial, p: Parameter) -> Any:
        if p.choices is not None:
            return trial.suggest_categorical(p.path, p.choices)
        assert p.low is not None and p.high is not None
        if p.integer:
            return trial.suggest_int(p.path, int(p.low), int(p.high), step=int(p.step or 1), log=p.log)
        return trial.suggest_float(p.path, float(p.low), float(p.high), step=p.step, log=p.log)

    def _finished(self, one: Earlier, base: Mapping[str, Any]) -> optuna.trial.FrozenTrial:
        own = self.optuna.distributions
        known: dict[str, Any] = {}
        for p in self.parameters:
            if p.choices is not None:
                known[p.path] = own.CategoricalDistribution(p.choices)
                continue
            assert p.low is not None and p.high is not None
            if p.integer:
                known[p.path] = own.IntDistribution(int(p.low), int(p.high), p.log, int(p.step or 1))
            else:
                known[p.path] = own.FloatDistribution(float(p.low), float(p.high), p.log, p.step)
        return self.optuna.trial.create_trial(
            state=self._state.COMPLETE,
            values=list(one.values),
            params=one.params,
            distributions=known,
            user_attrs={"run": one.run_id, **({"base": True} if one.params == base else {})},
            constraints=dict(one.constraints) or None,
        )

    def _trials(self, *states: optuna.trial.TrialState) -> list[optuna.trial.FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=states or None)
