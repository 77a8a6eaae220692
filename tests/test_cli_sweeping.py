"""The verbs that compare and go on, as a user gives them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from shoestring import evaluation, plan, queries, runs
from shoestring.actions import submit_plans
from shoestring.cli.main import app
from shoestring.db import Database
from shoestring.errors import Conflict, ShoestringError
from shoestring.home import Home
from shoestring.tail import Point
from shoestring_trainer.config import TrainConfig
from shoestring_trainer.prepare.procedural import procedural_set
from shoestring_trainer.run_dir import Result, RunDir
from typer.testing import CliRunner

SPEC = """
version: 1
project: toy
data: procedural-16
defaults:
  model: {preset: nano}
  until: {steps: 6}
  batch_size: 4
  lr: 1e-3
  evaluate: {every_steps: 3, n_images: 4, sigmas: [0.5]}
  checkpoints: {every_steps: 6}
experiments:
  dense: {seeds: [0, 1], stages: [{mask: {kind: none}}]}
  masked: {stages: [{mask: {kind: random, ratio: 0.5}}]}
sweeps:
  ratio:
    base: masked
    until: {steps: 4}
    search: {stages.0.mask.ratio: {low: 0.0, high: 0.9}}
    objectives: {val/loss: minimize, cost/usd: minimize}
    trials: 2
