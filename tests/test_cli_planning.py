"""The verbs plan, schema, diff and calibrate, as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from shoestring.cli.main import app
from shoestring.cli.planning import duration, money
from typer.testing import CliRunner

MANIFEST = {
    "version": 1, "name": "tiny", "digest": "d" * 64, "space": "pixels", "shape": [3, 16, 16], "size_px": 16,
    "n_train": 5000, "caption_dim": 32, "caption_tokens": 3.0,
}  # fmt: skip
SPEC = """\
version: 1
project: tiny
data: tiny
budget: {max_usd: 1}
defaults: {model: {preset: nano}, until: {usd: 0.01}, lr: 1e-3}
experiments:
  dense: {stages: [{mask: {kind: none}}]}
  masked-with-a-name-as-long-as-any: {stages: [{mask: {kind: random, ratio: 0.75}}], seeds: [0, 1]}
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    (tmp_path / "data" / "tiny").mkdir(parents=True)
    (tmp_path / "data" / "tiny" / "manifest.json").write_text(json.dumps(MANIFEST))
    (tmp_path / "experiments.yaml").write_text(SPEC)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SHOESTRING_HOME", raising=False)
    return lambda *argv: CliRunner().invoke(app, list(argv))


def test_plan_shows_each_run_its_sum_and_what_to_do_next(run):
    shown = run("plan")
    assert shown.exit_code == 0, shown.output
    for words in ("dense/s0", "428 k", "16/64", "3 runs", "uncalibrated", "budget $1: enough", "shoestring submit"):
        assert words in shown.output
    assert max(len(line) for line in shown.output.splitlines()) <= 100


def test_a_free_machine_is_planned_too(run):
    Path("prices.yaml").write_text(
        "version: 1\nprices:\n  this-machine: {usd_per_hour: 0, local: true, source: mine, date: '2026-01-01'}\n"
    )
    Path("experiments.yaml").write_text(SPEC.replace("{usd: 0.01}", "{steps: 9}"))
    shown = run("plan")
    assert shown.exit_code == 0 and "$0.00" in shown.output, shown.output


def test_plan_as_json_is_one_document_with_runs_and_totals(run):
    shown = json.loads(run("plan", "--json").output)
    assert len(shown["runs"]) == 3 and set(shown["totals"]) == {"flop", "gpu_hours", "usd"}
    assert set(shown["totals"]["usd"]) == {"p10", "p50", "p90"}


def test_an_invalid_spec_exits_3_with_every_fault_and_no_traceback(run):
    Path("experiments.yaml").write_text(SPEC.replace("lr: 1e-3", 'lr: "1e-3"').replace("nano", "nanno"))
    shown = run("plan")
    assert shown.exit_code == 3 and "Traceback" not in shown.output
    for words in ("experiments.yaml:5:28", "did you mean `nano`", "experiments.yaml:5:60", "write it without quotes"):
        assert words in shown.output
    as_json = run("plan", "--json")
    faults = json.loads(as_json.output)["error"]["faults"]
    assert as_json.exit_code == 3 and [f["code"] for f in faults] == ["unknown_preset", "wrong_type"]
    assert faults[0]["line"] == 5 and faults[0]["path"] == "defaults.model.preset"


@pytest.mark.parametrize(
    ("argv", "code"),
    [(["plan", "none.yaml"], 6), (["plan", "--only", "nope"], 6), (["plan", "--what"], 2), (["diff", "dense"], 2)],
)
def test_mistakes_have_documented_exit_codes(run, argv, code):
    shown = run(*argv)
    assert shown.exit_code == code and "Traceback" not in shown.output


def test_missing_data_exits_4_with_the_command(run):
    Path("data/tiny/manifest.json").unlink()
    shown = run("plan")
    assert shown.exit_code == 4 and "dvc repro" in shown.output


def test_schema_describes_what_a_user_writes(run):
    schema = json.loads(run("schema").output)
    experiment = schema["$defs"]["Experiment"]
    assert {"extends", "matrix", "until", "stages", "lr"} <= set(experiment["properties"])
    assert "required" not in experiment and schema["required"] == ["version", "project", "data", "experiments"]
    assert "spark" in schema["$defs"]["ModelConfig"]["properties"]["preset"]["enum"]
    used = json.dumps(schema)
    assert all(f'"#/$defs/{name}"' in used for name in schema["$defs"])


def test_diff_names_only_what_differs(run):
    shown = run("diff", "dense", "masked-with-a-name-as-long-as-any/s1")
    assert shown.exit_code == 0, shown.output
    assert shown.output.splitlines() == [
        'stages.0.mask.kind: "none" → "random"',
        "stages.0.mask.ratio: – → 0.75",
        'stages.0.mask.place: – → "deferred"',
        "seed: 0 → 1",
    ]
    found = json.loads(run("diff", "dense", "dense", "--json").output)
    assert found["differences"] == []
    assert run("diff", "dense", "densse").exit_code == 6


def test_calibrate_refuses_hardware_that_is_elsewhere(run):
    Path("experiments.yaml").write_text(SPEC.replace("data:", "hardware: h100-sxm\ndata:"))
    shown = run("calibrate")
    assert shown.exit_code == 2 and "not this machine" in shown.output


@pytest.mark.parametrize(
    ("usd", "text"), [(0, "$0.00"), (0.00154, "$0.00154"), (0.0123, "$0.0123"), (1.5, "$1.50"), (1890, "$1,890")]
)
def test_money_has_three_digits_or_cents(usd, text):
    assert money(usd) == text


@pytest.mark.parametrize(
    ("hours", "text"), [(0.01, "36 s"), (0.04, "2.4 min"), (0.5, "30 min"), (63, "63 h"), (1234, "1,234 h")]
)
def test_durations_are_short(hours, text):
    assert duration(hours) == text
