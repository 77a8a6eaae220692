"""Weights from elsewhere become runs; runs become files, and are trained on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from shoestring import exchange, plan, queries
from shoestring.cli.main import app
from shoestring.db import Database
from shoestring.errors import Conflict, NotFound, UsageError
from shoestring.home import Home
from shoestring_trainer.config import ModelConfig, TrainConfig
from shoestring_trainer.model import DiT
from shoestring_trainer.prepare.procedural import procedural_set
from shoestring_trainer.public_layout import constants, export_weights
from shoestring_trainer.run_dir import RunDir
from typer.testing import CliRunner

SPEC = """
version: 1
project: toy
data: procedural-16
defaults: {model: {preset: nano}, until: {steps: 4}, batch_size: 4, evaluate: {every_steps: 2, n_images: 2}}
experiments:
  dense: {stages: [{mask: {kind: none}, lr: 1e-3, warmup_steps: 1}]}
  turned: {optimizer: {kind: muon}, stages: [{mask: {kind: none}, lr: 1e-3}]}
"""
MODEL = ModelConfig(dim=32, depth=2, head_dim=8, multiple_of=8, patch=4, mixer_depth=1, mixer_dim=32)
SHAPE = (3, 16, 16)


@pytest.fixture
def project(tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.delenv("SHOESTRING_DB", raising=False)
    monkeypatch.delenv("SHOESTRING_HOME", raising=False)
    (tmp_path / "experiments.yaml").write_text(SPEC)
    procedural_set(copies=2).write(tmp_path / "data" / "procedural-16")
    home = Home(root=tmp_path, state=tmp_path / ".shoestring")
    home.state.mkdir()
    shutil.copy(migrated, home.state / "shoestring.db")
    monkeypatch.chdir(tmp_path)
    net = DiT(MODEL, SHAPE, 32)
    net.init_weights(torch.Generator().manual_seed(0))
    with torch.no_grad():  # the head starts at zero, and pictures should depend on every weight
        net.head.linear.weight.normal_(0, 0.1, generator=torch.Generator().manual_seed(1))
    save_file(export_weights(net.state_dict(), 4) | constants(MODEL, SHAPE), tmp_path / "Public Weights.safetensors")
    return home


def shoestring(*argv: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(argv), catch_exceptions=False)
    return done.exit_code, done.output


def answer(*argv: str) -> dict:
    code, text = shoestring(*argv, "--json")
    assert code == 0, text
    return json.loads(text)


@pytest.mark.slow
def test_weights_are_imported_once_sampled_exported_and_trained_on(project):
    db = Database(project.db_url)
    file = "Public Weights.safetensors"
    made = answer("import", file)
    run = queries.run(db, made["run"])
    assert (run.name[:15], run.kind, run.state, run.project) == ("public-weights/", "import", "succeeded", "toy")
    assert run.provenance["imported"]["file"] == file and len(run.provenance["imported"]["sha256"]) == 64
    assert [c.step for c in queries.checkpoints(db, run.id)] == [run.step] == [run.n_steps]
    assert answer("import", file) == {"run": run.id, "existed": True}

    drawn = answer("sample", "public-weights", "--prompt", "a red circle", "--steps", "2")
    assert len(drawn["files"]) == 2

    answer("export", str(run.id), "--out", "out/public.safetensors")
    came, went = load_file(file), load_file("out/public.safetensors")
    assert came.keys() == went.keys() and all(torch.equal(came[name], went[name]) for name in came)

    tuned = answer("finetune", "public-weights", "--like", "dense", "--usd", "0.002")
    config = TrainConfig.model_validate(queries.run(db, tuned["run_id"]).config)
    assert config.model == TrainConfig.model_validate(run.config).model
    assert config.start is not None and config.stages[1].warmup_steps == 1
    few = config.model_copy(update={"stages": (config.stages[0], config.stages[1].model_copy(update={"steps": 2}))})
    from shoestring_trainer.train import train

    folder = RunDir(project.root / "tuned")
    folder.write_config(few)
    result = train(folder.root)
    assert (result.outcome, result.step) == ("succeeded", 3), result
    assert "val/loss" in folder.journal(0).read_text()


def test_a_set_that_does_not_suit_is_told_with_the_sets_there_are(project):
    net = DiT(MODEL, SHAPE, 48)
    save_file(export_weights(net.state_dict(), 4) | constants(MODEL, SHAPE), "wide.safetensors")
    code, text = shoestring("import", "wide.safetensors", "--json")
    error = json.loads(text)["error"]
    assert code == 1 and "captions 48 wide, and the set's are 32" in error["message"]
    assert "procedural-16 (captions 32 wide, 3×16×16)" in error["hint"]
    assert queries.runs(Database(project.db_url)) == [] and not list(project.runs.glob("*"))


def test_wrong_arguments_are_explained(project):
    db = Database(project.db_url)
    with pytest.raises(NotFound, match=r"nowhere\.pt"):
        exchange.import_weights(project, db, exchange.Source(Path("nowhere.pt"), data="procedural-16"), "toy", {})
    with pytest.raises(UsageError, match="--name"):
        source = exchange.Source(Path("Public Weights.safetensors"), "My Model", "procedural-16")
        exchange.import_weights(project, db, source, "toy", {})
    for argv, told in (
        (["export", "1"], "exactly one of --out"),
        (["export", "1", "--out", "a.safetensors", "--diffusers", "b"], "exactly one of --out"),
        (["import", "x.pt", "--spec", "none.yaml"], "no none.yaml"),
    ):
        code, text = shoestring(*argv, "--json")
        assert code == 2 and told in json.loads(text)["error"]["message"]


def test_only_a_run_of_the_same_data_and_optimiser_is_trained_on(project):
    db, survey = Database(project.db_url), plan.survey(project.root / "experiments.yaml", project)
    source = exchange.Source(Path("Public Weights.safetensors"), data="procedural-16")
    run = queries.run(db, exchange.import_weights(project, db, source, "toy", {}).run_id)
    with pytest.raises(Conflict, match="trains with muon"):
        exchange.plan_finetune(survey, run, "turned", 0.002)
    with pytest.raises(NotFound, match="denze"):
        exchange.plan_finetune(survey, run, "denze", 0.002)
    procedural_set(copies=1).write(project.data / "procedural-16")
    changed = plan.survey(project.root / "experiments.yaml", project)
    with pytest.raises(Conflict, match="made for procedural-16 with digest"):
        exchange.plan_finetune(changed, run, "dense", 0.002)
