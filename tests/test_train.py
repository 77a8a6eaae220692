"""Training a run: what it leaves behind, and that stopping, killing and resuming change no number."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from shoestring_trainer import config as c
from shoestring_trainer.journal import read
from shoestring_trainer.manifest import read_manifest
from shoestring_trainer.prepare.procedural import procedural_set
from shoestring_trainer.presets import PRESETS
from shoestring_trainer.run_dir import EXIT_STOPPED, Result, RunDir
from shoestring_trainer.supervise import Stop
from shoestring_trainer.train import train

MASKED, FULL = c.RandomMask(kind="random", ratio=0.5), c.NoMask(kind="none")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> c.DataConfig:
    folder = tmp_path_factory.mktemp("data") / "procedural-16"
    procedural_set(copies=1).write(folder)
    return read_manifest(folder)


def config(data: c.DataConfig, **changes) -> c.TrainConfig:
    """Twelve steps in two stages; evaluations, grids and checkpoints at steps that do not coincide."""
    fields = {
        "name": "run",
        "seed": 3,
        "data": data,
        "model": PRESETS["nano"].model_copy(update={"depth": 2}),
        "objective": c.Edm(kind="edm"),
        "optimizer": c.AdamW(kind="adamw"),
        "batch_size": 8,
        "stages": (
            c.Stage(steps=8, mask=MASKED, lr=1e-3, warmup_steps=2, cosine_to=0.3, planned_usd_per_step=1e-6),
            c.Stage(steps=4, mask=FULL, lr=3e-4, planned_usd_per_step=2e-6),
        ),
        "evaluate": c.Evaluate(every_steps=6, n_images=4),
        "samples": c.Samples(every_steps=9, prompts=("a red circle", "a blue square"), n_steps=2),
        "checkpoints": c.Checkpoints(every_steps=5),
        "price": c.Price(hardware="test", usd_per_hour=3.6, source="test"),
    }
    return c.TrainConfig(**{**fields, **changes})


def run_dir(folder: Path, job: c.TrainConfig) -> RunDir:
    RunDir(folder).write_config(job)
    return RunDir(folder)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, data) -> RunDir:
    """A run that nothing interrupted."""
    run = run_dir(tmp_path_factory.mktemp("whole"), config(data))
    assert train(run.root) == Result(0, "succeeded", "", "", 12)
    return run


class StopAfter(Stop):
    """Asks to stop at the n-th step boundary."""

    def __init__(self, n_steps: int) -> None:
        self.left = n_steps

    @property
    def reason(self) -> str:
        self.left -= 1
        return "" if self.left >= 0 else "stopped_by_request"


def tensors(run: RunDir) -> dict[str, str]:
    """sha256 of weights, average and optimiser of the newest checkpoint."""
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in run.published()[0].glob("*.safetensors")}


def series(run: RunDir, token: int) -> list[tuple]:
    """All points of a run but what the clock decides, in the order of the journal."""
    return [
        (line["step"], key, value)
        for line in read(run.journal(token))
        for key, value in line.get("metrics", {}).items()
        if not key.startswith(("cost/", "perf/", "system/"))
    ]


def pictures(run: RunDir) -> dict[str, bytes]:
    return {str(p.relative_to(run.samples)): p.read_bytes() for p in sorted(run.samples.rglob("*.png"))}


def same_results(run: RunDir, token: int, whole: RunDir) -> bool:
    return (
        tensors(run) == tensors(whole) and series(run, token) == series(whole, 0) and pictures(run) == pictures(whole)
    )


def test_a_run_leaves_a_result_checkpoints_pictures_and_a_journal(whole):
    assert [p.name for p in whole.published()] == ["step-00000012.t0", "step-00000010.t0"]
    assert set(pictures(whole)) == {
        f"step-{step:08d}/{name}.png" for step in (9, 12) for name in ("000", "001", "grid")
    }
    assert json.loads((whole.sample_step(9) / "meta.json").read_text())["prompts"] == ["a red circle", "a blue square"]
    lines = read(whole.journal(0))
    assert [(e["step"], e["event"]) for e in lines if "event" in e] == [
        (5, "checkpoint"), (9, "samples"), (10, "checkpoint"), (12, "samples"), (12, "checkpoint"),
    ]  # fmt: skip
    points = [line for line in lines if "metrics" in line]
    axes = {"progress/images", "progress/flops", "progress/usd", "cost/seconds", "cost/usd"}
    assert all(axes <= line["metrics"].keys() for line in points)
    assert [line["step"] for line in points if "train/loss" in line["metrics"]] == list(range(1, 13))
    assert [line["step"] for line in points if "val/loss" in line["metrics"]] == [0, 6, 12]
    last = points[-1]["metrics"]
    assert last["progress/images"] == 96
    assert last["progress/usd"] == pytest.approx(16e-6)
    assert last["cost/usd"] == pytest.approx(last["cost/seconds"] / 1000)


def test_val_loss_falls(whole):
    losses = [value for _, key, value in series(whole, 0) if key == "val/loss"]
    assert losses[-1] < losses[0]


def test_a_run_stopped_twice_and_resumed_equals_an_uninterrupted_one(tmp_path, data, whole):
    run = run_dir(tmp_path, config(data))
    assert train(tmp_path, 1, StopAfter(3)) == Result(1, "stopped", "stopped_by_request", "checkpoint at step 3", 3)
    assert train(tmp_path, 2, StopAfter(4)).step == 7
    assert train(tmp_path, 5).outcome == "succeeded"
    assert same_results(run, 5, whole)
    assert read(run.journal(5))[-1]["metrics"]["cost/seconds"] > read(run.journal(2))[-2]["metrics"]["cost/seconds"]
    assert run.read_result(5) == Result(5, "succeeded", "", "", 12)


def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_it_used(tmp_path, data, whole):
    run = run_dir(tmp_path, config(data))
    train(tmp_path, 1, StopAfter(11))
    newest, before = run.published()
    damaged = bytearray((newest / "ema.safetensors").read_bytes())
    damaged[-7] ^= 1
    (newest / "ema.safetensors").write_bytes(damaged)
    assert train(tmp_path, 2).outcome == "succeeded"
    assert same_results(run, 2, whole)
    assert before.name == "step-00000010.t1"
    assert (run.checkpoints / "step-00000011.t1.corrupt").is_dir()


def test_a_checkpoint_whose_journal_is_cut_is_not_used(tmp_path, data, whole):
    run = run_dir(tmp_path, config(data))
    train(tmp_path, 1, StopAfter(7))
    content = run.journal(1).read_bytes().splitlines(keepends=True)
    at_5 = next(i for i, line in enumerate(content) if b'"checkpoint"' in line)
    run.journal(1).write_bytes(b"".join(content[: at_5 + 1]))
    assert train(tmp_path, 2).outcome == "succeeded"
    assert same_results(run, 2, whole)


def test_without_one_good_checkpoint_a_run_fails_loudly_and_never_starts_again(tmp_path, data):
    run = run_dir(tmp_path, config(data))
    train(tmp_path, 1, StopAfter(1))
    (run.published()[0] / "weights.safetensors").unlink()
    for token in (2, 3):
        result = train(tmp_path, token)
        assert (result.outcome, result.failure_class, result.step) == ("failed", "bad_checkpoint", 0)
    assert "delete that folder" in result.detail


def test_a_checkpoint_of_another_config_is_refused(tmp_path, data):
    run = run_dir(tmp_path, config(data))
    train(tmp_path, 1, StopAfter(1))
    run.write_config(config(data, seed=4))
    result = train(tmp_path, 2)
    assert result.failure_class == "bad_checkpoint"
    assert "another config" in result.detail
    run.write_config(config(data, name="renamed"))  # which decides no number
    assert train(tmp_path, 3, StopAfter(0)).outcome == "stopped"


def test_a_loss_that_is_not_a_number_fails_the_run_and_keeps_the_checkpoint_before(tmp_path, data):
    job = config(data)
    endless = job.stages[1].model_copy(update={"noise": c.LogNormal(p_mean=60.0)})  # σ² overflows
    run = run_dir(tmp_path, config(data, stages=(job.stages[0], endless)))
    result = train(tmp_path)
    assert (result.outcome, result.failure_class, result.step) == ("failed", "nan", 8)
    assert "stages.1.lr" in result.detail
    assert run.published()[0].name == "step-00000005.t0"


def test_a_run_continues_another_runs_checkpoint_for_longer(tmp_path, data, whole):
    longer = config(data).stages[1].model_copy(update={"steps": 7})
    start = c.Start(checkpoint=str(whole.published()[0]), step=12)
    run = run_dir(tmp_path, config(data, stages=(config(data).stages[0], longer), start=start))
    assert train(tmp_path).step == 15
    lines = read(run.journal(0))
    assert [line["step"] for line in lines if "train/loss" in line.get("metrics", {})] == [13, 14, 15]
    assert lines[0]["metrics"]["progress/images"] == 13 * 8
    assert lines[0]["metrics"]["progress/usd"] == pytest.approx(18e-6)


def losses(run: RunDir, token: int = 0) -> dict[int, float]:
    return {step: value for step, key, value in series(run, token) if key == "val/loss"}


def test_a_run_ends_at_the_first_evaluation_that_is_good_enough(tmp_path, data, whole):
    target = losses(whole)[6]
    assert losses(whole)[12] < target < losses(whole)[0]
    run = run_dir(tmp_path, config(data, until_val_loss=target))
    assert train(run.root) == Result(0, "succeeded", "", "", 6)
    assert losses(run) == {0: losses(whole)[0], 6: target}
    assert run.published()[0].name == "step-00000006.t0" and (run.sample_step(6) / "grid.png").exists()
    assert train(run.root, 1) == Result(1, "succeeded", "", "", 6)  # as after a kill: it trains no further


def test_a_run_that_stops_for_its_budget_says_what_its_last_money_bought(tmp_path, data, whole):
    by_hand, for_money = (run_dir(tmp_path / name, config(data)) for name in ("by-hand", "for-money"))
    for_money.ask_to_stop(0, "budget")
    for run in (by_hand, for_money):
        assert train(run.root, 0, stop=StopAfter(4)).outcome == "stopped"
    assert list(losses(by_hand)) == [0] and list(losses(for_money)) == [0, 4]
    assert train(for_money.root, 1) == Result(1, "succeeded", "", "", 12)  # with more money
    assert list(losses(for_money, 1)) == [0, 4, 6, 12] and losses(for_money, 1).items() > losses(whole).items()
    assert tensors(for_money) == tensors(whole)


def test_pictures_that_are_not_square_train_and_are_drawn(tmp_path):
    square = procedural_set(copies=1)
    replace(square, images=square.images[:, :, 2:14]).write(tmp_path / "tall")
    job = config(read_manifest(tmp_path / "tall"), model=PRESETS["nano"].model_copy(update={"depth": 1}))
    assert job.data.shape == (3, 16, 12) and job.n_tokens == 48
    run = run_dir(tmp_path / "run", job)
    assert train(run.root).outcome == "succeeded"
    with Image.open(run.sample_step(12) / "000.png") as picture:
        assert picture.size == (12, 16)


def test_a_stage_at_twice_the_resolution_goes_on_with_the_same_weights_and_resumes_to_the_same_bits(tmp_path, data):
    small = procedural_set(copies=1)
    replace(small, name="large", images=small.images.repeat(2, 1).repeat(2, 2)).write(tmp_path / "large")
    first, second = config(data).stages
    large = read_manifest(tmp_path / "large")
    job = config(data, stages=(first, second.model_copy(update={"data": large, "mask": MASKED})))
    assert (job.n_tokens_at(0), job.n_tokens_at(1), job.model_at(1).pos_scale) == (64, 256, 2.0)
    straight = run_dir(tmp_path / "straight", job)
    assert train(straight.root).outcome == "succeeded"
    sizes = [Image.open(straight.sample_step(step) / "000.png").size for step in (9, 12)]
    assert sizes == [(32, 32), (32, 32)]
    stopped = run_dir(tmp_path / "stopped", job)
    for token, steps in ((0, 7), (1, 2), (2, 100)):  # just before the change, just after it, to the end
        train(stopped.root, token, StopAfter(steps))
    assert same_results(stopped, 2, straight)


def test_a_run_on_several_sets_records_the_images_of_each(tmp_path, data):
    made = procedural_set(copies=1)
    replace(made, name="drawn-2", images=made.images[:, ::-1].copy()).write(tmp_path / "other")
    parts = [(data, 3.0, "real"), (read_manifest(tmp_path / "other"), 1.0, "synthetic")]
    sources = [
        c.Source(**one.model_dump(include={"path", "name", "digest", "n_train"}), weight=weight, origin=origin)
        for one, weight, origin in parts
    ]
    run = run_dir(tmp_path / "run", config(data.model_copy(update={"sources": tuple(sources)})))
    assert train(run.root).outcome == "succeeded"
    last = {key: value for _, key, value in series(run, 0) if key.startswith("data/")}
    assert last["data/images_real"] + last["data/images_synthetic"] == 12 * 8
    assert last["data/images_drawn_2"] == last["data/images_synthetic"] < last["data/images_procedural_16"]


def test_data_that_are_not_the_ones_planned_for_are_refused(tmp_path, data):
    run_dir(tmp_path, config(data.model_copy(update={"digest": "0" * 64})))
    assert train(tmp_path).failure_class == "bad_data"
    run_dir(tmp_path, config(data.model_copy(update={"path": str(tmp_path / "nowhere")})))
    assert train(tmp_path).failure_class == "bad_data"


def test_a_bad_config_is_told_on_the_command_line(tmp_path, data):
    job = json.loads(config(data).model_dump_json())
    job["batch_size"], job["surprise"] = 0, 1
    (tmp_path / "config.json").write_text(json.dumps(job))
    done = trainer(tmp_path, 4)
    assert done.wait(timeout=60) == 1
    result = RunDir(tmp_path).read_result(4)
    assert (result.outcome, result.failure_class) == ("failed", "bad_config")
    assert "batch_size" in result.detail
    assert "surprise" in result.detail


def trainer(folder: Path, token: int) -> subprocess.Popen:
    log = open(folder / f"log-{token}.txt", "wb")  # noqa: SIM115
    command = [sys.executable, "-m", "shoestring_trainer.train", str(folder), "--token", str(token)]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=os.environ)


def wait_for(path: Path, text: bytes, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not (path.exists() and text in path.read_bytes()):
        assert process.poll() is None and time.monotonic() < deadline, path.parent
        time.sleep(0.01)


@pytest.mark.slow
def test_a_trainer_that_is_terminated_and_one_that_is_killed_change_no_number(tmp_path, data):
    stage = config(data).stages[0].model_copy(update={"steps": 120})
    job = config(data, stages=(stage,), checkpoints=c.Checkpoints(every_steps=10), samples=None)
    for name in ("whole", "hurt"):
        run_dir(tmp_path / name, job)
    whole, hurt = RunDir(tmp_path / "whole"), RunDir(tmp_path / "hurt")

    terminated = trainer(hurt.root, 1)
    wait_for(hurt.journal(1), b'"step": 34,', terminated)
    terminated.send_signal(signal.SIGTERM)
    assert terminated.wait(timeout=60) == EXIT_STOPPED
    result = hurt.read_result(1)
    assert (result.outcome, result.failure_class) == ("stopped", "stopped_by_request")
    assert hurt.published()[0].name == f"step-{result.step:08d}.t1"  # no step is lost

    killed = trainer(hurt.root, 2)
    wait_for(hurt.journal(2), b'"step": 75,', killed)
    killed.kill()
    killed.wait()
    assert hurt.read_result(2) is None

    assert trainer(hurt.root, 3).wait(timeout=120) == 0
    assert train(whole.root).outcome == "succeeded"
    assert same_results(hurt, 3, whole)
