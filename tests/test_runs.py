"""The worker's side: claims, leases, fenced writes, what follows an attempt, and taking runs back."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import time

import pytest
from fences import NOW, WRITES, ended, everything, point
from shoestring import actions, queries, runs
from shoestring.errors import LeaseLost


def address(db) -> str:
    return db.url.render_as_string(hide_password=False)


@pytest.fixture
def started(db, enqueue):
    def one(name: str = "dense/s0", **changes: object) -> runs.Lease:
        enqueue(name, **changes)
        lease = runs.claim(db, "w", f"nonce-{name}", now=NOW)
        runs.start(db, lease, 0, now=NOW)
        return lease

    return one


# ── fenced writes ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("after", ["reaped", "claimed by another", "paused", "cancelled"])
def test_a_stale_token_writes_nothing(db, started, after):
    stale = started()
    runs.record(db, stale, [point(3)])
    runs.add_checkpoint(db, stale, 50, "/c50", 1, now=NOW)
    assert runs.reap_one(db, stale.run_id, stale.token, 0, now=NOW)
    if after == "claimed by another":
        runs.start(db, runs.claim(db, "w", "later", now=NOW), 50, now=NOW)
    elif after in ("paused", "cancelled"):
        getattr(actions, {"paused": "pause", "cancelled": "cancel"}[after])(db, stale.run_id, now=NOW)
    before = everything(db)
    for name, write in WRITES.items():
        with pytest.raises(LeaseLost, match=f"run {stale.run_id} .* token 1"):
            write(db, stale)
        assert everything(db) == before, name


def test_a_finished_run_takes_no_more_writes(db, started):
    lease = started()
    runs.finish(db, lease, ended(lease, "succeeded"), now=NOW)
    before = everything(db)
    for name in set(WRITES) - {"finish"}:  # finishing again tells what became of it
        with pytest.raises(LeaseLost):
            WRITES[name](db, lease)
        assert everything(db) == before, name


def test_a_resumed_attempt_forgets_the_points_after_its_checkpoint_in_the_start_itself(db, started):
    first = started()
    runs.record(db, first, [point(step) for step in (10, 50, 60, 70)])
    runs.add_checkpoint(db, first, 50, "/c50", 10, now=NOW)
    assert queries.run(db, first.run_id).step == 70
    runs.reap_one(db, first.run_id, first.token, 0, now=NOW)
    second = runs.claim(db, "w2", "n2", now=NOW)
    runs.start(db, second, 50, now=NOW + 5)
    assert queries.series(db, [first.run_id], "train/loss")[0].step == [10, 50]
    run = queries.run(db, first.run_id)
    assert (run.step, run.attempts, run.started_at, run.checkpoint_step) == (50, 2, NOW, 50)
    assert [(a.outcome, a.first_step, a.last_step) for a in queries.attempts(db, run.id)] == [
        ("lost", 0, 70),
        ("running", 50, 50),
    ]


def test_a_start_or_a_finish_whose_reply_was_lost_may_be_repeated(db, started):
    lease = started()
    runs.start(db, lease, 0, now=NOW + 9)
    assert queries.run(db, lease.run_id).attempts == 1
    assert runs.finish(db, lease, ended(lease, "stopped", "stopped_by_request"), now=NOW) == "queued"
    before = everything(db)
    assert runs.finish(db, lease, ended(lease, "stopped", "stopped_by_request"), now=NOW) == "queued"
    assert everything(db) == before


def test_a_run_belongs_to_who_started_it_and_a_second_starter_with_the_same_token_is_refused(db, enqueue):
    run_id = enqueue()
    claimed = runs.claim(db, "dispatcher", "n", now=NOW)
    mine, twin = (dataclasses.replace(claimed, worker_id=name) for name in ("job on n1", "job on n2"))
    runs.start(db, mine, 0, engine="slurm", now=NOW)
    runs.record(db, mine, [point(7)])
    assert queries.run(db, run_id).owner == "job on n1"
    before = everything(db)
    with pytest.raises(LeaseLost):
        runs.start(db, twin, 0, engine="slurm", now=NOW)
    assert everything(db) == before
    dead = {"dispatcher", "job on n2"}
    assert runs.Reaper(60, dead.__contains__).reap(db, 0.0, now=NOW) == []  # the dispatcher's death takes no run away
    assert runs.Reaper(60, {"job on n1"}.__contains__).reap(db, 0.0, now=NOW) == [run_id]


def test_thousands_of_points_at_once_are_kept_like_a_few(db, started):
    lease = started()
    runs.record(db, lease, [point(step, 1.0) for step in range(3000)])
    runs.record(db, lease, [point(step, 2.0 + step / 3) for step in range(1000, 2000)])
    (loss,) = queries.series(db, [lease.run_id], "train/loss", max_points=5000)
    assert loss.step == list(range(3000))
    assert loss.value == [1.0] * 1000 + [2.0 + step / 3 for step in range(1000, 2000)] + [1.0] * 1000


def test_a_point_is_kept_once_by_run_key_and_step_and_what_is_no_number_is_left_out(db, started):
    lease = started()
    runs.record(db, lease, [point(1, 5.0), point(1, 4.0), point(2, float("nan")), point(3, float("inf"))])
    runs.record(db, lease, [point(1, 3.0), point(1, 9.0, "val/loss")])
    (loss,) = queries.series(db, [lease.run_id], "train/loss")
    assert (loss.step, loss.value, loss.images, loss.flops, loss.usd, loss.seconds) == (
        [1],
        [3],
        [4],
        [9],
        [0.001],
        [1],
    )
    assert queries.metric_keys(db, [lease.run_id]) == ["train/loss", "val/loss"]


def test_a_bad_checkpoint_is_marked_and_the_one_before_it_counts_again(db, started):
    lease = started()
    for step in (10, 20):
        runs.add_checkpoint(db, lease, step, f"/c{step}", 100, now=NOW)
    runs.mark_checkpoint(db, lease, (20, lease.token), "corrupt", "sha256 of ema.safetensors", now=NOW)
    assert queries.run(db, lease.run_id).checkpoint_step == 10
    assert [(c.step, c.state, c.bytes) for c in queries.checkpoints(db, lease.run_id)] == [
        (10, "published", 100),
        (20, "corrupt", 100),
    ]


# ── beats and money ─────────────────────────────────────────────────────────────────────────────


def test_a_beat_adds_up_what_all_attempts_spent_and_never_counts_twice(db, started):
    lease = started()
    for spent in (100, 300, 300, 200):
        assert runs.beat(db, lease, spent, now=NOW) == runs.Beat("run", False)
    runs.finish(db, lease, ended(lease, "failed", "killed", 5), 400, now=NOW)
    second = runs.claim(db, "w", "n2", now=NOW)
    runs.start(db, second, 0, now=NOW)
    runs.beat(db, second, 50, now=NOW)
    assert queries.run(db, lease.run_id).spent_usd == pytest.approx(450e-6)
    assert [a.usd for a in queries.attempts(db, lease.run_id)] == pytest.approx([400e-6, 50e-6])


def test_a_run_tells_the_job_that_is_to_carry_it_and_an_attempt_here_tells_none(db, enqueue):
    run_id = enqueue()
    lease = runs.claim(db, "slurm@w", "n", now=NOW)
    runs.hand_over(db, lease, "slurm", "42")
    assert (queries.run(db, run_id).state, queries.run(db, run_id).job) == ("leased", "Slurm job 42")
    runs.start(db, lease, 0, engine="slurm", handle="42", now=NOW)
    with pytest.raises(LeaseLost):
        runs.hand_over(db, lease, "slurm", "43")
    assert runs.finish(db, lease, ended(lease, "stopped", "preempted"), now=NOW) == "queued"
    assert queries.run(db, run_id).job == "Slurm job 42"  # its last attempt's
    runs.start(db, runs.claim(db, "w", "n2", now=NOW), 0, engine="local", now=NOW)
    assert queries.run(db, run_id).job == ""


def test_a_run_that_has_spent_its_cap_is_paused_and_goes_on_with_a_higher_one(db, started):
    lease = started(max_usd=0.001)
    assert runs.beat(db, lease, 999, now=NOW) == runs.Beat("run", False, 0.999)
    assert runs.beat(db, lease, 1000, now=NOW) == runs.Beat("pause", True, 1.0)
    runs.stopping(db, lease, "budget", now=NOW)
    assert runs.finish(db, lease, ended(lease, "stopped", "stopped_by_request", 40), 1001, now=NOW) == "paused"
    run = queries.run(db, lease.run_id)
    assert (run.reason, run.want, run.failures, run.owner) == ("budget", "run", 0, "")
    actions.resume(db, run.id, max_usd=0.002, now=NOW)
    again = runs.claim(db, "w", "n2", now=NOW)
    assert again.token > lease.token and again.run.max_usd == 0.002


def test_a_projects_budget_pauses_its_runs_and_ends_its_claims(db, started, enqueue):
    lease = started()
    enqueue("next")
    other = enqueue("elsewhere", project="other")
    actions.set_budget(db, "emoji", 0.0005, now=NOW)
    assert runs.beat(db, lease, 500, now=NOW) == runs.Beat("pause", True)
    assert runs.claim(db, "w", "n1", now=NOW).run_id == other
    assert runs.claim(db, "w", "n2", now=NOW) is None


def test_a_beat_brings_what_the_user_wants_and_the_run_ends_there(db, started):
    for act, state in (("cancel", "cancelled"), ("pause", "paused")):
        lease = started(act)
        getattr(actions, act)(db, lease.run_id, now=NOW)
        assert runs.beat(db, lease, now=NOW).want == act
        runs.stopping(db, lease, act, now=NOW)
        assert runs.finish(db, lease, ended(lease, "stopped", "stopped_by_request"), now=NOW) == state


# ── after an attempt ────────────────────────────────────────────────────────────────────────────


def test_transient_failures_wait_longer_each_time_and_then_it_has_failed(db, enqueue):
    run_id, now = enqueue(), NOW
    for n, delay in enumerate((15.0, 30.0, 60.0)):
        lease = runs.claim(db, "w", f"n{n}", now=now)
        runs.start(db, lease, 0, now=now)
        assert runs.finish(db, lease, ended(lease, "failed", "crashed", 3), jitter=0.5, now=now) == "queued"
        assert runs.claim(db, "w", "early", now=now + delay - 1) is None
        now += delay
    lease = runs.claim(db, "w", "n3", now=now)
    runs.start(db, lease, 0, now=now)
    assert runs.finish(db, lease, ended(lease, "failed", "crashed", 3), now=now) == "failed"
    run = queries.run(db, run_id)
    assert (run.failures, run.attempts, run.failure_class, run.failure_detail) == (4, 4, "crashed", "why")
    assert run.ended_at == now


def test_running_out_of_memory_is_tried_once_more_at_once(db, enqueue):
    enqueue()
    for n, state in enumerate(("queued", "failed")):
        lease = runs.claim(db, "w", f"n{n}", now=NOW)
        runs.start(db, lease, 0, now=NOW)
        assert runs.finish(db, lease, ended(lease, "failed", "out_of_memory", 3), now=NOW) == state


def test_interruptions_are_no_failures_but_must_get_on(db, enqueue):
    run_id = enqueue()
    for n in range(30):
        lease = runs.claim(db, "w", f"n{n}", now=NOW)
        runs.start(db, lease, queries.run(db, run_id).checkpoint_step, now=NOW)
        if n < 15:
            runs.add_checkpoint(db, lease, n + 1, f"/c{n}", 1, now=NOW)
        if runs.finish(db, lease, ended(lease, "failed", "killed", n), now=NOW) == "failed":
            break
    run = queries.run(db, run_id)
    assert (run.failures, run.attempts) == (0, 15 + 10) and "no checkpoint between" in run.reason


def test_a_run_given_back_before_it_began_waits_as_if_it_had_not_been_claimed(db, enqueue):
    enqueue()
    lease = runs.claim(db, "w", "n", now=NOW)
    assert runs.release(db, lease, now=NOW) == "queued"
    again = runs.claim(db, "w", "n2", now=NOW)
    assert again.token == lease.token + 2 and again.run.attempts == 0


# ── taking runs back ────────────────────────────────────────────────────────────────────────────


def test_a_run_is_reaped_after_one_and_a_half_leases_without_a_beat_by_the_observers_own_clock(db, started):
    lease, reaper = started(), runs.Reaper(lease_s=60)
    assert reaper.reap(db, 0.0, now=NOW + 1e6) == []  # the wall clock says nothing
    runs.beat(db, lease, now=NOW - 3600)  # nor does the worker's
    assert reaper.reap(db, 80.0, now=NOW) == [] == reaper.reap(db, 169.0, now=NOW)
    assert reaper.reap(db, 170.0, now=NOW) == [lease.run_id]
    run = queries.run(db, lease.run_id)
    assert (run.state, run.lease_token, run.failures, run.reason) == ("queued", lease.token + 1, 0, "worker_lost")
    assert [e.kind for e in queries.events(db, run.id)][-2:] == ["reaped", "requeued"]


def test_a_forgotten_window_starts_anew(db, started):
    lease, reaper = started(), runs.Reaper(lease_s=60)
    reaper.reap(db, 0.0)
    reaper.forget()  # the database was away
    assert reaper.reap(db, 1000.0) == []
    assert reaper.reap(db, 1090.0) == [lease.run_id]


def test_a_beat_between_looking_and_reaping_saves_the_run(db, started):
    lease = started()
    runs.beat(db, lease, now=NOW)
    assert not runs.reap_one(db, lease.run_id, lease.token, 0, now=NOW)
    assert runs.reap_one(db, lease.run_id, lease.token, 1, now=NOW)


def test_the_run_of_a_dead_process_of_this_machine_is_reaped_at_once(db, enqueue):
    enqueue("a"), enqueue("b")
    code = (
        "import sys; from shoestring import runs; from shoestring.db import Database\n"
        "runs.claim(Database(sys.argv[1]), runs.new_worker_id(), 'n')\n"
    )
    subprocess.run([sys.executable, "-c", code, address(db)], check=True)
    mine = runs.claim(db, runs.new_worker_id(), "m")
    assert runs.Reaper(60, runs.provably_dead).reap(db, time.monotonic()) == [1]
    assert queries.run(db, mine.run_id).state == "leased"


def test_a_worker_elsewhere_or_of_an_unknown_name_is_not_provably_dead():
    host, boot, _, start, own = runs.new_worker_id().split(":")
    assert runs.provably_dead(f"{host}:{boot}:4194305:{start}:{own}")
    assert not runs.provably_dead(f"other-host:{boot}:4194305:{start}:{own}")
    assert not runs.provably_dead(f"{host}:other-boot:4194305:{start}:{own}")
    assert not runs.provably_dead("w")


def test_a_reaped_run_that_was_to_be_cancelled_or_paused_is(db, started):
    for act, state in (("cancel", "cancelled"), ("pause", "paused")):
        lease = started(act)
        getattr(actions, act)(db, lease.run_id, now=NOW)
        runs.reap_one(db, lease.run_id, lease.token, 0, now=NOW)
        assert queries.run(db, lease.run_id).state == state


# ── workers ─────────────────────────────────────────────────────────────────────────────────────


def test_a_worker_is_on_the_roster_until_it_leaves_and_learns_that_it_is_to_drain(db, started):
    me = runs.new_worker_id()
    runs.register(db, me, "2 cores", 0.05, now=NOW)
    assert runs.report(db, me, now=NOW) == "run"
    lease = started()
    actions.drain_worker(db, me, now=NOW)
    assert runs.report(db, me, lease.run_id, now=NOW + 3) == "drain"
    (worker,) = queries.workers(db)
    shown = dataclasses.asdict(worker)
    assert {k: shown[k] for k in ("id", "state", "run_id", "beat_at", "usd_per_hour", "hardware")} == {
        "id": me, "state": "draining", "run_id": lease.run_id, "beat_at": NOW + 3, "usd_per_hour": 0.05,
        "hardware": "2 cores",
    }  # fmt: skip
    runs.leave(db, me, now=NOW + 4)
    assert queries.workers(db)[0].state == "gone"
    with pytest.raises(LeaseLost, match="not on the roster"):
        runs.report(db, "nobody", now=NOW)
