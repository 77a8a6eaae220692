"""The quality benchmark: its arithmetic, its recipes, and one tiny run of all of it."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from shoestring_trainer.data import DataSet
from shoestring_trainer.prepare.procedural import procedural_set
from test_resolve import DATA, requests

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture(scope="module", autouse=True)
def importable():
    sys.path.insert(0, str(BENCHMARKS))
    yield
    sys.path.remove(str(BENCHMARKS))


def part(name: str):
    return importlib.import_module(f"quality_parts.{name}")


def test_the_crossing_is_read_off_between_two_evaluations_of_the_quickest_curve():
    crossing = part("crossing").crossing
    short, long = [(10.0, 4.0), (20.0, 2.0)], [(30.0, 3.0), (60.0, 1.0)]
    assert crossing([short, long], 3.0) == pytest.approx(15.0)
    assert crossing([short, long], 1.5) == pytest.approx(52.5)
    assert crossing([short, long], 0.5) is None
    assert crossing([short], 5.0) == 10.0, "before the first evaluation nothing is known"


def test_the_ratio_is_of_the_papers_seconds_and_has_an_interval_over_seeds():
    paper = [[(100.0, 1.0)], [(100.0, 1.2)]]
    found = part("crossing").ratio(paper, [[[(10.0, 2.0), (30.0, 1.1)]], [[(10.0, 2.0), (50.0, 1.1)]]])
    assert found["ratio"] == pytest.approx(0.4)
    assert found["low"] <= 0.4 and (found["high"] is None or found["high"] >= 0.4)
    assert part("crossing").ratio(paper, [[[(10.0, 2.0)]]])["ratio"] is None


def test_a_recipe_becomes_a_job_of_so_many_steps_and_takes_changes(tmp_path):
    procedural_set(32).write(tmp_path / "set")
    data = DataSet.open(tmp_path / "set").data_config()
    recipes = part("recipes")
    paper = recipes.PAPER.job(data, 3, [100, 12])
    assert [stage.steps for stage in paper.stages] == [100, 12] and paper.stages[0].warmup_steps == 1
    assert paper.optimizer.decay == "all" and paper.model.experts.count == 8
    changed = recipes.OURS.changed({"stages.0.lr": 5e-3, "model.depth": 2, "caption_tokens": 9})
    assert changed.job(data, 0, [10]).stages[0].lr == 5e-3 and changed.caption_tokens == 9
    assert recipes.OURS.job(data, 0, [10]).stages[0].lr != 5e-3, "the recipe itself is as it was"


def test_the_seconds_are_shared_as_the_steps_are():
    steps = part("training").steps_for(part("recipes").PAPER, [1.0, 2.0], 310.0)
    assert steps == [250, 30]


@pytest.mark.slow
def test_a_quick_look_trains_both_recipes_and_goes_on_where_it_was_stopped(tmp_path):
    small = procedural_set(8)
    replace(small, images=np.ascontiguousarray(small.images[:, ::2, ::2])).write(tmp_path / "set")  # 8 px: 64 tokens
    argv = [sys.executable, str(BENCHMARKS / "quality.py"), "--data", str(tmp_path / "set"), "--minutes", "0.02"]
    argv += ["--evaluations", "2", "--seeds", "1", "--pictures", "0", "--folder", str(tmp_path / "kept")]
    argv += ["--json", str(tmp_path / "q.json")]
    run(argv)
    result = json.loads((tmp_path / "q.json").read_text())
    assert {end["recipe"] for end in result["ends"]} == {"paper", "ours"}
    assert result["ends"][-1]["cpu_s"] == pytest.approx(2.4, rel=0.9), "the paper's: 0.02 minutes of two cores"
    assert "cpu_seconds_ratio" in result and len(result["cpu_seconds_ratio_interval"]) == 2
    before = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "kept").iterdir()}
    run(argv)
    assert {file.name: file.stat().st_mtime_ns for file in (tmp_path / "kept").iterdir()} == before


def run(argv: list[str]) -> None:
    """Run the benchmark; whatever happens, none of its trainings outlives it."""
    process = subprocess.Popen(argv, start_new_session=True)
    try:
        assert process.wait(timeout=250) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def test_an_experiment_that_names_no_model_is_the_recipe_that_won_the_benchmark():
    usual = requests({"until": "{steps: 1000}"})[0]
    ours = part("recipes").OURS.job(DATA, 0, [1000])
    job = usual.probe()
    for field in ("model", "objective", "optimizer", "batch_size", "caption_dropout", "ema_decay"):
        assert getattr(job, field) == getattr(ours, field), field
    (mine,), (theirs,) = job.stages, ours.stages
    for field in ("mask", "lr", "warmup_steps", "cosine_to", "grad_clip", "noise"):
        assert getattr(mine, field) == getattr(theirs, field), field
    other = requests({"until": "{steps: 1000}", "lr": "1e-3", "ema_decay": "0.9"})[0]
    assert (other.stages[0].lr, other.ema_decay, other.model) == (1e-3, 0.9, usual.model)
