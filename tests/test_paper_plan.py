"""The paper's own run, planned from `studies/paper.yaml` as a user does it: its FLOPs, hours and dollars."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from shoestring.cli.main import app
from shoestring.errors import EnvironmentProblem
from shoestring.plan import plan_file
from shoestring.run_plan import RunPlan
from typer.testing import CliRunner

PAPER = Path(__file__).resolve().parents[1] / "studies" / "paper.yaml"


@pytest.fixture
def planned(tmp_path, monkeypatch):
    """Plan the paper's file, with some of its text replaced, in a project of its own."""
    monkeypatch.delenv("SHOESTRING_HOME", raising=False)
    monkeypatch.delenv("SHOESTRING_DB", raising=False)
    monkeypatch.chdir(tmp_path)

    def plan(*changes: tuple[str, str]) -> RunPlan:
        text = PAPER.read_text()
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "experiments.yaml").write_text(text)
        return plan_file(tmp_path / "experiments.yaml", described=True).runs[0]

    return plan


def exactly(value: float) -> object:
    """Equal to the four digits that are published or computed in the recipe."""
    return pytest.approx(value, rel=2e-4)


def test_the_papers_bill_is_the_published_one(planned):
    run = planned()
    assert run.steps == (250_000, 30_000, 50_000, 5_000) and run.parameters == 1_165_442_320
    assert run.flop == exactly(3.287e20)
    assert run.flop + run.dispatch_flop == exactly(3.448e20)
    assert run.unmasked_flop == exactly(7.479e20)
    assert run.gpu_hours == exactly(504) and run.usd.p50 == exactly(1890)
    assert run.flop / run.gpu_hours / 3600 == pytest.approx(181e12, rel=2e-3)  # a GPU: 18.3 % of its peak
    each = [n * 2048 * flop for n, flop in zip(run.steps, run.flops_per_image, strict=True)]
    assert each == pytest.approx([1.445e20, 0.439e20, 1.095e20, 0.308e20], rel=2e-3)


def test_half_the_steps_are_half_of_everything(planned):
    run = planned(("steps: 335000", "steps: 167500"))
    assert run.steps == (125_000, 15_000, 25_000, 2_500)
    assert (run.flop, run.gpu_hours, run.usd.p50) == (exactly(3.287e20 / 2), exactly(252), exactly(945))


def test_without_masks_the_same_steps_take_what_is_forecast_for_them(planned):
    run = planned(("{kind: random, ratio: 0.75}", "{kind: none}"))
    assert run.flop == run.unmasked_flop == exactly(7.479e20)
    assert run.usd.p50 == pytest.approx(4301, abs=1)


def test_what_a_user_sees_are_these_figures_in_lines_of_a_terminal(planned):
    planned()
    shown = CliRunner().invoke(app, ["plan"])
    assert shown.exit_code == 0, shown.output
    for figure in ("3.287e+20 FLOP", "3.448e+20 with one-hot dispatch, as published", "504 device-hours", "$1,890",
                   "7.479e+20 without masks", "build data/paper-256, data/paper-512"):  # fmt: skip
        assert figure in shown.output
    assert max(map(len, shown.output.splitlines())) <= 110


def test_stages_sum_to_the_run_and_the_run_to_the_file(planned):
    planned()
    file = json.loads(CliRunner().invoke(app, ["plan", "--json"]).output)
    (run,) = file["runs"]
    for what in ("hours", "usd"):
        for p in ("p10", "p50", "p90"):
            assert sum(stage[what][p] for stage in run["stages"]) == pytest.approx(run["forecast"][what][p])
            assert file["forecast"][what][p] == pytest.approx(run["forecast"][what][p])
    peaks = [stage["memory_bytes"]["p50"] for stage in run["stages"]]
    assert run["forecast"]["memory_bytes"]["p50"] == max(peaks) == peaks[-1]
    forward, backward = (sum(run[f"{way}_flops"][0].values()) for way in ("forward", "backward"))
    assert forward + backward == pytest.approx(run["flops_per_image"][0]) and backward == pytest.approx(2 * forward)


def test_a_set_that_is_only_described_is_planned_and_not_run(planned, tmp_path):
    planned()
    assert CliRunner().invoke(app, ["db", "upgrade"]).exit_code == 0
    refused = CliRunner().invoke(app, ["submit"])
    assert refused.exit_code == 4 and not list(tmp_path.rglob("config.json"))
    with pytest.raises(EnvironmentProblem, match="described in the file, not built") as told:
        plan_file(tmp_path / "experiments.yaml")
    assert "shoestring plan" in told.value.hint


def test_a_set_that_is_built_counts_whatever_was_described(planned, tmp_path):
    facts = {"space": "latents", "shape": [4, 32, 32], "size_px": 256, "n_train": 1000, "caption_dim": 1024}
    manifest = {"version": 1, "name": "paper-256", "digest": "d" * 64, "caption_tokens": 20.0} | facts
    (tmp_path / "data" / "paper-256").mkdir(parents=True)
    (tmp_path / "data" / "paper-256" / "manifest.json").write_text(json.dumps(manifest))
    run = planned(("  - share: 0.1492537314     # 50,000\n        data: paper-512", "  - share: 0.1492537314"))
    assert run.config.data.n_train == 1000 and run.flop < 3.287e20
