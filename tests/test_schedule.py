"""What happens at which step, and which images a step sees."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from shoestring_trainer import config as c
from shoestring_trainer import schedule
from shoestring_trainer.presets import PRESETS
from shoestring_trainer.seeds import generator


def config(*stages: c.Stage, **changes) -> c.TrainConfig:
    fields = {
        "name": "run",
        "seed": 0,
        "data": c.DataConfig(
            path=str(Path("nowhere")), name="d", digest="0", space="pixels", shape=(3, 16, 16), size_px=16, n_train=9,
            caption_dim=4, caption_tokens=3.0,
        ),
        "model": PRESETS["nano"],
        "objective": c.Edm(kind="edm"),
        "optimizer": c.AdamW(kind="adamw"),
        "batch_size": 4,
        "stages": stages,
        "evaluate": c.Evaluate(every_steps=7),
        "checkpoints": c.Checkpoints(every_steps=10),
        "price": c.Price(hardware="h", usd_per_hour=1.0, source="s"),
    }  # fmt: skip
    return c.TrainConfig(**{**fields, **changes})


def stage(steps: int, **changes) -> c.Stage:
    return c.Stage(steps=steps, mask=c.NoMask(kind="none"), **{"lr": 1.0, **changes})


def test_the_rate_warms_up_then_falls_as_a_cosine_in_each_stage():
    job = config(stage(10, warmup_steps=2, cosine_to=0.5), stage(4, lr=0.1))
    rates = [schedule.lr_at(job, step) for step in range(14)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[6] == pytest.approx(0.75)  # half-way down
    assert rates[2:10] == sorted(rates[2:10], reverse=True)
    assert 0.5 < rates[9] < 0.55
    assert rates[10:] == [0.1] * 4


def test_things_happen_every_so_often_and_at_the_end():
    job = config(stage(25))
    assert [s for s in range(1, 26) if schedule.evaluates_at(job, s)] == [7, 14, 21, 25]
    assert [s for s in range(1, 26) if schedule.checkpoints_at(job, s)] == [10, 20, 25]
    assert not any(schedule.samples_at(job, s) for s in range(1, 26))


def test_a_run_has_about_a_hundred_points():
    job = config(stage(1050))
    assert 100 <= sum(schedule.reports_at(job, s) for s in range(1, 1051)) <= 110
    started = config(stage(1050), start=c.Start(checkpoint="x", step=1000))
    assert sum(schedule.reports_at(started, s) for s in range(1001, 1051)) == 50


def test_a_stream_depends_on_seed_step_and_purpose_and_on_nothing_else():
    def draw(*key) -> float:
        torch.manual_seed(0)
        return torch.rand(1, generator=generator(*key)).item()

    keys = [(0, 0, "noise"), (1, 0, "noise"), (0, 1, "noise"), (0, 0, "mask")]
    assert len({draw(*key) for key in keys}) == len(keys)
    assert all(draw(*key) == draw(*key) for key in keys)
