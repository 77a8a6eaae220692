"""Priced plans and sweeps of a real spec file, as rows: submitted, proposed, told."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from shoestring import actions, plan, queries, runs
from shoestring.errors import BudgetRefused, Conflict, NotFound
from shoestring.home import Home
from shoestring.resolve import SweepRequest
from shoestring_trainer.config import TrainConfig
from shoestring_trainer.prepare.procedural import procedural_set
from shoestring_trainer.run_dir import Result

NOW = 1_000_000.0
SPEC = """
version: 1
project: toy
data: procedural-16
experiments:
  dense:
    model: {preset: nano}
    until: {usd: 0.001}
    seeds: [4]
    tags: [first]
    budget: {max_usd: 0.2}
    stages: [{lr: 1e-3, mask: {kind: random, ratio: 0.5}}]
sweeps:
  masks:
    base: dense
    search: {stages.0.mask.ratio: {low: 0.0, high: 0.9}}
    objectives: {val/loss: minimize}
    budget: {max_usd: 0.1}
    trials: 4
"""


@pytest.fixture(scope="module")
def surveyed(tmp_path_factory: pytest.TempPathFactory) -> plan.Survey:
    root = tmp_path_factory.mktemp("project")
    procedural_set(copies=1).write(root / "data" / "procedural-16")
    (root / "experiments.yaml").write_text(SPEC)
    return plan.survey(root / "experiments.yaml", Home(root=root, state=root / ".shoestring"))


@pytest.fixture
def asked(surveyed: plan.Survey) -> SweepRequest:
    return surveyed.sweeps[0]


def test_a_priced_plan_becomes_a_run_with_everything_it_says(surveyed, db, tmp_path: Path):
    (request,) = surveyed.requests
    priced = plan.plan_request(request, surveyed.costs)
    origin = {"kind": "trial", "provenance": {"git_commit": "1"}}
    (done,) = actions.submit_plans(db, [priced], runs_dir=tmp_path, now=NOW, **origin)
    run = queries.run(db, done.run_id)
    assert (run.name, run.experiment, run.project, run.seed) == ("dense/s4", "dense", "toy", 4)
    assert (run.kind, run.tags, run.max_usd, run.spec_hash) == ("trial", ("first",), 0.2, priced.spec_hash)
    assert run.planned_usd == pytest.approx(priced.usd.p50, abs=1e-6) == pytest.approx(0.001, rel=0.1)
    assert (run.spec["until"]["usd"], run.plan["n_steps"], run.n_steps) == (0.001, priced.n_steps, priced.n_steps)
    assert TrainConfig.model_validate(run.config) == priced.config and run.provenance == {"git_commit": "1"}
    assert actions.submit_plans(db, [priced], runs_dir=tmp_path)[0].existed


def grown(asked: SweepRequest, **changes: object) -> SweepRequest:
    return dataclasses.replace(asked, spec=asked.spec.model_copy(update=changes))


def test_a_sweep_is_made_once_grows_and_is_another_when_it_searches_elsewhere(db, asked):
    sweep = actions.create_sweep(db, asked, now=NOW)
    assert (sweep.name, sweep.base, sweep.state, sweep.max_usd) == ("masks", "dense", "running", 0.1)
    more = dataclasses.replace(grown(asked, trials=9, budget=None), trials=9, max_usd=None)
    later = actions.create_sweep(db, more, now=NOW + 1)
    assert (later.id, later.max_usd, later.spec["trials"], later.created_at) == (sweep.id, None, 9, NOW)
    assert actions.create_sweep(db, grown(asked, seed=1)).id != sweep.id
    other_base = dataclasses.replace(asked, base=asked.base.with_param("batch_size", 8))
    assert actions.create_sweep(db, other_base).id != sweep.id
    assert actions.finish_sweep(db, sweep.id, "all done", now=NOW).state == "finished"
    with pytest.raises(NotFound):
        actions.finish_sweep(db, 99)


def test_a_trial_is_proposed_run_and_told(db, submission, asked, tmp_path: Path):
    sweep = actions.create_sweep(db, asked, now=NOW)
    for _ in range(2):
        actions.propose_trial(db, sweep.id, 0, {"ratio": 0.5})
    trial = submission(kind="trial", sweep_id=sweep.id)
    run_id = actions.submit(db, [trial], runs_dir=tmp_path, now=NOW)[0].run_id
    actions.propose_trial(db, sweep.id, 0, {"ratio": 0.5}, run_id)
    assert [(t.number, t.run_id, t.state) for t in queries.trials(db, sweep.id)] == [(0, run_id, "running")]
    with pytest.raises(Conflict, match="other parameters"):
        actions.propose_trial(db, sweep.id, 0, {"ratio": 0.6})
    lease = runs.claim(db, "w", "n", now=NOW)
    runs.start(db, lease, 0, now=NOW)
    runs.finish(db, lease, Result(lease.token, "succeeded", "", "", 100), 2_500, now=NOW)
    actions.finish_trial(db, sweep.id, 0, "complete", (0.3, 0.0025))
    actions.propose_trial(db, sweep.id, 1, {"ratio": 0.9})
    actions.finish_trial(db, sweep.id, 1, "failed")
    done, failed = queries.trials(db, sweep.id)
    assert (done.state, done.values, failed.state, failed.values) == ("complete", (0.3, 0.0025), "failed", ())
    (now,) = queries.sweeps(db)
    assert (now.n_trials, now.spent_usd) == (2, pytest.approx(0.0025))
    with pytest.raises(NotFound, match="no trial 5"):
        actions.finish_trial(db, sweep.id, 5, "failed")
    with pytest.raises(NotFound, match="no sweep 9"):
        actions.propose_trial(db, 9, 0, {})


def test_a_sweep_that_the_projects_budget_cannot_pay_does_not_begin(asked, db):
    actions.set_budget(db, "toy", 0.09, now=NOW)
    with pytest.raises(BudgetRefused, match=r"1 sweep may cost \$0.1"):
        actions.create_sweep(db, asked, now=NOW)
    assert not queries.sweeps(db)
    actions.set_budget(db, "toy", 0.11, now=NOW)
    made = actions.create_sweep(db, asked, now=NOW)
    actions.set_budget(db, "toy", 0.05, now=NOW)
    assert actions.create_sweep(db, asked, now=NOW).id == made.id  # one that has begun goes on
