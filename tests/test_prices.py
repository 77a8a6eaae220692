"""The price catalogue: its figures and their sources, electricity, and runs priced on other rows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from shoestring import actions, migrate, runs
from shoestring.cli.main import app
from shoestring.db import Database
from shoestring.errors import SpecInvalid
from shoestring.home import Home
from shoestring.prices import PriceRow, read_prices
from shoestring.quotes import measured, steps_of
from shoestring_trainer.config import Start
from shoestring_trainer.flops import train_flops_per_image
from shoestring_trainer.run_dir import Result
from test_plan import MANIFEST, SPEC
from typer.testing import CliRunner

PAPER = Path(__file__).resolve().parents[1] / "studies" / "paper.yaml"


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    for name in ("SHOESTRING_HOME", "SHOESTRING_DB"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "data" / "tiny").mkdir(parents=True)
    (tmp_path / "data" / "tiny" / "manifest.json").write_text(json.dumps(MANIFEST))
    (tmp_path / "experiments.yaml").write_text(SPEC)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shown(*argv: str) -> dict:
    done = CliRunner().invoke(app, [*argv, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.output)


def own(project: Path, row: str) -> dict[str, PriceRow]:
    (project / "prices.yaml").write_text(f"version: 1\nprices:\n  this-machine: {row}\n")
    return read_prices(project)


def test_every_figure_of_the_shipped_catalogue_has_a_source_and_a_date():
    rows = read_prices()
    assert {"this-machine", "h100-sxm", "a100-80", "l4", "rtx-4090", "t4"} <= set(rows)
    for name, row in rows.items():
        assert row.source and row.date, name
        assert (row.spot_usd_per_hour is None) == (not row.spot_source) == (row.spot_date is None), name
        if row.peak_tflops or row.memory_gb:
            assert row.specs_source and row.specs_date and row.memory_gb, name


def test_the_catalogue_is_listed_with_its_sources(project):
    listed = CliRunner().invoke(app, ["prices"])
    assert listed.exit_code == 0, listed.output
    for words in ("rtx-4090", "0.34", "165.2", "24 GB", "spot: RunPod", "peak and memory:"):
        assert words in listed.output
    assert shown("prices")["prices"]["t4"]["peak_tflops"] == {"fp16": 65.13, "fp32": 8.14}


def test_electricity_is_a_price(project):
    row = own(project, "{watts: 120, usd_per_kwh: 0.3, local: true, source: my bill, date: '2026-01-01'}")[
        "this-machine"
    ]
    assert row.usd_per_hour == pytest.approx(0.036) and row.price("x").usd_per_hour == pytest.approx(0.036)
    assert "120 W at $0.3 a kWh" in CliRunner().invoke(app, ["prices"]).output


@pytest.mark.parametrize(
    "row",
    [
        "{watts: 120, local: true, source: x, date: '2026-01-01'}",
        "{watts: 120, usd_per_kwh: 0.3, usd_per_hour: 1, source: x, date: '2026-01-01'}",
        "{usd_per_hour: 1, source: x, date: '2026-01-01', spot_usd_per_hour: 0.5}",
        "{usd_per_hour: 1, source: x, date: '2026-01-01', peak_tflops: {bf16: 0}}",
        "{usd_per_hour: 1, source: x, date: '2026-01-01', peak_tflops: {int3: 7}}",
        "{watts: a lot, usd_per_kwh: 0.3, source: x, date: '2026-01-01'}",
    ],
)
def test_a_row_that_contradicts_itself_is_refused_where_it_is_written(project, row):
    with pytest.raises(SpecInvalid) as told:
        own(project, row)
    assert told.value.faults[0].line == 3


def test_a_row_as_it_was_written_before_is_still_read(project):
    row = own(project, "{usd_per_hour: 1, source: x, date: '2026-01-01', device: cuda, peak_tflops: 10}")[
        "this-machine"
    ]
    assert row.peak("bf16") == row.peak("fp32") == 10 and row.memory_gb is None


def test_a_precision_that_the_hardware_has_not_is_computed_in_fp32():
    t4 = read_prices()["t4"]
    assert t4.peak("bf16") == t4.peak("fp32") == 8.14


def test_the_same_steps_are_priced_on_other_rows_by_their_peak(project):
    (project / "experiments.yaml").write_text(PAPER.read_text())
    plan = shown("plan", "--on", "h100-sxm,a100-80,l4")
    here, a100, l4 = (plan["on"][name][0] for name in ("h100-sxm", "a100-80", "l4"))
    assert here["needs"]["usd"]["p50"] == pytest.approx(plan["totals"]["usd"]["p50"], rel=1e-9)
    slower = a100["needs"]["hours"]["p50"] / here["needs"]["hours"]["p50"]
    assert slower == pytest.approx(989 / 312, rel=1e-3)
    assert a100["needs"]["usd"]["p50"] == pytest.approx(1890 * slower * 1.39 / 3.75, rel=1e-3)
    assert a100["spot_usd"]["p50"] == pytest.approx(a100["needs"]["usd"]["p50"] * 0.59 / 1.39)
    assert (a100["fits"], l4["fits"]) == (True, False)
    text = CliRunner().invoke(app, ["plan", "--on", "l4"]).output
    assert "l4: paper/s0 does not fit its memory" in text


def test_a_row_that_does_not_exist_is_told_with_its_neighbour(project):
    done = CliRunner().invoke(app, ["plan", "--on", "l5"])
    assert done.exit_code == 6 and "l4" in done.output


def test_on_this_machine_a_quote_is_the_plan(project):
    plan = shown("plan", "--on", "this-machine")
    for run, quote in zip(plan["runs"], plan["on"]["this-machine"], strict=True):
        for p in ("p10", "p50", "p90"):
            assert quote["needs"]["usd"][p] == pytest.approx(run["usd"][p])
            assert quote["needs"]["hours"][p] == pytest.approx(run["forecast"]["hours"][p])


def finished(project: Path, submission, usd: float, step: int = 100) -> None:
    """A run of 100 steps at $1 an hour in this project's database."""
    home = Home.find(project)
    home.state.mkdir(exist_ok=True)
    migrate.upgrade(home.db_url)
    db = Database(home.db_url)
    actions.submit(db, [submission("dense/s0")], runs_dir=home.runs, now=1e6)
    lease = runs.claim(db, "w", "n", now=1e6)
    runs.start(db, lease, 0, now=1e6)
    runs.finish(db, lease, Result(lease.token, "succeeded", "", "", step), int(1e6 * usd), now=1e6 + 3600 * usd)


