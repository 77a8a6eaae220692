"""Bugs that other queues had, each asked of ours: nearly all of them wrote a state without asking who owns the run."""

from __future__ import annotations

import pytest
from fences import NOW, ended, everything
from shoestring import actions, queries, runs
from shoestring.errors import Conflict, LeaseLost
from shoestring.tables import workers
from sqlalchemy import delete


@pytest.fixture
def running(db, enqueue):
    """A run that worker `w` trains."""

    def one(name: str = "dense/s0") -> runs.Lease:
        enqueue(name)
        lease = runs.claim(db, "w", f"n-{name}", now=NOW)
        runs.start(db, lease, 0, now=NOW)
        return lease

    return one


@pytest.mark.parametrize("meanwhile", ["it ended", "it was given back and claimed anew"])
def test_river_1302_a_rescue_from_an_old_look_changes_neither_an_ended_run_nor_a_fresh_attempt(db, running, meanwhile):
    seen = running()  # the reaper looks here …
    runs.finish(db, seen, ended(seen, "succeeded" if meanwhile == "it ended" else "stopped", "preempted"), now=NOW)
    if meanwhile != "it ended":
        runs.start(db, runs.claim(db, "w2", "n2", now=NOW), 0, now=NOW)
    before = everything(db)
    assert not runs.reap_one(db, seen.run_id, seen.token, 0, now=NOW)  # … and acts here
    assert everything(db) == before


def test_solid_queue_589_a_worker_that_was_given_up_while_alive_cannot_end_the_run_too(db, running):
    frozen = running()
    assert runs.reap_one(db, frozen.run_id, frozen.token, 0, now=NOW)
    with pytest.raises(LeaseLost):
        runs.finish(db, frozen, ended(frozen, "succeeded"), now=NOW)
    second = runs.claim(db, "w2", "n2", now=NOW)
    runs.start(db, second, 0, now=NOW)
    assert runs.finish(db, second, ended(second, "succeeded"), now=NOW) == "succeeded"
    ends = [e.kind for e in queries.events(db) if e.kind in ("succeeded", "failed", "cancelled")]
    assert ends == ["succeeded"]


def test_dagster_34175_a_cancelled_run_stays_cancelled_whatever_its_worker_says_later(db, running):
    late = running()
    assert runs.reap_one(db, late.run_id, late.token, 0, now=NOW)
    assert actions.cancel(db, late.run_id, now=NOW) == "cancelled"
    with pytest.raises(LeaseLost):
        runs.finish(db, late, ended(late, "succeeded"), now=NOW)
    with pytest.raises(Conflict):
        actions.resume(db, late.run_id, now=NOW)
    assert queries.run(db, late.run_id).state == "cancelled"


def test_dbos_703_a_run_that_ends_while_it_is_being_cancelled_ends_once(db, running):
    lease = running()
    assert actions.cancel(db, lease.run_id, now=NOW) == "running"  # its worker is asked to stop
    state = runs.finish(db, lease, ended(lease, "succeeded"), now=NOW)
    assert state == "succeeded"  # everything had been trained and paid for
    with pytest.raises(Conflict, match="has succeeded already"):
        actions.cancel(db, lease.run_id, now=NOW)


def test_procrastinate_1518_a_run_is_taken_back_though_its_worker_is_on_no_roster(db, running):
    lease = running()
    with db.write() as conn:
        conn.execute(delete(workers))
    reaper = runs.Reaper(60.0)
    assert reaper.reap(db, 0.0, now=NOW) == []
    assert reaper.reap(db, 90.0, now=NOW) == [lease.run_id]


def test_procrastinate_1518_a_restarted_worker_of_the_same_name_keeps_no_run_of_the_old_one_alive(db, running):
    lease = running()
    mine, again = runs.new_worker_id(), runs.new_worker_id()
    assert mine != again and mine.split(":")[:4] == again.split(":")[:4]
    reaper = runs.Reaper(60.0)
    reaper.reap(db, 0.0, now=NOW)
    runs.register(db, again, "2 cores", 0.0, now=NOW)  # reports now and then, but beats for no run
    runs.report(db, again, None, now=NOW + 80)
    assert reaper.reap(db, 90.0, now=NOW) == [lease.run_id]


def test_pg_boss_535_a_run_that_nobody_can_take_does_not_stop_those_behind_it(db, enqueue):
    enqueue("huge", priority=9)
    with db.write() as conn:
        conn.exec_driver_sql("UPDATE runs SET gpus = 8")
    small = enqueue("small")
    assert runs.claim(db, "w", "n", now=NOW).run_id == small


def test_skypilot_10155_silence_shorter_than_the_patience_takes_no_run_however_often_one_looks(db, running):
    running()
    reaper = runs.Reaper(60.0)
    assert [reaper.reap(db, 3.0 * look, now=NOW) for look in range(30)] == [[]] * 30
