"""Drawing pictures with a run's averaged weights."""

from __future__ import annotations

import json

import numpy as np
import pytest
from shoestring_trainer import config as c
from shoestring_trainer import grids, sample
from shoestring_trainer.manifest import read_manifest
from shoestring_trainer.prepare.procedural import procedural_set
from shoestring_trainer.presets import PRESETS
from shoestring_trainer.run_dir import RunDir
from shoestring_trainer.train import train


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunDir:
    """A run that made three steps."""
    folder = tmp_path_factory.mktemp("sample")
    procedural_set(copies=1).write(folder / "procedural-16")
    job = c.TrainConfig(
        name="run",
        seed=0,
        data=read_manifest(folder / "procedural-16"),
        model=PRESETS["nano"],
        objective=c.Edm(kind="edm"),
        optimizer=c.AdamW(kind="adamw"),
        batch_size=4,
        stages=(c.Stage(steps=3, mask=c.NoMask(kind="none"), lr=1e-2, planned_usd_per_step=0.01),),
        evaluate=c.Evaluate(every_steps=9, n_images=1),
        samples=c.Samples(every_steps=9, prompts=("a red circle", "a blue cross"), n_steps=2),
        checkpoints=c.Checkpoints(every_steps=9),
        price=c.Price(hardware="test", usd_per_hour=0.0, source="test"),
    )
    RunDir(folder / "run").write_config(job)
    assert train(folder / "run").outcome == "succeeded"
    return RunDir(folder / "run")


def drawn(run: RunDir, out, *arguments: str) -> dict[str, bytes]:
    assert sample.main([str(run.root), "--out", str(out), *arguments]) == 0
    return {path.name: path.read_bytes() for path in out.glob("*.png")}


def test_the_runs_own_prompts_give_the_grid_it_drew_itself(run, tmp_path):
    own = {path.name: path.read_bytes() for path in run.sample_step(3).glob("*.png")}
    assert drawn(run, tmp_path / "a") == own
    meta = json.loads((tmp_path / "a" / "meta.json").read_text())
    assert (meta["step"], meta["usd"], meta["prompts"]) == (3, 0.03, ["a red circle", "a blue cross"])


def test_a_picture_does_not_depend_on_the_prompts_after_it(run, tmp_path):
    (tmp_path / "one.txt").write_text("a red circle\n\n")
    (tmp_path / "two.txt").write_text("a red circle\na small orange house\n")
    _, two = (drawn(run, tmp_path / n, "--prompts-file", str(tmp_path / f"{n}.txt")) for n in ("one", "two"))
    assert set(two) == {"000.png", "001.png", "grid.png"}
    one = (tmp_path / "one" / "000.png").read_bytes()
    assert two["000.png"] == one  # to the last bit, though the second caption is longer


def test_seed_and_weights_change_the_pictures(run, tmp_path):
    pictures = [
        drawn(run, tmp_path / str(i), *arguments)["000.png"]
        for i, arguments in enumerate(([], ["--seed", "1"], ["--untrained"], ["--sampler", "heun", "--guidance", "1"]))
    ]
    assert len(set(pictures)) == 4


def test_wrong_arguments_are_explained(run, tmp_path, capsys):
    for arguments, said in ((["--steps", "0"], "n_steps"), (["--prompts-file", "nowhere.txt"], "nowhere.txt")):
        assert sample.main([str(run.root), "--out", str(tmp_path / "x"), *arguments]) == 1
        assert said in capsys.readouterr().err
    assert sample.main([str(tmp_path / "no-run"), "--out", str(tmp_path / "x")]) == 1
    assert "does not exist" in capsys.readouterr().err


def test_a_grid_holds_every_picture_in_order():
    pictures = np.stack([np.full((2, 2, 3), 10 * i, np.uint8) for i in range(5)])
    sheet = np.asarray(grids.grid(pictures))
    assert sheet.shape == (2 * (8 + 4) + 4, 3 * (8 + 4) + 4, 3)
    assert [int(sheet[5 + 12 * (i // 3), 5 + 12 * (i % 3), 0]) for i in range(5)] == [0, 10, 20, 30, 40]
