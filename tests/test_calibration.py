"""Calibration: measured by the trainer's own code, kept per machine, merged, and used by plans."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from shoestring.calibration import (
    Calibration,
    Measured,
    Overheads,
    calibration_file,
    distinct_works,
    merged,
    read_calibration,
    write_calibration,
)
from shoestring.calibration import machine as machine_name
from shoestring.db import Database
from shoestring.errors import EnvironmentProblem, UsageError
from shoestring.executors.local import LocalExecutor
from shoestring.experience import Experience
from shoestring.home import Home
from shoestring.intake import submit_file
from shoestring.measuring import calibrate, drift_of, shapes_of
from shoestring.migrate import upgrade
from shoestring.plan import plan_file, survey
from shoestring.provenance import hardware
from shoestring.worker import Pace, Worker
from shoestring_trainer.prepare.procedural import procedural_set

SPEC = """\
version: 1
project: tiny
data: procedural-16
defaults:
  model: {preset: nano}
  until: {usd: 0.002}
  lr: 1e-3
  evaluate: {every_share: 0.5, n_images: 8}
experiments:
  dense: {stages: [{mask: {kind: none}}]}
  masked:
    seeds: [0, 1]
    stages: [{share: 0.8, mask: {kind: random, ratio: 0.75}}, {share: 0.2, mask: {kind: none}}]
"""
SHORT = SPEC.partition("  masked:")[0].replace("usd: 0.002", "steps: 20")
SWEEP = """\
sweeps:
  s:
    base: masked
    search: {stages.0.mask.ratio: {low: 0.0, high: 0.9}, model.experts.count: {choices: [1, 2, 4]}}
    objectives: {val/loss: minimize}
