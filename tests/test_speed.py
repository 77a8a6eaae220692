"""A mask's speed-up in seconds against the one its FLOPs promise, and what is in the way."""

from __future__ import annotations

from dataclasses import replace

import pytest
from shoestring import actions, queries
from shoestring.records import Run, Series
from shoestring.speed import of_run
from shoestring_trainer import config as c

MASKED = c.RandomMask(kind="random", ratio=0.75)
PLAN = {
    "dense_flops_per_image": 4.0, "dense_s_per_step": 0.4, "dense_how": "measured", "flops_per_image": [1.0, 4.0],
}  # fmt: skip


@pytest.fixture
def run(db, submission, tmp_path) -> Run:
    """A run of 60 masked and 40 full steps, 4 images each."""
    job = submission("tiny").config
    stages = (c.Stage(steps=60, mask=MASKED, lr=1e-3), c.Stage(steps=40, mask=c.NoMask(kind="none"), lr=1e-3))
    job = c.TrainConfig.model_validate(job.model_dump() | {"stages": stages})
    submitted = submission("masked/s0", config=job)
    run_id = actions.submit(db, [submitted], runs_dir=tmp_path)[0].run_id
    return replace(queries.run(db, run_id), plan=PLAN)


def measured(key: str, masked: float, full: float | None = None) -> Series:
    steps = [20, 40, 60] + ([80, 100] if full is not None else [])
    values = [masked] * 3 + ([full] * 2 if full is not None else [])
    return Series(1, key, steps, values, *([0.0] * len(steps) for _ in range(4)))


def test_a_promise_that_is_kept_needs_no_excuse(run):
    (found,) = of_run(run, [measured("perf/images_per_s", 40.0, 10.0)])  # .1 s against .4 s a step
    assert (found.stage, found.predicted, found.measured) == (0, 4.0, pytest.approx(4.0))
    assert found.bottleneck == "" and found.against == "this run's own stage"
    assert found.words() == "deferred 0.75: 4.00 × faster than every token (this run's own stage), FLOPs say 4.00 ×"


def test_without_a_full_stage_it_is_against_the_plan(run):
    (found,) = of_run(run, [measured("perf/images_per_s", 20.0)])
    assert found.measured == pytest.approx(2.0) and found.against == "calibrated"
    assert of_run(replace(run, plan=PLAN | {"dense_how": "assumed"}), [measured("perf/images_per_s", 20.0)]) == []


def test_what_no_mask_shrinks_is_named_when_it_explains_the_shortfall(run):
    # .4 s dense, .1 s of it fixed: .1 + .3/4 = .175 s masked
    series = [measured("perf/images_per_s", 4 / 0.175, 10.0), measured("perf/share_optimizer", 0.1 / 0.175, 0.25)]
    (found,) = of_run(run, series)
    assert found.bottleneck == "what no mask shrinks is the bottleneck (optimiser and average 57% of a step)"


def test_slower_products_are_named_when_nothing_fixed_explains_it(run):
    series = [measured("perf/images_per_s", 20.0, 10.0), measured("perf/share_data", 0.01, 0.01)]
    (found,) = of_run(run, series)
    assert "the network is the bottleneck: its smaller products take 1.99 ×" in found.bottleneck


def test_a_run_that_was_planned_without_says_nothing_and_neither_does_one_without_a_speed(run):
    assert of_run(replace(run, plan={}), [measured("perf/images_per_s", 20.0)]) == []
    assert of_run(run, []) == []
