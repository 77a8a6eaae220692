"""Plans: dollars become whole steps, frozen in the config; nothing runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from shoestring.calibration import Calibration, Measured, Overheads, write_calibration
from shoestring.calibration import machine as machine_name
from shoestring.cost import Costs, full_work, stage_works
from shoestring.errors import EnvironmentProblem, NotFound, SpecInvalid
from shoestring.home import Home
from shoestring.plan import extend_plan, plan_file, survey
from shoestring.provenance import hardware
from shoestring.request import Request
from shoestring.run_plan import PlanRefused, plan_alike, plan_request
from shoestring_trainer.config import Start, TrainConfig
from shoestring_trainer.schedule import checkpoints_at, evaluates_at, samples_at

MANIFEST = {
    "version": 1, "name": "tiny", "digest": "d" * 64, "space": "pixels", "shape": [3, 16, 16], "size_px": 16,
    "n_train": 5000, "caption_dim": 32, "caption_tokens": 3.0,
}  # fmt: skip
SPEC = """\
version: 1
project: tiny
data: tiny
budget: {max_usd: 1}
defaults:
  model: {preset: nano}
  until: {usd: 0.01}
  lr: 1e-3
  evaluate: {every_usd: 0.002, n_images: 16}
  samples: {prompts: [a, b], every_usd: 0.005}
experiments:
  dense:
    stages: [{mask: {kind: none}}]
  masked:
    seeds: [0, 1]
    stages:
      - {share: 0.8, mask: {kind: random, ratio: 0.75}, warmup_steps: 5}
      - {share: 0.2, mask: {kind: none}}
sweeps:
  s:
    base: masked
    until: {usd: 0.004}
    trials: 5
    search: {stages.0.mask.ratio: {low: 0, high: 0.9}}
    objectives: {val/loss: minimize, cost/usd: minimize}
    budget: {max_usd: 0.015}
