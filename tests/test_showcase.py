"""The showcase continues the winner, once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from shoestring import plan, queries, runs, showcase
from shoestring.actions import submit_plans
from shoestring.db import Database
from shoestring.errors import Conflict, NotFound, UsageError
from shoestring.home import Home
from shoestring.ranking import Place, Ranking
from shoestring.tail import Point
from shoestring_trainer.config import TrainConfig
from shoestring_trainer.prepare.procedural import procedural_set
from shoestring_trainer.run_dir import Result, RunDir

SPEC = """
version: 1
project: toy
data: procedural-16
defaults:
  model: {preset: nano}
  until: {usd: 0.001}
  lr: 1e-3
experiments:
  dense: {stages: [{mask: {kind: none}}]}
  masked:
    stages:
      - {share: 0.8, warmup_steps: 5, mask: {kind: random, ratio: 0.75}}
      - {share: 0.2, mask: {kind: none}}
showcase: {until: {usd: 0.003}}
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "procedural-16"
    procedural_set().write(folder)
    return folder


@pytest.fixture
def home(tmp_path: Path, data: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.delenv("SHOESTRING_DB", raising=False)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "procedural-16").symlink_to(data)
    (tmp_path / "experiments.yaml").write_text(SPEC)
    home = Home(root=tmp_path, state=tmp_path / ".shoestring")
    home.state.mkdir()
    shutil.copy(migrated, home.state / "shoestring.db")
    return home


def survey(home: Home) -> plan.Survey:
    return plan.survey(home.root / "experiments.yaml", home)


def submit_all(home: Home, db: Database) -> None:
    surveyed = survey(home)
    planned = [plan.plan_request(request, surveyed.costs) for request in surveyed.requests]
    submit_plans(db, planned, runs_dir=home.runs)


def finish_all(db: Database, losses: dict[str, float]) -> None:
    """Bring every queued run to its end, with a checkpoint folder of its last step."""
    while lease := runs.claim(db, "worker", "nonce"):
        config = TrainConfig.model_validate(lease.run.config)
        n = config.n_steps
        runs.start(db, lease, 0)
        usd = config.planned_usd_at(n)
        loss = losses[lease.run.experiment]
        runs.record(db, lease, [Point("val/loss", n, loss, images=1.0, flops=1.0, usd=usd, seconds=1.0)])
        folder = RunDir(Path(lease.run.run_dir)).checkpoint(n, lease.token)
        folder.mkdir(parents=True)
        (folder / "MANIFEST.json").write_text("{}")
        runs.finish(db, lease, Result(lease.token, "succeeded", "", "", n), 1000)


def test_it_carries_the_winners_stages_and_checkpoint_on_and_is_queued_once(home):
    db = Database(home.db_url)
    submit_all(home, db)
    finish_all(db, {"dense": 0.6, "masked": 0.5})
    shown = showcase.submit_showcase(home, db, survey(home), None, {})
    assert shown.winner.experiment == "masked" and not shown.existed
    run = queries.run(db, shown.run_id)
    before, now = TrainConfig.model_validate(shown.winner.config), TrainConfig.model_validate(run.config)
    assert (run.kind, run.parent_id) == ("showcase", shown.winner.id)
    assert now.stages[: len(before.stages)] == before.stages
    assert [s.mask for s in now.stages[2:]] == [s.mask for s in before.stages]
    assert now.start is not None and now.start.step == before.n_steps
    assert Path(now.start.checkpoint) == RunDir(Path(shown.winner.run_dir)).published()[0].resolve()
    assert now.planned_usd_at(now.n_steps) == pytest.approx(0.003, rel=0.05)
    again = showcase.submit_showcase(home, db, survey(home), None, {})
    assert (again.run_id, again.existed) == (shown.run_id, True)
    more = showcase.submit_showcase(home, db, survey(home), 0.004, {})
    assert more.run_id != shown.run_id


def test_without_a_finished_experiment_it_says_what_to_do(home):
    db = Database(home.db_url)
    submit_all(home, db)
    with pytest.raises(NotFound) as raised:
        showcase.submit_showcase(home, db, survey(home), None, {})
    assert "shoestring work" in raised.value.hint


def test_dollars_that_the_winner_has_had_already_are_refused(home):
    db = Database(home.db_url)
    submit_all(home, db)
    finish_all(db, {"dense": 0.6, "masked": 0.5})
    with pytest.raises(UsageError):
        showcase.submit_showcase(home, db, survey(home), 0.0, {})


def test_a_winner_whose_last_checkpoint_is_gone_is_a_conflict(home):
    db = Database(home.db_url)
    submit_all(home, db)
    finish_all(db, {"dense": 0.6, "masked": 0.5})
    winner = next(r for r in queries.runs(db) if r.experiment == "masked")
    (RunDir(Path(winner.run_dir)).published()[0] / "MANIFEST.json").unlink()
    with pytest.raises(Conflict) as raised:
        showcase.submit_showcase(home, db, survey(home), None, {})
    assert "--again" in raised.value.hint


def test_among_tied_experiments_the_one_with_the_better_value_is_continued(home):
    db = Database(home.db_url)
    submit_all(home, db)
    finish_all(db, {"dense": 0.5, "masked": 0.5})
    found = queries.runs(db)
    dense, masked = (next(r for r in found if r.experiment == e) for e in ("dense", "masked"))
    place = {"place": 1, "se": 0.1, "usd": 1.0, "seeds": 1}
    tie = Ranking("val/loss", "minimize", 1.0, "scatter", (
        Place(experiment="masked", value=0.49, run_ids=(masked.id,), tied_with=("dense",), **place),
        Place(experiment="dense", value=0.5, run_ids=(dense.id,), tied_with=("masked",), **place),
    ), ())  # fmt: skip
    assert showcase.choose_winner(tie, found) == masked
