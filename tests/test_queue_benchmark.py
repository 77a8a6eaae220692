"""The queue's benchmark runs, checks its claims, and does not stand in the way of the standard library's `queue`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from shoestring import actions, leases, runs
from shoestring.tables import HELD, metadata
from shoestring.tables import runs as runs_table
from shoestring_trainer.run_dir import Result
from sqlalchemy import event, select, update

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def parts():
    """The benchmark's parts on the path."""
    sys.path.append(str(BENCHMARKS))  # last, as the benchmark itself has it
    yield
    sys.path.remove(str(BENCHMARKS))


@pytest.fixture
def race(parts):
    from queue_parts import race

    return race


def quick(tmp_path: Path, *argv: str) -> dict:
    command = [sys.executable, str(BENCHMARKS / "queue.py"), "--quick", "--json", str(tmp_path / "queue.json"), *argv]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return json.loads((tmp_path / "queue.json").read_text())["parts"]


def test_the_quick_form_takes_every_run_once_and_finishes_every_one(tmp_path: Path):
    parts = quick(tmp_path, "--databases", "sqlite", "--processes", "2")
    assert [one["wrong"] for part in parts.values() for rounds in part.values() for one in rounds] == [[]] * 4
    [raced], [carried] = parts["race"]["sqlite, 2 claimers"], parts["beside"]["sqlite, 2 workers"]
    assert raced["claims_per_s"] > 0 and 0 <= raced["share"] <= 1 and carried["ours_per_s"] > 0


@pytest.mark.slow
def test_the_quick_form_runs_on_postgresql(tmp_path: Path):
    parts = quick(tmp_path, "--databases", "postgresql", "--processes", "2", "4")
    assert not any(one["wrong"] for part in parts.values() for rounds in part.values() for one in rounds)


def test_a_doubled_a_lost_and_an_unlogged_claim_are_noticed(db, race, enqueue):
    ids = [enqueue(name) for name in "abc"]
    for number in range(3):
        runs.claim(db, f"claimer-{number % 2}", f"n{number}", now=2e6)
    first, second = [(ids[0], 0.0, 1.0), (ids[2], 2.0, 3.0)], [(ids[1], 1.0, 2.0)]
    assert race.problems(db, [first, second], 3) == []
    assert "claimed twice" in " ".join(race.problems(db, [first, [*second, first[0]]], 3))
    assert "were claimed" in " ".join(race.problems(db, [first, []], 3))
    with db.write() as conn:
        conn.execute(update(runs_table).where(runs_table.c.id == ids[0]).values(owner="claimer-1"))
        conn.execute(metadata.tables["events"].delete().where(metadata.tables["events"].c.run_id == ids[1]))
    found = race.problems(db, [first, second], 3)
    assert "disagree" in found[0] and "the log has" in found[1]


def test_another_script_of_that_folder_gets_the_standard_librarys_queue():
    code = "import sys; sys.path.insert(0, sys.argv[1]); import queue, concurrent.futures; print(queue.Queue().qsize())"
    done = subprocess.run([sys.executable, "-c", code, str(BENCHMARKS)], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("0\n", 0), done.stderr


def test_looking_for_a_lost_claim_and_for_dead_workers_reads_only_what_is_held(db):
    with db.write() as conn:
        explain = "EXPLAIN QUERY PLAN" if conn.dialect.name == "sqlite" else "EXPLAIN"
        if conn.dialect.name == "postgresql":
            conn.exec_driver_sql("SET LOCAL enable_seqscan = off")  # or it reads a table this small as a whole
        for look in (leases._MADE, select(runs_table.c.id).where(HELD)):
            sql = str(look.params(b_nonce="n", b_worker="w").compile(conn, compile_kwargs={"literal_binds": True}))
            said = " ".join(str(row[-1] or row[0]) for row in conn.exec_driver_sql(f"{explain} {sql}"))
            assert "ix_runs_held" in said


def test_a_write_about_one_run_does_not_read_all_that_is_held(parts, db, tmp_path: Path):
    from queue_parts.filling import fill

    fill(db, tmp_path / "project", 60)  # which gathers PostgreSQL's statistics while nothing is held
    held = [runs.claim(db, "w", f"n{i}") for i in range(50)]
    sent: list[tuple[str, object]] = []
    listen = lambda conn, cursor, sql, values, *_: sent.append((sql, values))  # noqa: E731
    event.listen(db.engine, "before_cursor_execute", listen)
    runs.start(db, held[7], 0)
    runs.beat(db, held[7])
    runs.finish(db, held[7], Result(held[7].token, "succeeded", "", "", 1))
    event.remove(db.engine, "before_cursor_execute", listen)
    about_runs = [(sql, values) for sql, values in sent if "lease_token = " in sql.replace("(", " ")]
    assert len(about_runs) >= 5
    explain = "EXPLAIN QUERY PLAN" if db.path else "EXPLAIN"
    with db.read() as conn:
        for sql, values in about_runs:
            said = " ".join(str(row[-1] or row[0]) for row in conn.exec_driver_sql(f"{explain} {sql}", values))
            assert "ix_runs_held" not in said and ("pk_runs" in said or "INTEGER PRIMARY KEY" in said), said


def test_a_file_is_submitted_in_as_many_statements_as_one_run(db, submission, tmp_path: Path):
    counts = []
    for n in (1, 50):
        sent: list[str] = []
        listen = lambda conn, cursor, sql, *_, sent=sent: sent.append(sql)  # noqa: E731
        event.listen(db.engine, "before_cursor_execute", listen)
        actions.submit(db, [submission(f"r{n}-{i}") for i in range(n)], runs_dir=tmp_path, now=1e6)
        event.remove(db.engine, "before_cursor_execute", listen)
        counts.append(len(sent))
    assert counts[0] == counts[1] <= 7
