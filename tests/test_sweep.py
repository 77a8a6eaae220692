"""A sweep proposes, submits, tells; and can be stopped anywhere."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from shoestring import actions, queries, runs, study, sweep, sweep_report
from shoestring.calibration import Calibration
from shoestring.cost import Costs
from shoestring.db import Database
from shoestring.errors import Conflict, UsageError
from shoestring.home import Home
from shoestring.plan import plan_request
from shoestring.prices import read_prices
from shoestring.resolve import Facts, SweepRequest, resolve_sweeps
from shoestring.spec import spec_from_text
from shoestring.tail import Point
from shoestring_trainer.config import DataConfig
from shoestring_trainer.run_dir import Result

SPEC = """
version: 1
project: toy
data: dots
experiments:
  deferred:
    model: {preset: nano}
    until: {steps: 20}
    lr: 1e-3
    stages:
      - {share: 0.8, mask: {kind: random, ratio: 0.75, place: deferred}}
      - {share: 0.2, mask: {kind: none}}
sweeps:
  small:
    base: deferred
    search:
      stages.0.mask.ratio: {low: 0.0, high: 0.9}
      model.experts.count: {choices: [1, 2, 4]}
    objectives: {val/loss: minimize, cost/usd: minimize}
    trials: 5
    seed: 7
