"""Measuring a machine: every distinct shape of work once, with the code that trains."""

from __future__ import annotations

import json
import time

import pytest
from shoestring_trainer import config as c
from shoestring_trainer import measure
from shoestring_trainer.flops import calibration_key
from shoestring_trainer.manifest import read_manifest
from shoestring_trainer.prepare.procedural import procedural_set
from shoestring_trainer.presets import PRESETS


@pytest.fixture(scope="module")
def job(tmp_path_factory) -> c.TrainConfig:
    folder = tmp_path_factory.mktemp("data") / "procedural-16"
    procedural_set(copies=1).write(folder)
    masked = c.RandomMask(kind="random", ratio=0.75)
    return c.TrainConfig(
        name="run",
        seed=0,
        data=read_manifest(folder),
        model=PRESETS["nano"],
        objective=c.Edm(kind="edm"),
        optimizer=c.AdamW(kind="adamw"),
        batch_size=16,
        stages=(
            c.Stage(steps=1, mask=masked, lr=1e-3),
            c.Stage(steps=3, mask=c.NoMask(kind="none"), lr=1e-3),
            c.Stage(steps=2, mask=masked, lr=1e-4),
        ),
        evaluate=c.Evaluate(every_steps=1, n_images=4),
        samples=c.Samples(every_steps=1, prompts=("a red circle",), n_steps=2),
        checkpoints=c.Checkpoints(every_steps=1),
        price=c.Price(hardware="test", usd_per_hour=0.0, source="test"),
    )


def test_each_distinct_shape_is_timed_once(job, tmp_path):
    other = job.model_copy(update={"name": "other", "seed": 9})
    answer = measure.measure([job, other], 0.2, tmp_path, started_at=time.time() - 2)
    masked, full = answer["measured"]
    for one, stage in ((masked, job.stages[0]), (full, job.stages[1])):
        assert one["key"] == calibration_key(job.model, job.data.shape, 16, stage.mask, job.compute)
        assert one["n_steps"] >= 6
        assert 0 < one["s_per_step"] < 10
        assert one["s_per_step_spread"] >= 0
        assert len(one["s_per_step_rounds"]) == measure.ROUNDS and min(one["s_per_step_rounds"]) > 0
    assert full["flops_per_step"] > masked["flops_per_step"] > 0
    overheads = answer["overheads"]
    assert overheads["startup_s"] > 2
    for name in ("s_per_val_image", "s_per_sample_image", "s_per_picture", "s_per_checkpoint", "s_per_point"):
        assert 0 < overheads[name] < 10
        assert masked[name] == full[name] == pytest.approx(overheads[name])  # one model
    assert answer["device"]["device"] == "cpu"
    assert not list(tmp_path.iterdir())


def test_the_command_refuses_what_is_no_list_of_configs(job, tmp_path, capsys):
    path = tmp_path / "configs.json"
    for content in ("{", "[]", json.dumps([{"name": "x"}])):
        path.write_text(content)
        assert measure.main([str(path), "--out", str(tmp_path / "out.json")]) == 1
        assert "bad_config" in capsys.readouterr().err
    assert not (tmp_path / "out.json").exists()
