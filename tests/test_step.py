"""One update: cut into parts, spread over processes, computed twice or compiled, it is the same update."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from kept import kept_bytes
from shoestring_trainer import config as c
from shoestring_trainer.journal import read
from shoestring_trainer.manifest import read_manifest
from shoestring_trainer.prepare.procedural import procedural_set
from shoestring_trainer.presets import PRESETS
from shoestring_trainer.run_dir import RunDir
from shoestring_trainer.step import Training, build

MODEL = PRESETS["nano"].model_copy(update={"depth": 3, "experts": c.Experts(count=2)})


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> c.DataConfig:
    folder = tmp_path_factory.mktemp("data") / "procedural-16"
    procedural_set(copies=1).write(folder)
    return read_manifest(folder)


def config(data: c.DataConfig, steps: int = 6, **changes) -> c.TrainConfig:
    masked = c.RandomMask(kind="random", ratio=0.5)
    fields = {
        "name": "run",
        "seed": 3,
        "data": data,
        "model": MODEL,
        "objective": c.Edm(kind="edm"),
        "optimizer": c.AdamW(kind="adamw"),
        "batch_size": 8,
        "stages": (
            c.Stage(steps=steps - 2, mask=masked, lr=1e-3),
            c.Stage(steps=2, mask=c.NoMask(kind="none"), lr=1e-3),
        ),
        "evaluate": c.Evaluate(every_steps=100, n_images=4),
        "checkpoints": c.Checkpoints(every_steps=100),
        "price": c.Price(hardware="test", usd_per_hour=3.6, source="test"),
    }
    return c.TrainConfig(**{**fields, **changes})


def updates(training: Training) -> list[tuple[float, float]]:
    """Loss and gradient norm of every update of the run."""
    done = [training.update(step) for step in range(training.config.n_steps)]
    return [(one.loss, one.grad_norm) for one in done]


@pytest.fixture(scope="module")
def plain(data) -> list[tuple[float, float]]:
    return updates(build(config(data)))


@pytest.mark.parametrize("parts", [2, 8])
def test_a_batch_cut_into_parts_gives_the_update_of_the_whole(data, plain, parts):
    cut = updates(build(config(data, compute=c.Compute(accumulate=parts))))
    assert torch.allclose(torch.tensor(cut), torch.tensor(plain), rtol=2e-5)


def test_blocks_computed_twice_give_the_same_bits_and_keep_fewer_bytes(data, plain):
    training = build(config(data, compute=c.Compute(recompute=True)))
    assert updates(training) == plain

    def loss() -> torch.Tensor:
        drawn = training.draw(0)
        return training.denoiser.loss(drawn.x, drawn.sigma, drawn.noise, drawn.captions, drawn.keep)

    again = kept_bytes(loss)
    training.net.recompute = False
    assert again < 0.5 * kept_bytes(loss)


@pytest.mark.parametrize("optimizer", [c.Muon(kind="muon"), c.AdamW(kind="adamw", decay="all")], ids=lambda o: o.kind)
@pytest.mark.parametrize("objective", [c.Flow(kind="flow"), c.Edm(kind="edm")], ids=lambda o: o.kind)
def test_every_objective_trains_with_every_optimiser(data, objective, optimizer):
    training = build(config(data, steps=30, objective=objective, optimizer=optimizer))
    losses = [loss for loss, _ in updates(training)]
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


def test_bf16_computes_coarsely_and_keeps_fp32_weights(data, plain):
    training = build(config(data, compute=c.Compute(precision="bf16")))
    coarse = torch.tensor(updates(training))
    assert torch.allclose(coarse, torch.tensor(plain), rtol=0.05) and not torch.equal(coarse, torch.tensor(plain))
    assert {p.dtype for p in training.net.parameters()} == {torch.float32}


def test_a_batch_that_cannot_be_cut_evenly_is_refused(data):
    with pytest.raises(ValueError, match=r"batch_size 8 is not divisible by 6 \(compute.processes 2 × "):
        config(data, compute=c.Compute(processes=2, accumulate=3))


@pytest.mark.slow
def test_two_processes_give_the_loss_curve_of_one(data, plain, tmp_path):
    job = config(data, compute=c.Compute(processes=2, accumulate=2))
    RunDir(tmp_path).write_config(job)
    argv = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    argv += ["-m", "shoestring_trainer.train", str(tmp_path)]
    done = subprocess.run(argv, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line["metrics"] for line in read(RunDir(tmp_path).journal(0)) if "train/loss" in line.get("metrics", {})]
    curve = torch.tensor([[m["train/loss"], m["train/grad_norm"]] for m in lines])
    assert torch.allclose(curve, torch.tensor(plain), rtol=1e-5)


def test_compiled_training_makes_one_graph_a_stage_and_gives_the_same_losses(data, plain):
    from torch._dynamo.utils import counters

    counters.clear()
    compiled = updates(build(config(data, compute=c.Compute(compile="aot_eager"))))
    assert counters["stats"]["unique_graphs"] == 2 and not counters["graph_break"]
    assert torch.allclose(torch.tensor(compiled), torch.tensor(plain), rtol=1e-5)


@pytest.mark.slow
def test_code_that_inductor_writes_gives_the_same_losses(data, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    small = {"model": MODEL.model_copy(update={"depth": 1, "mixer_depth": 1}), "batch_size": 2}
    small["stages"] = (c.Stage(steps=3, mask=c.RandomMask(kind="random", ratio=0.5), lr=1e-3),)
    plain = updates(build(config(data, **small)))
    compiled = updates(build(config(data, **small, compute=c.Compute(compile=True))))
    assert torch.allclose(torch.tensor(compiled), torch.tensor(plain), rtol=1e-3)