"""
DATA = DataConfig(
    path="/nowhere", name="dots", digest="d" * 64, space="pixels", shape=(3, 16, 16), size_px=16, n_train=64,
    caption_dim=8, caption_tokens=4.0,
)  # fmt: skip


class Trainer:
    """Trains a run in the queue as a worker does, through the same fenced writes; the loss is a known function."""

    def __init__(self, db: Database, usd: float = 0.01) -> None:
        self.db, self.usd, self.trained, self.ending = db, usd, list[int](), "succeeded"

    def __call__(self, run_ids: Sequence[int]) -> None:
        run_id = run_ids[0]
        lease = runs.claim(self.db, "worker", f"claim {run_id}")
        assert lease and lease.run_id == run_id
        self.trained.append(run_id)
        runs.start(self.db, lease, 0)
        n = lease.run.n_steps
        ratio = lease.run.config["stages"][0]["mask"]["ratio"]
        experts = (lease.run.config["model"]["experts"] or {"count": 1})["count"]
        loss = (ratio - 0.5) ** 2 + 0.1 / experts
        runs.record(self.db, lease, [Point("val/loss", n, loss, images=1.0, flops=1.0, usd=0.01, seconds=1.0)])
        failure = "" if self.ending == "succeeded" else "nan"
        usd = self.usd * (1 - ratio / 2)
        runs.finish(self.db, lease, Result(lease.token, self.ending, failure, "", n), round(usd * 1e6))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Path:
    """A state folder with both databases made and nothing in them: making them takes longer than most tests."""
    home = Home(root=Path("/nowhere"), state=tmp_path_factory.mktemp("state"))
    study.open_storage(home)
    shutil.copy(migrated, home.state / "shoestring.db")
    return home.state


@pytest.fixture
def make_home(tmp_path: Path, empty: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Home]:
    monkeypatch.delenv("SHOESTRING_DB", raising=False)
    return lambda name: Home(root=tmp_path, state=Path(shutil.copytree(empty, tmp_path / name)))


@pytest.fixture
def home(make_home: Callable[[str], Home], either: str) -> Home:
    return make_home("state")


def bench_of(home: Home, work: Callable[[Sequence[int]], None] | None = None) -> sweep.Bench:
    db = Database(home.db_url)
    costs = Costs("this-machine", read_prices()["this-machine"], Calibration("test"), 1e10)
    return sweep.Bench(home, db, lambda request: plan_request(request, costs), work or Trainer(db), {})


def request_of(**changes: object) -> SweepRequest:
    found = resolve_sweeps(spec_from_text(SPEC, Path("/nowhere")), Facts(DATA, "code"))[0]
    return replace(found, **changes)


def trials_of(bench: sweep.Bench) -> list[tuple[int, dict, str, tuple[float, ...]]]:
    return [(t.number, t.params, t.state, t.values) for t in queries.trials(bench.db, queries.sweeps(bench.db)[0].id)]


def test_every_trial_is_a_run_of_the_queue_and_the_base_comes_first(home):
    bench = bench_of(home)
    done = sweep.run_sweep(bench, request_of())
    trials = queries.trials(bench.db, done.id)
    assert done.state == "finished" and [t.number for t in trials] == [0, 1, 2, 3, 4]
    assert trials[0].params["stages.0.mask.ratio"] == 0.75, "the base's own value"
    found = queries.runs(bench.db, sweep_id=done.id)
    assert {r.kind for r in found} == {"trial"} and {t.run_id for t in trials} == {r.id for r in found}
    for trial in trials:
        run = queries.run(bench.db, trial.run_id)
        assert run.config["stages"][0]["mask"]["ratio"] == trial.params["stages.0.mask.ratio"]
        assert run.config["model"]["experts"]["count"] == trial.params["model.experts.count"]
        assert trial.values[1] == run.spent_usd, "dollars are what was spent, not what was planned"


def test_the_same_history_gives_the_same_proposals(make_home):
    at_once, in_two = bench_of(make_home("at once")), bench_of(make_home("in two"))
    sweep.run_sweep(at_once, request_of(trials=6))
    sweep.run_sweep(in_two, request_of(trials=3))
    sweep.run_sweep(in_two, request_of(trials=6))
    assert trials_of(at_once) == trials_of(in_two)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, empty: Path) -> list:
    folder = tmp_path_factory.mktemp("undisturbed")
    bench = bench_of(Home(root=folder, state=Path(shutil.copytree(empty, folder / "state"))))
    sweep.run_sweep(bench, request_of(trials=3))
    return trials_of(bench)


@pytest.mark.parametrize("crash_at", ["before the run", "while it trains", "before telling", "after telling"])
def test_stopped_anywhere_it_goes_on_without_asking_or_telling_twice(home, undisturbed, crash_at):
    db = Database(home.db_url)
    trainer, calls = Trainer(db), 0

    class Crash(Exception):
        """The process is gone."""

    def work(run_ids: Sequence[int]) -> None:
        nonlocal calls
        calls += 1
        if calls == 2 and crash_at == "while it trains":
            raise Crash
        trainer(run_ids)
        if calls == 2 and crash_at == "before telling":
            raise Crash

    def price(request):
        if calls == 1 and crash_at == "before the run":
            raise Crash
        return bench_of(home).price(request)

    def tell(line: str) -> None:
        if calls == 2 and crash_at == "after telling" and line.startswith("trial 1: val/loss"):
            raise Crash

    crashing = replace(bench_of(home, work), price=price, tell=tell)
    with pytest.raises(Crash):
        sweep.run_sweep(crashing, request_of(trials=3))
    again = bench_of(home, trainer)
    sweep.run_sweep(again, request_of(trials=3))
    assert trials_of(again) == undisturbed
    assert sorted(trainer.trained) == sorted(set(trainer.trained)), "no run is trained twice"
    assert len(queries.runs(db)) == 3


def test_a_finished_sweep_called_again_does_nothing(home):
    bench = bench_of(home)
    sweep.run_sweep(bench, request_of(trials=2))
    before = trials_of(bench)
    said = []
    sweep.run_sweep(replace(bench, tell=said.append), request_of(trials=2))
    assert trials_of(bench) == before and said == ["all 2 trials are done"]


def test_a_finished_sweep_given_more_trials_is_running_again(home):
    bench, states = bench_of(home), list[str]()
    sweep.run_sweep(bench, request_of(trials=1))

    def work(run_ids: Sequence[int]) -> None:
        states.append(queries.sweeps(bench.db)[0].state)
        bench.work(run_ids)

    done = sweep.run_sweep(replace(bench, work=work), request_of(trials=2))
    assert states == ["running"] and done.state == "finished"


def test_a_failed_run_is_a_failed_trial_and_the_sweep_goes_on(home):
    trainer = Trainer(Database(home.db_url))
    trainer.ending = "failed"

    def work(run_ids: Sequence[int]) -> None:
        trainer(run_ids)
        trainer.ending = "succeeded"

    bench = bench_of(home, work)
    sweep.run_sweep(bench, request_of(trials=3))
    assert [t[2] for t in trials_of(bench)] == ["failed", "complete", "complete"]


def test_it_stops_when_the_money_left_cannot_pay_a_median_trial(home):
    said: list[str] = []
    bench = replace(bench_of(home), tell=said.append)
    done = sweep.run_sweep(bench, request_of(max_usd=0.02, trials=50))
    spent = [r.spent_usd for r in queries.runs(bench.db, sweep_id=done.id)]
    assert 1 < len(spent) < 5 and sum(spent) <= 0.02
    assert "cannot pay one more trial" in said[-1]


def test_a_paused_trial_stops_the_sweep_with_what_to_do(home):
    db = Database(home.db_url)
    bench = bench_of(home, lambda run_ids: actions.pause(db, run_ids[0]) and None)
    with pytest.raises(Conflict) as raised:
        sweep.run_sweep(bench, request_of())
    assert "paused" in raised.value.message and "shoestring resume" in raised.value.hint
    assert len(queries.trials(db, 1)) == 1


def test_values_that_do_not_fit_together_are_a_failed_trial_without_a_run(home):
    bench = bench_of(home)
    refused = []

    def price(request):
        if not refused:
            refused.append(request.name)
            raise UsageError("these do not fit")
        return bench.price(request)

    sweep.run_sweep(replace(bench, price=price), request_of(trials=2))
    assert [t[2] for t in trials_of(bench)] == ["failed", "complete"]
    assert len(queries.runs(bench.db)) == 1


def test_no_trials_is_refused(home):
    with pytest.raises(UsageError):
        sweep.run_sweep(bench_of(home), request_of(), 0)


def test_the_report_names_the_front_the_best_and_what_the_money_bought(home):
    bench = bench_of(home)
    done = sweep.run_sweep(bench, request_of(), 6)
    report = sweep_report.report(home, bench.db, done)
    values = {t.number: t.values for t in report.trials}
    for number in report.front:
        assert not [v for v in values.values() if v[0] < values[number][0] and v[1] < values[number][1]]
    assert values[report.best][0] == min(v[0] for v in values.values())
    assert set(report.importance) == {"stages.0.mask.ratio", "model.experts.count"}
    assert report.spent_usd == pytest.approx(sum(v[1] for v in values.values()))
    assert f"trial {report.best}" in report.bought
