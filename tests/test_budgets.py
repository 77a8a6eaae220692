"""Money: what is kept back, what is refused, when a run is warned and paused."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fences import NOW, ended
from shoestring import actions, queries, runs
from shoestring.actions import Fund
from shoestring.budgets import purse
from shoestring.errors import BudgetRefused, Conflict
from shoestring.tables import sweeps
from sqlalchemy import insert

CAP = Fund("emoji", 1.0)


@pytest.fixture
def ask(db, submission, tmp_path: Path):
    """Submit runs that may cost so many dollars each, from the fund."""

    def submit(*p90s: float, fund: Fund = CAP, name: str = "r", **options: bool) -> list[actions.Submitted]:
        wanted = [submission(f"{name}{i}/s0", planned_usd=0.8 * p, reserved_usd=p) for i, p in enumerate(p90s)]
        return actions.submit(db, wanted, runs_dir=tmp_path / "runs", fund=fund, now=NOW, **options)

    return submit


def money(db, project: str = "emoji") -> tuple[int | None, int, int]:
    with db.read() as conn:
        now = purse(conn, project)
    return now.max_micro, now.spent_micro, now.reserved_micro


def trained(db, spent_usd: float, outcome: str = "succeeded") -> runs.Lease:
    lease = runs.claim(db, "w", f"n{spent_usd}{outcome}", now=NOW)
    runs.start(db, lease, 0, now=NOW)
    runs.finish(db, lease, ended(lease, outcome), round(spent_usd * 1e6), now=NOW)
    return lease


def test_a_run_keeps_back_its_90th_percentile_until_it_has_ended(db, ask):
    ask(0.5, 0.3)
    assert money(db) == (1_000_000, 0, 800_000)
    lease = runs.claim(db, "w", "n", now=NOW)
    runs.start(db, lease, 0, now=NOW)
    runs.beat(db, lease, 200_000, now=NOW)
    assert money(db) == (1_000_000, 200_000, 600_000)  # of .5, .2 is spent
    runs.finish(db, lease, ended(lease, "succeeded"), 400_000, now=NOW)
    assert money(db) == (1_000_000, 400_000, 300_000)  # it came out cheaper: the rest is free again


def test_what_does_not_fit_is_refused_whole_with_the_numbers_and_nothing_is_written(db, ask):
    ask(0.5)
    trained(db, 0.4)
    ask(0.3, name="more")
    with pytest.raises(BudgetRefused) as caught:
        ask(0.2, 0.2, name="much", fund=Fund("emoji", 1.05))
    words = caught.value.message
    assert caught.value.exit_code == 5 and all(w in words for w in ("2 runs", "$0.4", "$0.40000 is spent", "$0.30000"))
    assert money(db)[0] == 1_000_000 and len(queries.runs(db)) == 2  # not even the cap was raised
    assert [one.existed for one in ask(0.2, name="little")] == [False]


def test_runs_that_exist_are_not_paid_twice(db, ask):
    ask(0.9)
    assert [one.existed for one in ask(0.9)] == [True]
    with pytest.raises(BudgetRefused):
        ask(0.9, again=True)


def test_a_dry_run_is_refused_alike_and_writes_nothing(db, ask):
    assert [one.existed for one in ask(0.9, dry_run=True)] == [False]
    assert money(db) == (None, 0, 0) and not queries.runs(db)
    with pytest.raises(BudgetRefused):
        ask(1.1, dry_run=True)


def test_sweeps_that_have_not_begun_are_paid_from_the_same_fund(db, ask):
    fund = Fund("emoji", 1.0, {"masks": 0.6})
    with pytest.raises(BudgetRefused, match="1 run and 1 sweep"):
        ask(0.5, fund=fund)
    ask(0.3, fund=fund)
    sweep = {"name": "masks", "project": "emoji", "spec_hash": "h", "max_micro": 600_000, "created_at": NOW}
    with db.write() as conn:
        conn.execute(insert(sweeps).values({**sweep, "spec": {}, "state": "running"}))
    assert money(db) == (1_000_000, 0, 900_000)  # a begun one keeps back its own budget
    with pytest.raises(BudgetRefused):
        ask(0.2, fund=fund, name="more")


def test_of_two_submissions_at_once_one_is_refused(db, submission, tmp_path):
    go = threading.Barrier(2)

    def submit(name: str) -> bool:
        go.wait()
        try:
            one = submission(name, planned_usd=0.6, reserved_usd=0.6)
            return bool(actions.submit(db, [one], runs_dir=tmp_path, fund=CAP, now=NOW))
        except BudgetRefused:
            return False

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(submit, ("a/s0", "b/s0"))) == [False, True]


def test_a_run_is_warned_once_at_80_percent_of_its_cap(db, enqueue):
    enqueue(max_usd=0.001)
    lease = runs.claim(db, "w", "n", now=NOW)
    runs.start(db, lease, 0, now=NOW)
    assert [runs.beat(db, lease, micro, now=NOW).used for micro in (500, 800, 900)] == [0.5, 0.8, 0.9]
    (warning,) = [e for e in queries.events(db, lease.run_id) if e.kind == "budget_warning"]
    assert warning.detail == {"spent_micro": 800, "max_micro": 1000}


def test_a_pause_comes_early_enough_to_pay_the_evaluation_and_the_checkpoint(db, enqueue):
    enqueue(max_usd=0.001, plan={"closing_usd": 0.0003})
    lease = runs.claim(db, "w", "n", now=NOW)
    runs.start(db, lease, 0, now=NOW)
    assert runs.beat(db, lease, 699, closing_micro=300, now=NOW).want == "run"
    assert runs.beat(db, lease, 700, closing_micro=300, now=NOW).want == "pause"
    runs.finish(db, lease, ended(lease, "stopped", "stopped_by_request", 40), 950, now=NOW)
    with pytest.raises(Conflict, match="a pause costs"):
        actions.resume(db, lease.run_id, max_usd=0.0012, now=NOW)  # it would stop again at once
    assert actions.resume(db, lease.run_id, max_usd=0.0013, now=NOW) == "queued"