"""


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    monkeypatch.delenv("SHOESTRING_HOME", raising=False)
    (tmp_path / "data" / "tiny").mkdir(parents=True)
    (tmp_path / "data" / "tiny" / "manifest.json").write_text(json.dumps(MANIFEST))
    (tmp_path / "experiments.yaml").write_text(SPEC)
    return tmp_path


def write(project: Path, old: str, new: str) -> Path:
    assert old in SPEC
    (project / "experiments.yaml").write_text(SPEC.replace(old, new))
    return project / "experiments.yaml"


def calibrated(project: Path) -> Calibration:
    """Store a calibration of this machine with all shapes of the spec: 20 GFLOP/s."""
    shapes, overheads = {}, {}
    for request in survey(project / "experiments.yaml").requests:
        for work in stage_works(request):
            shapes[work.key] = Measured(work.flops / 20e9, 0.01, work.flops, work.parameters, work.kind)
        overheads[full_work(stage_works(request)).model_key] = Overheads(4.0, 1e-10, 1e-10, 0.01, 0.1)
    calibration = Calibration(machine_name(hardware()), shapes, overheads, "now")
    write_calibration(Home.find(project).calibrations, calibration)
    return calibration


def test_a_plan_has_one_run_for_each_experiment_and_seed_and_its_totals(project):
    planned = plan_file(project / "experiments.yaml")
    assert [r.name for r in planned.runs] == ["dense/s0", "masked/s0", "masked/s1"]
    shown = json.loads(json.dumps(planned.as_json(), allow_nan=False))
    assert {"runs", "totals"} <= set(shown) and set(shown["totals"]) == {"flop", "gpu_hours", "usd"}
    assert shown["totals"]["usd"]["p50"] == pytest.approx(sum(r["usd"]["p50"] for r in shown["runs"]))
    assert shown["totals"]["flop"] == pytest.approx(sum(r["flop"] for r in shown["runs"]))
    usd = shown["totals"]["usd"]
    assert usd["p10"] < usd["p50"] < usd["p90"]


def test_the_planned_dollars_are_those_asked_for_to_within_a_step(project):
    calibrated(project)
    for run in plan_file(project / "experiments.yaml").runs:
        step_usd = max(s.planned_usd_per_step for s in run.config.stages)
        assert 0.01 - 2 * step_usd <= run.usd.p50 <= 0.01 + 1e-12
        assert run.config.planned_usd_at(run.n_steps) == pytest.approx(run.usd.p50)
        assert run.calibrated and run.how == "measured" and run.usd.p90 < 1.06 * run.usd.p50


def test_every_usd_is_kept_in_whole_steps(project):
    calibrated(project)
    run = plan_file(project / "experiments.yaml").runs[0]
    done = range(1, run.n_steps + 1)
    evaluations, grids, checkpoints = (
        sum(at(run.config, step) for step in done) for at in (evaluates_at, samples_at, checkpoints_at)
    )
    assert evaluations in (4, 5) and grids == 2 and checkpoints == 4


def test_the_config_is_frozen_and_complete(project):
    run = plan_file(project / "experiments.yaml").runs[1]
    config = TrainConfig.model_validate_json(run.config.model_dump_json())
    assert config == run.config and config.name == "masked/s0" and config.stages[0].warmup_steps == 5
    assert config.price.usd_per_hour == 0.1008 and config.data.path.startswith(str(project))


def test_a_calibration_changes_the_steps_and_not_the_identity(project):
    before = plan_file(project / "experiments.yaml").runs
    calibrated(project)
    after = plan_file(project / "experiments.yaml").runs
    assert [r.spec_hash for r in before] == [r.spec_hash for r in after]
    assert [r.steps for r in before] != [r.steps for r in after]


def test_an_uncalibrated_plan_says_what_it_assumes(project):
    planned = plan_file(project / "experiments.yaml")
    assert not planned.runs[0].calibrated and "assumed" in planned.runs[0].note
    assert any("shoestring calibrate" in w for w in planned.warnings)


def test_steps_and_images_are_taken_as_they_are(project):
    steps = plan_file(write(project, "{usd: 0.01}", "{steps: 77}")).runs
    assert [r.n_steps for r in steps] == [77] * 3 and steps[1].steps == (62, 15)
    images = plan_file(write(project, "{usd: 0.01}", "{images: 1000}")).runs
    assert [r.n_steps for r in images] == [62] * 3 and images[0].images == 992


def test_kept_tokens_and_flops_follow_the_mask(project):
    dense, masked, _ = plan_file(project / "experiments.yaml").runs
    assert (dense.tokens, dense.tokens_kept, masked.tokens_kept) == (64, (64,), (16, 64))
    assert masked.flops_per_image[0] < masked.flops_per_image[1] == dense.flops_per_image[0]
    assert sum(dense.forward_flops[0].values()) * 3 == pytest.approx(dense.flops_per_image[0])
    assert dense.flop == pytest.approx(dense.images * dense.flops_per_image[0])


def test_only_the_named_experiments_are_planned(project):
    file = project / "experiments.yaml"
    assert [r.name for r in plan_file(file, only=["dense", "masked/s1"]).runs] == ["dense/s0", "masked/s1"]
    assert not plan_file(file, only=["dense"]).sweeps
    with pytest.raises(NotFound, match="dens"):
        plan_file(file, only=["dens"])


def test_a_sweep_is_priced_with_its_cap(project):
    (sweep,) = plan_file(project / "experiments.yaml").sweeps
    assert sweep.trial.usd.p50 == pytest.approx(0.004, rel=0.05) and sweep.usd.p50 == 0.015


def test_hours_buy_what_their_dollars_would(project):
    hours = 0.01 / 0.1008
    by_time = plan_file(write(project, "{usd: 0.01}", f"{{hours: {hours}}}"), only=["dense"]).runs[0]
    by_money = plan_file(write(project, "", ""), only=["dense"]).runs[0]
    assert by_time.n_steps == by_money.n_steps and by_time.hours <= hours
    assert by_time.spec_hash != by_money.spec_hash


def test_flops_become_the_most_steps_that_do_not_pass_them(project):
    run = plan_file(write(project, "{usd: 0.01}", "{flops: 1e12}"), only=["masked/s0"]).runs[0]
    assert 0.98e12 < run.flop <= 1e12
    codes, words = refusal(write(project, "{usd: 0.01}", "{flops: 1e3}"))
    assert codes[0][0] == "until_too_small" and "ask for at least" in words


def test_until_a_loss_needs_a_limit_beside_it(project):
    asked = plan_file(write(project, "{usd: 0.01}", "{usd: 0.01, val_loss: 0.3}"), only=["dense"]).runs[0]
    plain = plan_file(write(project, "", ""), only=["dense"]).runs[0]
    assert (asked.config.until_val_loss, plain.config.until_val_loss) == (0.3, None)
    assert asked.n_steps == plain.n_steps and asked.spec_hash != plain.spec_hash
    codes, words = refusal(write(project, "{usd: 0.01}", "{val_loss: 0.3}"))
    assert codes[0][0] == "not_exactly_one" and "usd, steps, images, hours, flops" in words


def test_a_pause_is_planned_for(project):
    (run,) = plan_file(write(project, "", ""), only=["dense"]).runs
    assert 0 < run.closing_usd < 0.2 * run.usd.p50 and run.as_json()["closing_usd"] == run.closing_usd


def refusal(file: Path):
    with pytest.raises(SpecInvalid) as caught:
        plan_file(file)
    return [(f.code, f.line) for f in caught.value.faults], str(caught.value)


def test_dollars_that_buy_no_step_are_refused_where_they_are_written(project):
    codes, words = refusal(write(project, "{usd: 0.01}", "{usd: 0.0001}"))
    assert codes == [("until_too_small", 7)] and "ask for at least" in words


def test_a_cap_below_the_first_checkpoint_is_refused(project):
    codes, words = refusal(write(project, "    seeds: [0, 1]", "    budget: {max_usd: 0.0005}"))
    assert codes == [("budget_below_checkpoint", 15)] and "before its first checkpoint" in words


def test_a_cap_below_the_plan_is_a_warning(project):
    planned = plan_file(write(project, "    seeds: [0, 1]", "    budget: {max_usd: 0.008}"))
    assert any("it will pause" in w for w in planned.warnings)


def test_unknown_hardware_is_refused_where_it_is_written(project):
    codes, words = refusal(write(project, "project: tiny\n", "project: tiny\nhardware: h100-sxn\n"))
    assert codes == [("unknown_hardware", 3)] and "h100-sxm" in words


def test_other_hardware_is_priced_by_its_peak(project):
    text = SPEC.replace("project: tiny\n", "project: tiny\nhardware: h100-sxm\n")
    runs = []
    for precision in ("fp32", "bf16"):
        (project / "experiments.yaml").write_text(
            text.replace("  lr: 1e-3\n", f"  lr: 1e-3\n  compute: {{precision: {precision}}}\n")
        )
        runs.append(plan_file(project / "experiments.yaml", only=["dense"]).runs[0])
    slow, fast = runs
    assert slow.config.compute.device == "cuda" and slow.config.price.usd_per_hour == 3.75
    assert "18.3 % of 66.9 TFLOP/s" in slow.note and "18.3 % of 989 TFLOP/s" in fast.note
    assert slow.s_per_step[0] / fast.s_per_step[0] == pytest.approx(989 / 66.9)


def test_missing_data_is_said_with_the_command(project):
    with pytest.raises(EnvironmentProblem) as caught:
        plan_file(write(project, "data: tiny", "data: none"))
    assert caught.value.exit_code == 4 and "dvc repro" in caught.value.hint
    (project / "data" / "tiny" / "manifest.json").write_text("{")
    with pytest.raises(EnvironmentProblem):
        plan_file(write(project, "lr: 1e-3", "lr: 2e-3"))


def test_free_hardware_cannot_be_counted_in_dollars(project):
    own = "version: 1\nprices:\n  this-machine: {usd_per_hour: 0, local: true, source: mine, date: '2026-01-01'}\n"
    (project / "prices.yaml").write_text(own)
    assert {code for code, _ in refusal(project / "experiments.yaml")[0]} == {"free_hardware"}
    assert plan_file(write(project, "{usd: 0.01}", "{steps: 9}"), only=["dense"]).runs


@pytest.fixture
def winner(project) -> tuple[Request, TrainConfig, Costs]:
    calibrated(project)
    surveyed = survey(project / "experiments.yaml")
    request = surveyed.requests[1]
    return request, plan_request(request, surveyed.costs).config, surveyed.costs


def test_an_extension_begins_with_the_stages_already_trained(winner):
    request, config, costs = winner
    start = Start(checkpoint="/runs/1/checkpoints/step", step=config.n_steps)
    longer = extend_plan(request, config, start, 0.02, costs)
    assert longer.config.stages[:2] == config.stages and len(longer.config.stages) == 4
    assert longer.config.stages[2].warmup_steps == 0 and longer.config.start == start
    assert longer.usd.p50 == pytest.approx(0.02, rel=0.01)
    assert longer.config.planned_usd_at(longer.config.n_steps) == pytest.approx(0.03, rel=0.01)
    assert longer.spec_hash != extend_plan(request, config, start, 0.03, costs).spec_hash


def test_an_extension_by_too_little_is_refused(winner):
    request, config, costs = winner
    with pytest.raises(PlanRefused):
        extend_plan(request, config, Start(checkpoint="/x", step=config.n_steps), 1e-5, costs)


def write_set(project: Path, name: str, **changes: object) -> None:
    (project / "data" / name).mkdir()
    (project / "data" / name / "manifest.json").write_text(json.dumps(MANIFEST | {"name": name} | changes))


def test_a_stage_may_train_at_another_resolution_and_is_priced_there(project):
    write_set(project, "large", shape=[3, 32, 32], size_px=32, digest="e" * 64)
    text = SPEC.replace("{share: 0.2, mask: {kind: none}}", "{share: 0.2, data: large, mask: {kind: none}}")
    (project / "experiments.yaml").write_text(text)
    masked = plan_file(project / "experiments.yaml").runs[1]
    assert [stage.data and stage.data.name for stage in masked.config.stages] == [None, "large"]
    assert (masked.tokens, masked.tokens_kept) == (256, (16, 256))
    assert masked.s_per_step[1] > 3 * masked.s_per_step[0]


def test_a_stage_on_a_set_of_another_kind_is_told_where(project):
    write_set(project, "wide", shape=[3, 16, 32])
    (project / "experiments.yaml").write_text(SPEC.replace("{share: 0.2, mask", "{share: 0.2, data: wide, mask"))
    with pytest.raises(SpecInvalid) as caught:
        plan_file(project / "experiments.yaml")
    assert "no multiple of tiny's 3×16×16" in caught.value.faults[0].message


def test_several_sources_are_one_set_to_a_run_and_say_so_in_its_identity(project):
    write_set(project, "more", digest="f" * 64, n_train=1000, caption_tokens=5.0)
    before = plan_file(project / "experiments.yaml").runs[0]
    listed = "data: tiny\nsources: [{data: more, origin: synthetic}, {data: tiny, weight: 3}]\n"
    (project / "experiments.yaml").write_text(SPEC.replace("data: tiny\n", listed))
    run = plan_file(project / "experiments.yaml").runs[0]
    data = run.config.data
    assert [(s.name, s.weight, s.origin) for s in data.sources] == [("tiny", 3, "real"), ("more", 1, "synthetic")]
    assert (data.name, data.n_train, data.caption_tokens) == ("tiny", 6000, 3.5)
    assert run.spec_hash != before.spec_hash


@pytest.mark.parametrize(("listed", "message"), [
    ("[{data: more}]", "`data` 'tiny', which is validated on, is not among the sources"),
    ("[{data: tiny}, {data: latent}]", "latent has another shape and space than tiny"),
])  # fmt: skip
def test_sources_that_do_not_belong_together_are_told_where(project, listed, message):
    write_set(project, "more")
    write_set(project, "latent", space="latents", shape=[8, 4, 4])
    (project / "experiments.yaml").write_text(SPEC.replace("data: tiny\n", f"data: tiny\nsources: {listed}\n"))
    with pytest.raises(SpecInvalid) as caught:
        plan_file(project / "experiments.yaml")
    assert caught.value.faults[0].message == message and caught.value.faults[0].line == 4


def test_what_is_priced_once_for_several_runs_is_what_each_costs_by_itself(project):
    surveyed = survey(project / "experiments.yaml")
    costs, first = surveyed.costs, surveyed.requests[-1]
    changes = [
        {"stages.0.lr": 0.5, "stages.1.warmup_steps": 3, "stages.0.grad_clip": 1.0, "stages.1.cosine_to": 0.1},
        {"stages.0.noise": {"p_mean": 0.5}, "seed": 9, "ema_decay": 0.5, "caption_dropout": 0.2, "max_usd": 1.0},
        {"stages.0.mask.ratio": 0.5}, {"batch_size": 8}, {"model.depth": 2}, {"optimizer": {"kind": "muon"}},
        {"objective": {"kind": "flow"}}, {"until": {"steps": 50}}, {"until": {"usd": 0.02, "val_loss": 1.0}},
        {"evaluate.n_images": 8}, {"samples": None}, {"checkpoints": {"every_steps": 3}}, {"compute.compile": True},
    ]  # fmt: skip
    for request in (first, *(first.with_params(one) for one in changes)):
        plan, alone = plan_request(request, costs), plan_alike.__wrapped__(request, costs)[0]
        assert plan.as_json() == alone.as_json() | {"spec_hash": request.spec_hash}
        assert plan.config == alone.config and plan.config.model_dump_json() == alone.config.model_dump_json()
        assert plan.request is request
