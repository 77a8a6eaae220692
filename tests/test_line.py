"""The queue in the order of claims, however long it is, and pages of runs."""

from __future__ import annotations

import json

from fences import NOW, ended
from shoestring import actions, queries, runs
from shoestring.cli.main import app
from typer.testing import CliRunner


def test_the_line_is_who_works_then_the_order_of_claims_then_who_cannot_be_claimed(db, enqueue):
    priorities = {"ended": 9, "works": 8, "late": 0, "soon": 2, "aside": 5}
    ids = {name: enqueue(f"{name}/s0", priority=priority) for name, priority in priorities.items()}
    ids["blocked"] = enqueue("blocked/s0", depends_on=(ids["late"],))
    actions.pause(db, ids["aside"], now=NOW)
    for name in ("ended", "works"):
        lease = runs.claim(db, "w", name, now=NOW)
        runs.start(db, lease, 0, now=NOW)
        runs.beat(db, lease, 4_000, now=NOW)
        if name == "ended":
            runs.finish(db, lease, ended(lease, "succeeded"), 4_000, now=NOW)
    line = queries.line(db, 10)
    assert [run.id for run in line.first] == [ids[name] for name in ("works", "soon", "late", "blocked", "aside")]
    assert (line.n_active, line.n_waiting) == (1, 4)
    assert line.ahead_usd == queries.totals(db).ahead_usd == 4 * 0.01 + 0.006
    page = queries.line(db, 2)
    assert page.first == line.first[:2] and page.ahead_usd == line.ahead_usd
    claimed = [runs.claim(db, "w", f"n{i}", now=NOW).run_id for i in range(2)]
    assert claimed == [ids["soon"], ids["late"]]  # the order that was shown


def test_nothing_to_do_is_an_empty_line(db):
    line = queries.line(db, 10)
    assert (line.first, line.n_active, line.n_waiting, line.ahead_usd) == ((), 0, 0, 0.0)


def test_status_shows_a_page_and_says_how_to_see_the_next(home, sqlite, submission, monkeypatch):
    monkeypatch.setenv("SHOESTRING_HOME", str(home.state))
    monkeypatch.delenv("SHOESTRING_DB", raising=False)
    actions.submit(sqlite, [submission(f"r{i}/s0") for i in range(5)], runs_dir=home.runs)

    def call(*words: str) -> str:
        done = CliRunner().invoke(app, ["status", *words])
        assert done.exit_code == 0, done.output
        return done.stdout

    first = call("--limit", "2")
    assert "r4/s0" in first and "r3/s0" in first and "r2/s0" not in first
    assert "shoestring status --before 4" in first and "5 runs" in first
    second = json.loads(call("--limit", "2", "--before", "4", "--json"))
    assert [run["id"] for run in second["runs"]] == [2, 3] and second["next_before"] == 2
    last = call("--before", "2")
    assert "r0/s0" in last and "Older ones" not in last
