"""Taking a run from the queue: order, room, dependencies, races, and replies that got lost."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

from shoestring import actions, queries, runs
from shoestring.leases import _claim
from shoestring.moves import move
from shoestring_trainer.run_dir import Result

NOW = 1_000_000.0


def ended(lease: runs.Lease, outcome: str, failure_class: str = "", step: int = 100) -> Result:
    return Result(lease.token, outcome, failure_class, "why", step)


def address(db) -> str:
    return db.url.render_as_string(hide_password=False)


def test_the_next_run_is_the_most_urgent_then_the_longest_ready_then_the_first(db, enqueue):
    first, second = enqueue("a"), enqueue("b")
    urgent = enqueue("c", priority=5)
    claimed = [runs.claim(db, "w", f"n{i}", now=NOW + 1).run_id for i in range(3)]
    assert claimed == [urgent, first, second]
    assert runs.claim(db, "w", "n4", now=NOW + 1) is None


def test_a_clock_that_was_put_back_an_hour_leaves_no_run_waiting_and_shortens_no_backoff(db, enqueue):
    run_id = enqueue()
    lease = runs.claim(db, "w", "n1", now=NOW - 3600)
    assert lease.run_id == run_id
    runs.start(db, lease, 0, now=NOW - 3600)
    assert runs.finish(db, lease, ended(lease, "failed", "transient"), jitter=0.9, now=NOW) == "queued"
    assert runs.claim(db, "w", "n2", now=NOW + 20) is None  # 27 s
    assert runs.claim(db, "w", "n3", now=NOW + 30).run_id == run_id


def test_a_claim_says_so_in_the_row_and_the_log_and_grows_the_token(db, enqueue):
    lease = runs.claim(db, "worker-1", "n", lease_s=30, now=NOW) if enqueue() else None
    run = queries.run(db, lease.run_id)
    assert (run.state, run.owner, run.lease_token, lease.token) == ("leased", "worker-1", 1, 1)
    assert lease.run == run
    assert [(e.kind, e.token) for e in queries.events(db, run.id)] == [("submitted", None), ("claimed", 1)]


def test_a_claim_whose_reply_was_lost_is_found_again_by_its_nonce(db, enqueue):
    enqueue("a"), enqueue("b")
    lease = runs.claim(db, "w", "same", now=NOW)
    assert runs.claim(db, "w", "same", now=NOW) == lease
    assert runs.claim(db, "w", "other", now=NOW).run_id != lease.run_id
    assert runs.claim(db, "thief", "same", now=NOW) is None  # a nonce is its worker's own


def test_a_worker_gets_only_what_it_has_room_for(db, enqueue, submission):
    job = submission().config
    enqueue("gpu", config=job.model_copy(update={"compute": job.compute.model_copy(update={"device": "cuda"})}))
    other = enqueue("elsewhere", queue="big")
    assert runs.claim(db, "w", "n", now=NOW) is None
    assert runs.claim(db, "w", "n", room=runs.Room(queue="big"), now=NOW).run_id == other
    assert runs.claim(db, "w", "n2", room=runs.Room(gpus=1), now=NOW).run.name == "gpu"


def test_a_run_waits_for_those_it_depends_on_and_fails_with_them(db, enqueue):
    first = enqueue("a")
    after = enqueue("b", depends_on=(first,))
    last = enqueue("c", depends_on=(after,))
    assert queries.run(db, after).state == "blocked"
    lease = runs.claim(db, "w", "n", now=NOW)
    runs.start(db, lease, 0, now=NOW)
    runs.finish(db, lease, ended(lease, "succeeded"), now=NOW)
    assert (queries.run(db, after).state, queries.run(db, last).state) == ("queued", "blocked")
    lease = runs.claim(db, "w", "n2", now=NOW)
    runs.start(db, lease, 0, now=NOW)
    runs.finish(db, lease, ended(lease, "failed", "nan"), now=NOW)
    run = queries.run(db, last)
    assert (run.state, run.failure_class) == ("failed", "dependency_failed") and str(after) in run.reason


def test_two_dependencies_that_succeed_at_the_same_time_queue_the_run_that_waits_for_both(db, enqueue):
    one, two = enqueue("a"), enqueue("b")
    after = enqueue("c", depends_on=(one, two))
    first, second = (runs.claim(db, "w", f"n{i}", now=NOW) for i in range(2))
    for lease in (first, second):
        runs.start(db, lease, 0, now=NOW)
    with ThreadPoolExecutor(1) as other:
        with db.write() as conn:
            assert move(conn, one, ("running", "succeeded"), NOW, "succeeded", token=first.token)
            late = other.submit(runs.finish, db, second, ended(second, "succeeded"), now=NOW)
            wait([late], timeout=0.5)  # it has seen all that it can see while this transaction is open
        assert late.result(timeout=60) == "succeeded"
    assert queries.run(db, after).state == "queued"


def test_a_claim_uses_the_index_of_queued_runs(db):
    with db.write() as conn:
        claim, values = _claim("w", "n", runs.Room(), NOW, 60.0)
        sql = claim.compile(conn)
        values = sql.construct_params(values)
        values = tuple(values[name] for name in sql.positiontup) if sql.positional else values
        explain = "EXPLAIN QUERY PLAN"
        if conn.dialect.name == "postgresql":
            conn.exec_driver_sql("SET LOCAL enable_seqscan = off")  # or it reads a table this small as a whole
            explain = "EXPLAIN"
        said = " ".join(row[-1] for row in conn.exec_driver_sql(f"{explain} {sql}", values))
    assert "ix_runs_claim" in said and "TEMP B-TREE" not in said and "Sort" not in said


def test_two_processes_racing_never_get_the_same_run_and_leave_none(db, submission, tmp_path: Path):
    actions.submit(db, [submission(f"r{i}") for i in range(150)], runs_dir=tmp_path, now=NOW)
    code = (
        "import sys; from shoestring import runs; from shoestring.db import Database\n"
        "db, n = Database(sys.argv[1]), 0\n"
        "while lease := runs.claim(db, sys.argv[2], f'{sys.argv[2]}{n}'):\n"
        "    n += 1; print(lease.run_id)\n"
    )
    racers = [
        subprocess.Popen([sys.executable, "-c", code, address(db), name], stdout=subprocess.PIPE, text=True)
        for name in "ab"
    ]
    claimed = [racer.communicate(timeout=240)[0].split() for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0]
    assert sorted(int(run) for one in claimed for run in one) == list(range(1, 151))
    assert Counter(e.kind for e in queries.events(db, limit=1000)) == {"submitted": 150, "claimed": 150}