"""
OVERHEADS = Overheads(5.0, 1e-11, 1e-11, 0.01, 0.2)


def one(s_per_step: float) -> Measured:
    return Measured(s_per_step, 0.01, 1e9, 1000, ("cpu", 1, "fp32", False))


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    monkeypatch.delenv("SHOESTRING_HOME", raising=False)
    procedural_set().write(tmp_path / "data" / "procedural-16")
    (tmp_path / "experiments.yaml").write_text(SPEC)
    return tmp_path


def test_what_is_stored_is_read_back(tmp_path):
    calibration = Calibration("this one", {"a": one(0.5)}, {"m": OVERHEADS}, "2026-01-01")
    write_calibration(tmp_path, calibration)
    assert read_calibration(tmp_path, "this one") == calibration


def test_every_machine_has_its_own(tmp_path):
    write_calibration(tmp_path, Calibration("this one", {"a": one(0.5)}, {"m": OVERHEADS}))
    assert read_calibration(tmp_path, "another") == Calibration("another")


def test_measuring_again_replaces_and_keeps_the_rest():
    old = Calibration("x", {"a": one(1), "b": one(2)}, {"m": OVERHEADS}, "then")
    new = merged(old, Calibration("x", {"b": one(3)}, {}, "now"))
    assert {k: m.s_per_step for k, m in new.shapes.items()} == {"a": 1, "b": 3}
    assert new.overheads == old.overheads and new.measured_at == "now"


def test_an_unmeasured_model_takes_the_mean_overheads(project):
    request = survey(project / "experiments.yaml").requests[0]
    from shoestring.cost import full_work, stage_works

    fast, slow = OVERHEADS, Overheads(7.0, 3e-11, 1e-11, 0.01, 0.4)
    between = Calibration("x", {}, {"m": fast, "n": slow}).overheads_of(full_work(stage_works(request)))
    assert between and (between.startup_s, between.s_per_checkpoint) == pytest.approx((6.0, 0.3))


@pytest.mark.parametrize("content", ["{", "[]", '{"shapes": {"a": {"s_per_step": 1}}}', "null"])
def test_a_damaged_calibration_is_said(tmp_path, content):
    calibration_file(tmp_path, "x").write_text(content)
    with pytest.raises(EnvironmentProblem, match="no calibration"):
        read_calibration(tmp_path, "x")


def test_each_shape_is_measured_once_and_a_sweep_adds_its_ends(project):
    plain = shapes_of(survey(project / "experiments.yaml"))
    assert [request.name for request, _ in plain] == ["dense/s0", "masked/s0"]
    (project / "experiments.yaml").write_text(SPEC + SWEEP)
    added = shapes_of(survey(project / "experiments.yaml"))[2:]
    assert [(r.stages[0].mask.ratio, r.model.experts and r.model.experts.count) for r, _ in added] == [
        (0.9, None),
        (0.75, 4),
    ]


def test_a_calibration_of_this_machine_makes_the_plan_measured(project):
    file, said = project / "experiments.yaml", []
    assert not plan_file(file).runs[0].calibrated
    known = calibrate(survey(file), Home.find(project), 0.1, said.append)
    assert known.machine == machine_name(hardware()) and len(known.shapes) == 2 and said
    runs = plan_file(file).runs
    assert {run.how for run in runs} == {"measured"}
    stored = json.loads(calibration_file(project / ".shoestring" / "calibrations", known.machine).read_text())
    assert stored["measured_at"] and all(m["s_per_step"] > 0 for m in stored["shapes"].values())


@pytest.mark.slow
def test_runs_of_one_process_and_of_two_are_measured_with_as_many(project):
    file, said = project / "experiments.yaml", []
    file.write_text(SHORT + "  shared: {extends: dense, compute: {processes: 2}}\n")
    known = calibrate(survey(file), Home.find(project), 0.1, said.append)
    assert {shape.kind[1] for shape in known.shapes.values()} == {1, 2} and len(known.shapes) == 2
    assert {run.how for run in plan_file(file).runs} == {"measured"}
    assert sum(line.endswith("timed)") for line in said) == 8, "one of two processes speaks"


def test_a_machine_whose_speed_wanders_between_rounds_gives_wider_forecasts_however_many_steps_were_timed():
    steady, wandering = [[1.0, 1.0, 1.0, 1.0], [2.0, 2.0, 2.0, 2.0]], [[0.8, 1.2, 0.8, 1.2], [2.4, 1.6, 2.4, 1.6]]
    assert drift_of(steady) == 0.0
    assert drift_of(wandering) == pytest.approx((8 * 0.2**2 / 6) ** 0.5)
    assert drift_of([[1.0]]) == 0.0, "one round says nothing of it"


def test_hardware_that_is_elsewhere_is_not_measured_here(project):
    (project / "experiments.yaml").write_text(SPEC.replace("data:", "hardware: h100-sxm\ndata:"))
    with pytest.raises(UsageError, match="not this machine"):
        calibrate(survey(project / "experiments.yaml"), Home.find(project), 0.1, print)


@pytest.fixture
def short(project) -> Home:
    """The project with one run of seconds, and a database."""
    (project / "experiments.yaml").write_text(SHORT)
    home = Home.find(project)
    upgrade(home.db_url)
    return home


def thought_slow(home: Home, at: str) -> Calibration:
    """A calibration that says this machine takes a second a step: far too long."""
    (work,) = distinct_works(run.config for run in plan_file(home.root / "experiments.yaml", home).runs).values()
    shapes = {work.key: Measured(1.0, 0.05, work.flops, work.parameters, work.kind)}
    known = Calibration(machine_name(hardware()), shapes, measured_at=at)
    write_calibration(home.calibrations, known)
    return known


def work(home: Home) -> None:
    worker = Worker(home, Database(home.db_url), LocalExecutor(), pace=Pace(beat_s=0.2, poll_s=0.05))
    assert worker.work(until_empty=True).states == {"succeeded": 1}


def test_a_finished_run_refines_the_next_forecast_until_the_machine_is_measured_anew(short):
    file, known = short.root / "experiments.yaml", thought_slow(short, "then")
    before = plan_file(file, short)
    submit_file(short, Database(short.db_url), before)
    work(short)
    found = read_calibration(short.calibrations, known.machine)
    assert len(found.experience.ratios) == 1 and found.experience.pace < 1.0
    run = plan_file(file, short).runs[0]
    assert run.machine_pace == found.experience.pace and run.note.endswith("after a finished run")
    assert run.s_per_step == pytest.approx((found.experience.pace,)) and run.usd.p50 < before.runs[0].usd.p50
    assert merged(found, known).experience == Experience()


def test_a_run_that_was_priced_by_an_older_calibration_teaches_nothing(short):
    thought_slow(short, "then")
    submit_file(short, Database(short.db_url), plan_file(short.root / "experiments.yaml", short))
    known = thought_slow(short, "later")
    work(short)
    assert read_calibration(short.calibrations, known.machine).experience == Experience()