def test_a_past_run_is_priced_again_from_what_it_took(project, submission):
    finished(project, submission, usd=0.5)
    told = shown("plan", "--run", "dense/s0", "--on", "this-machine,rtx-4090")
    assert told["measured"]["hours"] == pytest.approx(0.5) and told["measured"]["usd"] == pytest.approx(0.5)
    job = submission("x").config
    flop = 400 * train_flops_per_image(job.model, job.data.shape, 2.0, job.stages[0].mask, 4)
    assert told["measured"]["flop"] == pytest.approx(flop)
    (here,), (there,) = told["on"]["this-machine"], told["on"]["rtx-4090"]
    assert here["how"] == "measured" and here["needs"]["usd"]["p50"] == pytest.approx(0.5 * 0.1008)
    assert there["how"] == "assumed" and 0 < there["needs"]["hours"]["p50"] < 0.1
    words = CliRunner().invoke(app, ["plan", "--run", "dense/s0"]).output
    assert "took 30 min and $0.50" in words and "rtx-4090" in words


def test_a_run_that_did_not_finish_is_forecast_not_measured(project, submission):
    finished(project, submission, usd=0.5, step=60)
    told = shown("plan", "--run", "1", "--on", "this-machine")
    assert told["on"]["this-machine"][0]["how"] == "assumed"
    assert CliRunner().invoke(app, ["plan", "--run", "77"]).exit_code == 6


def test_a_continued_run_did_only_the_steps_after_its_start(submission):
    config = submission("x").config
    later = config.model_copy(update={"start": Start(checkpoint="/c", step=40)})
    assert (steps_of(config), steps_of(later), steps_of(later, 50), steps_of(config, 0)) == ([100], [60], [10], [0])
    assert measured(later, 100, 1.0).flop == pytest.approx(0.6 * measured(config, 100, 1.0).flop)
