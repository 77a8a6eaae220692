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
    merged,
    read_calibration,
    write_calibration,
)
from shoestring.calibration import machine as machine_name
from shoestring.errors import EnvironmentProblem, UsageError
from shoestring.home import Home
from shoestring.measuring import calibrate, drift_of, shapes_of
from shoestring.plan import plan_file, survey
from shoestring.provenance import hardware
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


def test_a_machine_whose_speed_wanders_between_rounds_gives_wider_forecasts_however_many_steps_were_timed():
    steady, wandering = [[1.0, 1.0, 1.0, 1.0], [2.0, 2.0, 2.0, 2.0]], [[0.8, 1.2, 0.8, 1.2], [2.4, 1.6, 2.4, 1.6]]
    assert drift_of(steady) == 0.0
    assert drift_of(wandering) == pytest.approx((8 * 0.2**2 / 6) ** 0.5)
    assert drift_of([[1.0]]) == 0.0, "one round says nothing of it"


def test_hardware_that_is_elsewhere_is_not_measured_here(project):
    (project / "experiments.yaml").write_text(SPEC.replace("data:", "hardware: h100-sxm\ndata:"))
    with pytest.raises(UsageError, match="not this machine"):
        calibrate(survey(project / "experiments.yaml"), Home.find(project), 0.1, print)
