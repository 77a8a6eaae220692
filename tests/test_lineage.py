"""Reads for every page and for a family: aggregates, a few columns, on both databases."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from shoestring import actions, queries, runs
from shoestring.db import Database
from shoestring.pulse import SPENT
from sqlalchemy import event, text

NOW = 1_000_000.0


def test_a_family_is_told_from_its_first_run_to_its_last(db: Database, enqueue: Callable[..., int]):
    first = enqueue("first")
    actions.cancel(db, first, now=NOW)
    again = actions.retry(db, first, now=NOW).run_id
    shown = enqueue("showcase", kind="showcase", parent_id=again)
    enqueue("alone")
    for asked in (first, again, shown):
        assert [one.id for one in queries.lineage(db, asked)] == [first, again, shown]
    family = queries.lineage(db, again)
    assert [(one.kind, one.state, one.parent_id) for one in family] == [
        ("experiment", "cancelled", None), ("experiment", "queued", first), ("showcase", "queued", again),
    ]  # fmt: skip
    assert queries.lineage(db, 77) == [] and queries.lineage(db, -1) == []


def test_the_pulse_adds_up_in_the_database(db: Database, enqueue: Callable[..., Any]):
    assert queries.pulse(db, now=NOW) == queries.Pulse((), 0, 0.0)
    for i in range(3):
        enqueue(f"run{i}", project="older")
    enqueue("newest", project="newer")
    actions.set_budget(db, "older", 0.5, now=NOW)
    for worker in ("host:boot:1:0:a", "host:boot:2:0:b"):
        runs.register(db, worker, "2 cores", 0.25, now=NOW)
    runs.register(db, "host:boot:3:0:c", "2 cores", 0.25, now=NOW - 61)
    pulse = queries.pulse(db, now=NOW)
    assert [(m.project, m.spent_usd, m.max_usd) for m in pulse.meters] == [("newer", 0.0, None), ("older", 0.0, 0.5)]
    assert (pulse.n_alive, pulse.usd_per_hour) == (2, 0.5)


def test_the_pulse_looks_at_no_run_but_in_an_index(sqlite_db: Database):
    with sqlite_db.read() as conn:
        how = conn.execute(text(f"EXPLAIN QUERY PLAN {SPENT}")).all()
    assert "COVERING INDEX ix_runs_figures" in str(how)


def test_drawings_are_found_in_their_index(sqlite_db: Database, submission: Callable[..., Any], tmp_path: Path):
    two = [submission("trains"), submission("draws", kind="drawing")]
    actions.submit(sqlite_db, two, runs_dir=tmp_path / "runs", now=NOW)
    asked: list[tuple[str, tuple[object, ...]]] = []
    event.listen(sqlite_db.engine, "before_cursor_execute", lambda c, u, words, given, *_: asked.append((words, given)))
    assert [run.name for run in queries.runs(sqlite_db, kind="drawing", limit=5)] == ["draws"]
    (words, given), *others = [one for one in asked if "FROM runs" in one[0]]
    with sqlite_db.read() as conn:
        how = conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {words}", given).all()
    assert not others and "ix_runs_drawings" in str(how)
