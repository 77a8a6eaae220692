"""A run that the real trainer made in seconds, and a project that has it as its finished run."""

from __future__ import annotations

import shutil
from pathlib import Path

from shoestring import actions
from shoestring.db import Database
from shoestring.home import Home
from shoestring_trainer import config as c
from shoestring_trainer.manifest import read_manifest
from shoestring_trainer.prepare.procedural import procedural_set
from shoestring_trainer.presets import PRESETS
from shoestring_trainer.run_dir import RunDir
from shoestring_trainer.train import train

STEPS, USD_PER_STEP = 4, 0.01


def trained_run(folder: Path) -> RunDir:
    """Train a nano model for a few steps on the procedural set, both in `folder`."""
    procedural_set(copies=1).write(folder / "procedural-16")
    config = c.TrainConfig(
        name="dense/s0", seed=0, data=read_manifest(folder / "procedural-16"), model=PRESETS["nano"],
        objective=c.Edm(kind="edm"), optimizer=c.AdamW(kind="adamw"), batch_size=4,
        stages=(c.Stage(steps=STEPS, mask=c.NoMask(kind="none"), lr=1e-2, planned_usd_per_step=USD_PER_STEP),),
        evaluate=c.Evaluate(every_steps=STEPS, n_images=1), checkpoints=c.Checkpoints(every_steps=STEPS),
        price=c.Price(hardware="this-machine", usd_per_hour=0.1, source="test"),
    )  # fmt: skip
    RunDir(folder / "run").write_config(config)
    assert train(folder / "run").outcome == "succeeded"
    return RunDir(folder / "run")


def take_in(home: Home, db: Database, run: RunDir) -> int:
    """Enter a copy of the run as project tiny's finished run dense/s0; its id."""
    one = actions.Submission("dense/s0", "dense", "tiny", 0, "d" * 64, run.read_config(), planned_usd=0.04)
    copy = RunDir(Path(shutil.copytree(run.root, home.runs / "00001")))
    return actions.record_import(db, one, run_dir=copy.root, checkpoint=copy.published()[0]).run_id