"""


@pytest.fixture
def project(tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.delenv("SHOESTRING_DB", raising=False)
    monkeypatch.delenv("SHOESTRING_HOME", raising=False)
    (tmp_path / "experiments.yaml").write_text(SPEC)
    procedural_set().write(tmp_path / "data" / "procedural-16")
    home = Home(root=tmp_path, state=tmp_path / ".shoestring")
    home.state.mkdir()
    shutil.copy(migrated, home.state / "shoestring.db")
    monkeypatch.chdir(tmp_path)
    return home


def shoestring(*argv: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(argv), catch_exceptions=False)
    return done.exit_code, done.output


def finish_all(home: Home, losses: dict[str, float]) -> None:
    """Submit the experiments and bring each to its end as a worker does, with these last losses."""
    surveyed, db = plan.survey(home.root / "experiments.yaml", home), Database(home.db_url)
    submit_plans(db, [plan.plan_request(r, surveyed.costs) for r in surveyed.requests], runs_dir=home.runs)
    while lease := runs.claim(db, "worker", "nonce"):
        config = TrainConfig.model_validate(lease.run.config)
        runs.start(db, lease, 0)
        usd = config.planned_usd_at(config.n_steps)
        point = Point("val/loss", config.n_steps, losses[lease.run.name], images=1.0, flops=1.0, usd=usd, seconds=1.0)
        runs.record(db, lease, [point])
        runs.finish(db, lease, Result(lease.token, "succeeded", "", "", config.n_steps), 1000)


def test_rank_prints_places_ties_and_what_the_noise_is(project):
    finish_all(project, {"dense/s0": 0.5, "dense/s1": 0.52, "masked/s0": 0.51})
    code, text = shoestring("rank", "--spec", "experiments.yaml")
    assert code == 0
    assert "1. dense" in text and "1. masked" in text and "tie with masked" in text and "2 seeds" in text
    assert "Student's t" in text and "cannot be known from one seed (masked)" in text


def test_rank_as_json_has_the_numbers_of_the_database(project):
    finish_all(project, {"dense/s0": 0.5, "dense/s1": 0.5, "masked/s0": 0.7})
    code, text = shoestring("rank", "--json")
    places = json.loads(text)["places"]
    assert code == 0 and [(p["place"], p["experiment"], p["value"]) for p in places] == [
        (1, "dense", 0.5),
        (2, "masked", 0.7),
    ]


def test_rank_with_nothing_finished_says_what_to_do(project):
    code, text = shoestring("rank")
    assert code == 0 and "shoestring work" in text


def test_rank_by_an_unknown_metric_is_a_usage_error(project):
    assert shoestring("rank", "--metric", "val/joy")[0] == 2


def test_a_sweep_that_is_not_in_the_file_is_not_found(project):
    code, text = shoestring("sweep", "run", "experiments.yaml", "rtio", "--json")
    assert code == 6 and "ratio" in text
    assert shoestring("sweep", "report", "rtio")[0] == 6


def test_evaluate_refuses_what_still_changes_and_what_has_no_checkpoint(project):
    assert shoestring("evaluate", "showcase")[0] == 6
    finish_all(project, {"dense/s0": 0.5, "dense/s1": 0.5, "masked/s0": 0.7})
    code, text = shoestring("evaluate", "dense/s0", "--json")
    assert code == 7 and "no checkpoint" in text
    assert shoestring("evaluate", "dense/s0", "--n", "1")[0] == 2


def test_an_evaluation_that_was_made_is_reused_and_stored_under_the_runs_last_step(project):
    finish_all(project, {"dense/s0": 0.5, "dense/s1": 0.5, "masked/s0": 0.7})
    db = Database(project.db_url)
    run = queries.find_run(db, "masked/s0")
    facts = {"eval/kid_effnet": 0.1, "eval/kid_effnet_se": 0.01, "n": 50, "untrained": True}
    file = Path(run.run_dir) / "evaluations" / "step-00000006-n50-untrained.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(facts))
    done = evaluation.evaluate(db, run, 50, weights="untrained")
    assert done.reused
    stored = queries.last_values(db, [run.id], ["eval/kid_effnet_untrained", "eval/kid_effnet"])[run.id]
    assert stored == {"eval/kid_effnet_untrained": 0.1}, "untrained weights never pass for the trained ones"


@pytest.mark.slow
def test_what_the_quality_module_says_reaches_the_user(project):
    finish_all(project, {"dense/s0": 0.5, "dense/s1": 0.5, "masked/s0": 0.7})
    db = Database(project.db_url)
    run = queries.find_run(db, "masked/s0")
    with pytest.raises(Conflict):
        evaluation.evaluate(db, run, 50)
    broken = RunDir(Path(run.run_dir)).checkpoint(6, 1)
    broken.mkdir(parents=True)
    (broken / "MANIFEST.json").write_text("{}")
    with pytest.raises(ShoestringError) as raised:
        evaluation.evaluate(db, run, 50)
    assert "measuring failed" in raised.value.message


def test_the_database_verbs_say_where_and_how_it_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHOESTRING_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("SHOESTRING_DB", raising=False)
    assert shoestring("db", "check")[0] == 4
    assert shoestring("db", "upgrade")[0] == 0
    code, text = shoestring("db", "check", "--json")
    assert code == 0 and json.loads(text)["current"]
    assert "shoestring.db" in shoestring("db", "url")[1]


def test_doctor_ends_with_4_when_something_must_be_mended(project):
    code, text = shoestring("doctor", "--json")
    report = json.loads(text)
    assert code == 0 and report["ok"]
    (project.data / "broken").mkdir()
    (project.data / "broken" / "manifest.json").write_text("{")
    code, text = shoestring("doctor")
    assert code == 4 and "✗ data broken" in text and "1 to mend" in text


@pytest.mark.slow
def test_a_real_sweep_a_ranking_that_mlflow_shares_and_a_showcase_that_continues_the_winner(project):
    assert shoestring("submit", "experiments.yaml", "--only", "masked")[0] == 0
    assert shoestring("work", "--until-empty")[0] == 0
    code, text = shoestring("sweep", "run", "experiments.yaml", "ratio", "--json")
    report = json.loads(text[text.index("{") :])
    assert code == 0 and [t["state"] for t in report["trials"]] == ["complete", "complete"]
    assert report["trials"][0]["params"] == {"stages.0.mask.ratio": 0.5} and report["spent_usd"] > 0
    again = json.loads(shoestring("sweep", "run", "experiments.yaml", "ratio", "--json")[1])
    assert again.get("trials") == report["trials"], f"the second call trains nothing: {again}"

    code, text = shoestring("showcase", "experiments.yaml", "--extra-usd", "0.0002", "--json")
    assert code == 0 and not json.loads(text)["existed"]
    assert shoestring("work", "--until-empty")[0] == 0
    db = Database(project.db_url)
    shown = queries.run(db, json.loads(text)["run_id"])
    assert shown.state == "succeeded" and shown.step == shown.n_steps > 6

    code, text = shoestring("rank", "--spec", "experiments.yaml", "--check")
    assert code == 0 and "the same here and in MLflow" in text
