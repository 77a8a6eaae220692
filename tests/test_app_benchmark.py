"""The app's benchmark: what it fills a database with, and what it makes of its times."""

from __future__ import annotations

import sys
from pathlib import Path

import many_runs
import pytest
from shoestring import queries
from shoestring.db import Database
from shoestring.home import Home

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def figures():
    sys.path.append(str(BENCHMARKS))
    from app_parts import figures

    yield figures
    sys.path.remove(str(BENCHMARKS))


def test_a_large_project_is_one_that_every_query_reads(tmp_path: Path):
    home = Home(tmp_path, tmp_path / "state")
    many_runs.fill(home, many_runs.Size(runs=30, metrics=3, points=50, grids=2, queued=40, trials=5))
    db = Database(home.db_url)
    runs = queries.runs(db)
    assert len(runs) == 70 and not [run.unreadable for run in runs if run.unreadable]
    totals = queries.totals(db)
    assert (totals.n_queued, totals.n_active, totals.n_failed, totals.n_succeeded) == (40, 2, 1, 27)
    assert totals.spent_usd == pytest.approx(sum(run.spent_usd for run in runs))
    assert queries.metric_keys(db, [1]) == list(many_runs.KEYS[-3:])
    whole, half = queries.series(db, [1, 25], "val/loss")
    assert (len(whole.step), len(half.step)) == (50, 25) and runs[24].state == "failed"
    assert len(queries.samples(runs[0])) == 8 and len(queries.trials(db, 1)) == 5
    assert queries.why_each(db, runs[-40:])[31].startswith("next in line")
    db.close()


def test_times_are_printed_beside_their_targets(figures):
    slow = [0.4] * 18 + [1.5, 1.6]
    said = figures.shown({
        "first_s": {"overview": [0.5, 1.2, 1.3], "queue": [0.2]},
        "ready_s": {"overview": [1.7], "queue": [0.25]}, "whole_s": {"overview": [2.0], "queue": [0.3]},
        "react_s": {"overview": slow}, "cold_s": {"shown_s": 0.9, "ready_s": 3.0}, "blank_s": [0.7, 0.8, 0.6],
        "live_core": {"overview": 0.07, "queue": 0.01},
        "memory_mb": {"before": 200.0, "after": 240.0, "interactions": 500, "lost": 1}, "wrong": ["a script error"],
        "beside_s": {"see the table": {"Shoestring": [1.0], "MLflow": [4.0]}},
        "load_before": 0.1, "load_after": 2.0,
    })  # fmt: skip
    times = "1.20 missed (0.50 – 1.30) | 1.70 (1.70 – 1.70) | 2.00 (2.00 – 2.00) | 0.40 (0.40 – 1.60) | 1.60 missed"
    assert f"| overview | {times} |" in said and "0.90 s, to work with 3.00 s" in said
    assert "opened by the same browser in turns: 0.70 (0.60 – 0.80) s" in said
    assert "1 were followed by nothing missed" in said
    assert "+40 MB (target" in said and "7.0 % of a core missed" in said
    assert "to see the table: " in said and "4.0 × faster (≥ 3)" in said
    assert "WRONG: a script error" in said
