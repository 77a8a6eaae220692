"""Successive halving at equal dollars, several trials in flight, warm starts, and a cap that holds."""

from __future__ import annotations

import itertools
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from halving import SPEC, Worker, bench_of, request_of, table
from shoestring import actions, queries, study, sweep, sweep_report
from shoestring.db import Database
from shoestring.errors import Conflict, NotFound, UsageError
from shoestring.home import Home
from shoestring.records import MICRO, Sweep

FLAT = SPEC.replace("    rungs: {usd: [0.002, 0.006, 0.018]}\n", "    until: {usd: 0.004}\n")


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Path:
    home = Home(root=Path("/nowhere"), state=tmp_path_factory.mktemp("state"))
    study.open_storage(home)
    shutil.copy(migrated, home.state / "shoestring.db")
    return home.state


@pytest.fixture
def make_home(tmp_path: Path, empty: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Home]:
    monkeypatch.delenv("SHOESTRING_DB", raising=False)
    return lambda name: Home(root=tmp_path, state=Path(shutil.copytree(empty, tmp_path / name)))


@pytest.fixture
def home(make_home: Callable[[str], Home]) -> Home:
    return make_home("state")


@pytest.fixture(scope="module")
def halved(empty: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[sweep.Bench, Sweep]:
    """A sweep of nine trials over three rungs, undisturbed."""
    home = Home(root=Path("/nowhere"), state=Path(shutil.copytree(empty, tmp_path_factory.mktemp("halved") / "state")))
    bench = bench_of(home, Worker(Database(f"sqlite:///{home.state / 'shoestring.db'}")))
    return bench, sweep.run_sweep(bench, request_of())


def test_the_best_go_on_from_their_checkpoints_and_the_others_end_at_their_rung(halved):
    bench, done = halved
    worker: Worker = bench.work
    assert done.state == "finished"
    trials = queries.trials(bench.db, done.id)
    assert Counter(t.state for t in trials) == {"pruned": 8, "complete": 1}
    assert all(len(t.values) == 2 for t in trials), "Optuna is told what the pruned ones had reached"
    (best,) = [t for t in trials if t.state == "complete"]
    assert best.number == min(trials, key=lambda t: abs(t.params["stages.0.mask.ratio"] - 0.4)).number
    spans: dict[int, list[tuple[int, int]]] = {}
    for run_id, first, last in worker.trained:
        spans.setdefault(run_id, []).append((first, last))
    for run_id, parts in spans.items():
        assert parts[0][0] == 0 and all(a[1] == b[0] for a, b in itertools.pairwise(parts)), "never again"
        run = queries.run(bench.db, run_id)
        assert run.spent_usd * MICRO == sum(round(a.usd * MICRO) for a in queries.attempts(bench.db, run_id))
    assert len(spans[best.run_id]) == 3
    assert queries.spend_by_outcome(bench.db)["pruned"] == pytest.approx(
        sum(queries.run(bench.db, t.run_id).spent_usd for t in trials if t.state == "pruned")
    )


def test_it_costs_less_than_training_every_trial_to_the_top_and_the_report_says_how(halved):
    bench, done = halved
    report = sweep_report.report(bench.home, bench.db, done)
    assert report.spent_usd < 0.5 * 9 * 0.018
    first, second, top = report.rungs
    assert (first.reached, first.waiting) == (9, 0) and first.went_on + first.pruned == 9 and first.went_on >= 3
    assert second.reached == first.went_on and top.reached == second.went_on == 1
    assert first.best == second.best == top.best == report.best
    assert 0 < report.pruned_usd < report.spent_usd


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 3])
def test_killed_anywhere_a_halving_goes_on_to_the_same_trials_with_nothing_trained_twice(make_home, jobs):
    class Killed(Exception):
        """The sweeping process is gone."""

    calm = bench_of(make_home("calm"))
    sweep.run_sweep(calm, request_of(), jobs=jobs)
    home = make_home("stormy")
    worker, kills = Worker(Database(home.db_url)), 0
    for after in range(2, 200):
        left = after

        def tick(*_: object) -> None:
            nonlocal left
            left -= 1
            if left <= 0:
                raise Killed

        def work(ids: list[int]) -> None:
            tick()
            worker(ids)
            tick()

        bench = bench_of(home, work, tell=tick)
        try:
            sweep.run_sweep(bench, request_of(), jobs=jobs)
            break
        except Killed:
            kills += 1
    assert kills >= 6
    assert table(bench) == table(calm)
    seen = Counter((run_id, first) for run_id, first, _ in worker.trained)
    assert set(seen.values()) == {1}, "no part of a run is trained twice"


