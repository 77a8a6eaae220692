"""A run's request written out as a file: planned again, it is the same run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import doors
import pytest
from shoestring import queries
from shoestring.clone import experiments_yaml
from shoestring.db import Database
from shoestring.errors import Conflict
from shoestring.home import Home
from shoestring.migrate import upgrade
from shoestring.plan import plan_file, plan_text
from shoestring.records import Run
from shoestring.submissions import submit_plans

EVERYTHING = """\
version: 1
project: tiny
data: tiny
sources: [{data: tiny, weight: 3}, {data: other, weight: 1, origin: synthetic}]
experiments:
  "1e3":
    model: {preset: nano, experts: {count: 4, capacity: 2}, qkv_ratio: [0.25, 1], pos_scale: 1.5}
    until: {hours: 0.5, val_loss: 0.01}
    seeds: [3, 4]
    batch_size: 32
    objective: {kind: flow, shift: 2.5}
    optimizer: {kind: muon, momentum: 0.9}
    tags: ["no", 'a "b"', "1e3", plain one, "#x", "emoji \\U0001f600"]
    notes: "two\\nlines, {braces} and: a colon"
    priority: -3
    budget: {max_usd: 0.5}
    lr: 1e-5
    noise: {p_mean: -1.2, p_std: 0.8}
    stages:
      - {share: 0.5, mask: {kind: random, ratio: 0.75, place: naive}, warmup_steps: 5}
      - {share: 0.5, mask: {kind: none}, cosine_to: 0.2, grad_clip: 1}
    evaluate: {every_share: 0.5, n_images: 8, sigmas: [0.5, 1]}
    samples:
      {prompts: ["yes", "- a dash", "a, b", "ünï"], every_steps: 7, guidance_interval: [0.2, 5], seeds: [1, 2, 3, 4]}
    checkpoints: {every_share: 0.3, keep_last: 1}
    compute: {precision: bf16, accumulate: 2, recompute: true}
"""
SWEPT = (
    doors.GOOD
    + """\
sweeps:
  s:
    base: a
    search: {model.experts.count: {choices: [2, 4]}}
    objectives: {val/loss: minimize}
"""
)


def stored(root: Path, text: str) -> list[Run]:
    """The runs that a file makes, as the database gives them back."""
    doors.project(root, text)
    other = doors.MANIFEST | {"name": "other", "digest": "e" * 64}
    (root / "data" / "other").mkdir(exist_ok=True)
    (root / "data" / "other" / "manifest.json").write_text(json.dumps(other))
    home = Home(root, root / "state")
    home.state.mkdir(exist_ok=True)
    upgrade(home.db_url)
    db = Database(home.db_url)
    submit_plans(db, plan_file(root / "experiments.yaml", home).runs, runs_dir=home.runs)
    return queries.runs(db)


@pytest.fixture(autouse=True)
def _this_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHOESTRING_DB", raising=False)


@pytest.mark.parametrize("text", [doors.GOOD, EVERYTHING], ids=["plain", "everything"])
def test_a_clone_asks_for_the_very_same_run(tmp_path: Path, text: str):
    for run in stored(tmp_path, text):
        written = experiments_yaml(run)
        (again,) = plan_text(written, "clone.yaml", Home(tmp_path, tmp_path / "state")).runs
        assert again.spec_hash == run.spec_hash
        assert json.loads(again.request.model_dump_json()) == run.spec
        assert again.config.model_dump(mode="json") == run.config
        assert max(map(len, written.splitlines())) <= 120


def test_a_clone_can_be_changed_and_is_another_run_then(tmp_path: Path):
    (run,) = stored(tmp_path, doors.GOOD)
    written = experiments_yaml(run)
    assert "seed: 0" in written and "preset" not in written
    (other,) = plan_text(written.replace("seed: 0", "seed: 7"), "x", Home(tmp_path, tmp_path / "state")).runs
    assert other.request.seed == 7 and other.spec_hash != run.spec_hash


def test_a_trial_is_cloned_as_the_run_that_it_was(tmp_path: Path):
    (run,) = stored(tmp_path, SWEPT)
    from shoestring.plan import survey
    from shoestring.run_plan import plan_request

    home = Home(tmp_path, tmp_path / "state")
    surveyed = survey(tmp_path / "experiments.yaml", home)
    trial = plan_request(surveyed.sweeps[0].trial(3, {"model.experts.count": 4}), surveyed.costs)
    asked = replace(run, spec=trial.request.model_dump(mode="json"))
    (again,) = plan_text(experiments_yaml(asked), "x", home).runs
    assert again.spec_hash == trial.spec_hash != run.spec_hash


@pytest.mark.parametrize("spec", [{}, {"stages": [{"mask": {"kind": "none"}}], "seed": 0}, {"name": 3}])
def test_a_request_that_is_not_whole_is_refused_with_what_to_do(tmp_path: Path, spec: dict):
    (run,) = stored(tmp_path, doors.GOOD)
    with pytest.raises(Conflict, match="run 1 cannot be cloned") as refusal:
        experiments_yaml(replace(run, spec=spec))
    assert "copy its experiment" in refusal.value.hint
