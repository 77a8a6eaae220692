"""States and retries: the edges in the code, in the SQL and in what random users and workers bring about."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from shoestring import actions, queries, runs
from shoestring.db import Database
from shoestring.errors import Conflict, LeaseLost
from shoestring.moves import move
from shoestring.retries import MAX_FAILURES, MAX_PREEMPTIONS, MAX_STALLS, Counts, backoff_s, judge
from shoestring.states import EDGES, LEASED, TERMINAL, check_edge, path, sources
from shoestring.tables import runs as runs_table
from shoestring_trainer.run_dir import Result
from sqlalchemy import update

FRESH = Counts(failures=0, preemptions=0, stalls=0, same_class=0)


def test_terminal_states_have_no_exits_and_every_state_is_reached():
    assert {"succeeded", "failed", "cancelled"} == TERMINAL
    assert all(sources(state) for state in EDGES if state not in ("blocked",))
    with pytest.raises(ValueError, match="succeeded → queued"):
        check_edge("succeeded", "queued")


def test_the_sql_moves_a_run_along_every_edge_and_no_other(db, submission, tmp_path: Path):
    run_id = actions.submit(db, [submission()], runs_dir=tmp_path)[0].run_id
    for source in EDGES:
        for target in EDGES:
            with db.write() as conn:
                conn.execute(update(runs_table).values(state=source, lease_token=7))
                if target in EDGES[source]:
                    assert not move(conn, run_id, (source, target), 1.0, "test", token=6)  # a stale token
                    assert move(conn, run_id, (source, target), 1.0, "test", token=7)
                    assert not move(conn, run_id, (source, target), 1.0, "test", token=7)  # not there any more
                else:
                    with pytest.raises(ValueError, match="is no edge"):
                        move(conn, run_id, (source, target), 1.0, "test", token=7)
            assert queries.run(db, run_id).state == (target if target in EDGES[source] else source)


def test_every_verdict_can_be_reached_from_every_leased_state():
    for source in LEASED:
        for target in ("queued", "paused", "failed", "cancelled"):
            steps = [source, *path(source, target)]
            for edge in itertools.pairwise(steps):
                check_edge(*edge)


@pytest.mark.parametrize(
    ("outcome", "failure_class", "want", "state", "counts_as"),
    [
        ("succeeded", "", "run", "succeeded", ""),
        ("succeeded", "", "cancel", "succeeded", ""),  # it was faster
        ("stopped", "stopped_by_request", "cancel", "cancelled", ""),
        ("stopped", "stopped_by_request", "pause", "paused", ""),
        ("stopped", "stopped_by_request", "run", "queued", "preemption"),
        ("stopped", "parent_gone", "run", "queued", "preemption"),
        ("failed", "killed", "run", "queued", "preemption"),
        ("failed", "worker_lost", "cancel", "cancelled", ""),
        ("failed", "worker_lost", "pause", "paused", "preemption"),
        ("failed", "crashed", "run", "queued", "failure"),
        ("failed", "never heard of", "run", "queued", "failure"),
        ("failed", "out_of_memory", "run", "queued", "failure"),
        ("failed", "disk_full", "run", "paused", ""),
        ("failed", "nan", "run", "failed", "failure"),
        ("failed", "bad_config", "pause", "failed", "failure"),
        ("failed", "bad_checkpoint", "run", "failed", "failure"),
        ("failed", "error", "run", "failed", "failure"),
    ],
)
def test_how_an_attempt_ended_decides_what_comes_next(outcome, failure_class, want, state, counts_as):
    verdict = judge(outcome, failure_class, want, FRESH, jitter=0.5)
    assert (verdict.state, verdict.counts_as) == (state, counts_as)


def test_transient_failures_are_tried_again_three_times_memory_once_and_interruptions_often():
    def state(failure_class: str, **counts: int) -> str:
        return judge("failed", failure_class, "run", Counts(**{**vars(FRESH), **counts}), 0.5).state

    assert [state("crashed", failures=n) for n in range(4)] == ["queued"] * MAX_FAILURES + ["failed"]
    assert state("out_of_memory", same_class=1) == "failed"
    assert state("killed", preemptions=MAX_PREEMPTIONS - 1, failures=3) == "queued"
    assert state("killed", preemptions=MAX_PREEMPTIONS) == "failed"
    assert state("killed", stalls=MAX_STALLS) == "failed"


def test_the_wait_doubles_up_to_half_an_hour_and_is_spread_over_all_of_it():
    assert [backoff_s(n, 1.0) for n in (0, 1, 2, 20)] == [30, 60, 120, 1800]
    assert backoff_s(5, 0.0) == 0
    assert judge("failed", "crashed", "run", Counts(1, 0, 0, 0), 0.5).delay_s == 30


class Queue(RuleBasedStateMachine):
    """Users, two workers and a reaper do as they like; the audit log must read as EDGES allow."""

    open_new: Callable[[], Database]
    make_submission: object

    @initialize()
    def open(self):
        self.folder = Path(tempfile.mkdtemp())
        self.db = self.open_new()
        self.now, self.leases, self.n = 1000.0, [], 0
        self.submit(2)

    @rule(n=st.integers(1, 2))
    def submit(self, n):
        for _ in range(n):
            waits = (
                (self.n,) if self.n and self.n % 3 == 2 and self.state(self.n) not in ("failed", "cancelled") else ()
            )
            self.n += 1
            one = self.make_submission(f"r{self.n}", depends_on=waits)
            actions.submit(self.db, [one], runs_dir=self.folder, now=self.now)

    def state(self, run_id: int) -> str:
        return queries.run(self.db, run_id).state

    @rule(worker=st.sampled_from("ab"))
    def claim(self, worker):
        lease = runs.claim(self.db, worker, f"{worker}{len(self.leases)}", now=self.now)
        if lease:
            self.leases.append(lease)

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), act=st.sampled_from(["start", "beat", "stopping", "release", "ok", "stop", "nan", "crash"]))
    def work(self, data, act):
        lease = data.draw(st.sampled_from(self.leases))
        result = {
            "ok": Result(lease.token, "succeeded", "", "", 100),
            "stop": Result(lease.token, "stopped", "stopped_by_request", "", 50),
            "nan": Result(lease.token, "failed", "nan", "", 10),
            "crash": Result(lease.token, "failed", "crashed", "", 10),
        }
        before = queries.run(self.db, lease.run_id)
        holds = before.state in LEASED and before.lease_token == lease.token
        try:
            if act == "start":
                runs.start(self.db, lease, 0, now=self.now)
            elif act in ("beat", "stopping", "release"):
                getattr(runs, act)(self.db, lease, now=self.now)
            elif before.state != "leased" or act == "nan":
                runs.finish(self.db, lease, result[act], jitter=1.0, now=self.now)
        except LeaseLost:
            if act != "stopping":
                assert not holds
        else:
            assert holds or queries.run(self.db, lease.run_id) == before

    @rule(run=st.integers(1, 9), act=st.sampled_from(["cancel", "pause", "resume", "retry"]))
    def use(self, run, act):
        if run <= len(queries.runs(self.db)):
            with contextlib.suppress(Conflict):
                getattr(actions, act)(self.db, run, now=self.now)
            self.n = len(queries.runs(self.db))

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def reap(self, data):
        run = queries.run(self.db, data.draw(st.sampled_from(self.leases)).run_id)
        runs.reap_one(self.db, run.id, run.lease_token, 0, now=self.now)

    @rule(seconds=st.sampled_from([1.0, 60.0, 3600.0]))
    def wait(self, seconds):
        self.now += seconds

    @invariant()
    def the_log_follows_the_edges(self):
        for run in queries.runs(self.db):
            at, token = "", 0
            for event in queries.events(self.db, run.id, limit=10**6):
                if "to" not in event.detail:
                    continue
                source, target = event.detail.get("from", ""), event.detail["to"]
                assert source == at and (not source or target in EDGES[source])
                assert event.token is None or event.token >= token
                at, token = target, event.token or token
            assert at == run.state and run.lease_token >= token

    def teardown(self):
        if hasattr(self, "folder"):
            self.db.close()
            shutil.rmtree(self.folder)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_whatever_users_and_workers_do_runs_move_along_the_edges(kind, migrated, submission, tmp_path, request):
    server = request.getfixturevalue("postgres") if kind == "postgresql" else None
    copies = itertools.count()

    def open_new() -> Database:
        path = tmp_path / f"{next(copies)}.db"
        return Database(server.new() if server else f"sqlite:///{shutil.copy(migrated, path)}")

    Queue.open_new, Queue.make_submission = staticmethod(open_new), staticmethod(submission)
    from hypothesis.stateful import run_state_machine_as_test

    few = settings(max_examples=6, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(Queue, settings=few)