def test_several_jobs_are_in_flight_at_once_and_none_beyond_the_trials_asked_for(home):
    most = 0
    db = Database(home.db_url)
    worker = Worker(db)

    def work(ids: list[int]) -> None:
        nonlocal most
        most = max(most, len(ids))
        worker(ids)

    done = sweep.run_sweep(bench_of(home, work), request_of(FLAT), 7, jobs=3)
    assert most == 3 and done.n_trials == 7
    assert [t.state for t in queries.trials(db, done.id)] == ["complete"] * 7
    assert len({str(t.params) for t in queries.trials(db, done.id)}) == 7


@pytest.mark.parametrize(
    ("text", "dearer", "jobs"),
    [
        (SPEC, 1.0, 1),
        (SPEC, 3.0, 3),
        (FLAT, 3.0, 1),
        (FLAT, 3.0, 3),
        pytest.param(FLAT, 0.7, 3, marks=pytest.mark.slow),
    ],
)
def test_the_sweeps_cap_holds_whatever_a_trial_really_costs(home, jobs, dearer, text):
    said: list[str] = []
    bench = bench_of(home, Worker(Database(home.db_url), dearer), tell=said.append)
    done = sweep.run_sweep(bench, request_of(text, max_usd=0.02, trials=50), jobs=jobs)
    spent = sum(r.spent_usd for r in queries.runs(bench.db, sweep_id=done.id))
    beat = 0.05 * 0.018 * dearer  # this worker beats once an evaluation
    assert 0 < spent <= 0.02 + jobs * beat, "no more than a beat of each in flight beyond the cap"
    assert done.state == "finished" and ("cannot pay" in said[-1] or "are spent" in said[-1])


def test_a_trial_paused_at_the_cap_ends_the_sweep_in_words_and_a_larger_budget_takes_it_up(home):
    said: list[str] = []
    bench = bench_of(home, Worker(Database(home.db_url), 2.0), tell=said.append)
    done = sweep.run_sweep(bench, request_of(FLAT, max_usd=0.005), 2)
    (run,) = queries.runs(bench.db, sweep_id=done.id)
    assert (run.state, run.reason, done.state) == ("paused", "budget", "finished")
    assert "was paused at its cap" in said[-1] and "sweep again" in said[-1]
    sweep.run_sweep(bench, request_of(FLAT, max_usd=0.1), 2)
    assert [t[2] for t in table(bench)] == ["complete", "complete"]
    assert queries.run(bench.db, run.id).state == "succeeded"


def test_one_objective_under_a_dollar_constraint_has_a_best_that_keeps_it(home):
    text = FLAT.replace("{val/loss: minimize, cost/usd: minimize}", "{val/loss: minimize}")
    limited = text.replace("    trials: 9\n", "    trials: 6\n    constraints: {cost/usd: 0.001}\n")
    bench = bench_of(home)
    done = sweep.run_sweep(bench, request_of(limited))
    report = sweep_report.report(home, bench.db, done)
    assert report.broken == [0, 1, 2, 3, 4, 5] and report.best is None
    assert "no trial keeps to cost/usd at most 0.001" in report.bought
    wide = sweep.run_sweep(bench, request_of(limited.replace("0.001}", "0.1}")))
    assert sweep_report.report(home, bench.db, wide).broken == []


def test_points_are_tried_first_after_the_base(home):
    text = FLAT.replace(
        "trials: 9", "trials: 3\n    enqueue: [{stages.0.mask.ratio: 0.1}, {stages.0.mask.ratio: 0.75}]"
    )
    bench = bench_of(home)
    sweep.run_sweep(bench, request_of(text))
    ratios = [row[1]["stages.0.mask.ratio"] for row in table(bench)]
    assert ratios[:2] == [0.75, 0.1] and ratios[2] not in (0.75, 0.1), "the base's own point is not tried twice"


