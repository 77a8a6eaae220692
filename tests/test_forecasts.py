"""Forecast against actual: what is compared, what is left out, and the figures of each price row."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import doors
import pytest
from fences import NOW, ended
from shoestring import migrate, queries, runs
from shoestring.db import Database
from shoestring.forecasts import review
from test_ledger import Shop

PLAN = {"usd": {"p10": 0.9, "p50": 1.0, "p90": 1.2}, "hardware": "this-machine", "how": "measured"}


@pytest.fixture
def finish(db, enqueue):
    def one(name: str, usd: float, step: int = 100, **changes) -> int:
        run_id = enqueue(name, **{"plan": PLAN, **changes})
        lease = runs.claim(db, "w", name, now=NOW)
        runs.start(db, lease, 0, now=NOW)
        runs.finish(db, lease, ended(lease, "succeeded", "", step), round(usd * 1e6), now=NOW)
        return run_id

    return one


def test_errors_and_coverage_are_told_by_price_row(db, finish):
    for i, usd in enumerate((1.1, 0.95, 1.3)):
        finish(f"a/s{i}", usd)
    finish("b/s0", 2.0, plan={**PLAN, "hardware": "h100"})
    here, there = review(queries.runs(db)).accuracy
    assert (here.hardware, here.n, here.n_inside) == ("this-machine", 3, 2)
    assert (here.median_error, here.median_abs_error) == (pytest.approx(0.1), pytest.approx(0.1))
    assert here.coverage == pytest.approx(2 / 3)
    assert there.words().startswith("h100: 1 run cost 100.0 % more than planned") and "0 of 1 within" in there.words()


def test_what_was_not_what_the_forecast_spoke_of_is_left_out_and_counted(db, finish, enqueue):
    finish("good", 1.0)
    finish("early", 0.5, step=40)
    finish("free", 0.0, plan={})
    run_id = enqueue("killed", plan=PLAN)
    for outcome, failure in (("failed", "killed"), ("succeeded", "")):
        lease = runs.claim(db, "w", outcome, now=NOW)
        runs.start(db, lease, 0, now=NOW)
        runs.finish(db, lease, ended(lease, outcome, failure), 700_000, jitter=0.0, now=NOW)
    enqueue("waits", plan=PLAN)
    found = review(queries.runs(db))
    assert [one.name for one in found.forecasts] == ["good"] and queries.run(db, run_id).attempts == 2
    assert found.left_out == {"ended before its last step": 1, "planned no dollars": 1, "interrupted": 1}


def test_the_command_prints_the_table_and_the_figures(home, migrated, either, monkeypatch, submission):
    monkeypatch.setenv("SHOESTRING_HOME", str(home.state))
    monkeypatch.chdir(home.root)
    migrate.upgrade(home.db_url)
    assert "Next: shoestring work" in doors.run("cost", "--forecast").stdout
    db = Database(home.db_url)
    shop = Shop(db, lambda name, **changes: submission(name, plan=PLAN, **changes))
    for act in [("submit", 0, 0), ("claim", 0, 0)]:
        shop.do(*act)
    lease = shop.leases[0]
    runs.finish(db, lease, ended(lease, "succeeded"), 1_050_000, now=NOW)
    text = doors.run("cost", "--forecast").stdout
    assert "+5.0%" in text and "1 of 1 within 10–90 %" in text and "measured" in text
    told = doors.accepted("cost", "--forecast")
    assert told["accuracy"][0]["coverage"] == 1.0 and told["runs"][0]["actual_usd"] == 1.05


def test_the_runs_of_the_benchmark_are_the_same_everywhere_and_every_one_can_be_priced(tmp_path, monkeypatch):
    bench = runpy.run_path(str(Path(__file__).resolve().parents[1] / "benchmarks" / "forecast.py"))
    forty = bench["drawn"](40)
    assert forty == bench["drawn"](40) and list(forty.items())[:3] == list(bench["drawn"](3).items())
    assert len({json.dumps(one["model"]) for one in forty.values()}) > 20
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SHOESTRING_HOME", raising=False)
    bench["prepare"](tmp_path, 40)
    planned = doors.accepted("plan")["runs"]
    low, high = (seconds / 3600 * bench["USD_PER_HOUR"] for seconds in bench["SECONDS"])
    assert len(planned) == 40
    assert all(low * 0.9 < run["usd"]["p50"] < high * 1.1 and run["n_steps"] >= 10 for run in planned)