def test_a_warm_start_takes_earlier_trials_and_pays_for_none_of_them(home):
    bench = bench_of(home)
    first = sweep.run_sweep(bench, request_of(FLAT, trials=4))
    later = FLAT.replace("  small:\n", "  later:\n")
    warm = request_of(later.replace("trials: 9", "trials: 2\n    warm_start: [small]"))
    for _ in range(2):
        done = sweep.run_sweep(bench, warm)
    rows = table(bench, "later")
    assert [row[1:] for row in rows[:4]] == [row[1:] for row in table(bench)]
    assert len(rows) == 6 and {row[2] for row in rows} == {"complete"}
    report = sweep_report.report(home, bench.db, done)
    own = queries.runs(bench.db, sweep_id=done.id)
    assert report.earlier == [0, 1, 2, 3] and report.spent_usd == sum(r.spent_usd for r in own) and len(own) == 2
    assert queries.sweeps(bench.db)[0].spent_usd == first.spent_usd


def test_a_warm_start_from_all_takes_only_runs_of_this_recipe(home):
    bench = bench_of(home)
    sweep.run_sweep(bench, request_of(FLAT, trials=2))
    other = FLAT.replace("lr: 1e-3", "lr: 2e-3").replace("trials: 9", "trials: 1\n    warm_start: true")
    assert len(sweep.run_sweep(bench, request_of(other)).spec["search"]) == 1
    assert len(table(bench)) == 1, "another learning rate is another recipe"


@pytest.mark.parametrize(
    ("what", "error", "word"),
    [("[99]", NotFound, "no run 99"), ("[smal]", NotFound, "did you mean `small`"), ("[1]", UsageError, "differs")],
)
def test_a_warm_start_from_what_is_not_there_or_does_not_fit_is_refused_and_begins_nothing(home, what, error, word):
    bench = bench_of(home)
    sweep.run_sweep(bench, request_of(FLAT, trials=1))
    text = FLAT.replace("lr: 1e-3", "lr: 2e-3").replace("trials: 9", f"trials: 1\n    warm_start: {what}")
    with pytest.raises(error) as raised:
        sweep.run_sweep(bench, request_of(text))
    assert word in f"{raised.value.message} {raised.value.hint}"
    assert len(queries.sweeps(bench.db)) == 1


def test_no_jobs_are_refused(home):
    with pytest.raises(UsageError, match="--jobs 0"):
        sweep.run_sweep(bench_of(home), request_of(), jobs=0)


def test_a_second_process_on_the_same_sweep_is_refused_and_the_first_goes_on(home):
    bench = bench_of(home)

    def work(ids: list[int]) -> None:
        with pytest.raises(Conflict, match="another process runs sweep small"):
            sweep.run_sweep(bench, request_of(FLAT, trials=1))
        bench.work(ids)

    sweep.run_sweep(replace(bench, work=work), request_of(FLAT, trials=1))
    assert [row[2] for row in table(bench)] == ["complete"]


def test_promoting_and_pruning_do_nothing_to_a_run_that_does_not_wait_at_that_rung(make_home, either):
    home = make_home("state")
    bench = bench_of(home)
    worker: Worker = bench.work
    asked = replace(request_of(), trials=1)
    plan = bench.price(asked.base)
    one = actions.submission(plan, kind="trial")
    one = replace(one, plan={**one.plan, "rungs": {"metric": "val/loss", "usd": [0.002, 0.006]}})
    run_id = actions.submit(bench.db, [one], runs_dir=home.runs)[0].run_id
    assert not actions.promote(bench.db, run_id, 0) and not actions.prune(bench.db, run_id, "x")
    worker()
    assert queries.run(bench.db, run_id).reason == "rung"
    assert not actions.promote(bench.db, run_id, 1)
    assert actions.promote(bench.db, run_id, 0, max_usd=0.5) and not actions.promote(bench.db, run_id, 0)
    assert queries.run(bench.db, run_id).max_usd == 0.5
    worker()
    assert actions.prune(bench.db, run_id, "not among the best") and not actions.prune(bench.db, run_id, "again")
    run = queries.run(bench.db, run_id)
    assert (run.state, run.reason) == ("cancelled", "pruned: not among the best")
