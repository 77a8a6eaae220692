"""What users do to runs, and what they are told when they cannot."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from shoestring import actions, queries, runs
from shoestring.db import Database
from shoestring.errors import CONFLICT, NOT_FOUND, Conflict, NotFound
from shoestring.tables import runs as runs_table
from shoestring_trainer.config import TrainConfig
from shoestring_trainer.run_dir import Result
from sqlalchemy import select

NOW = 1_000_000.0


@pytest.fixture
def submit(db, submission, tmp_path: Path):
    def one(name: str = "dense/s0", again: bool = False, **changes: object) -> actions.Submitted:
        return actions.submit(db, [submission(name, **changes)], runs_dir=tmp_path / "runs", again=again, now=NOW)[0]

    return one


def finish(db, outcome: str, failure_class: str = "") -> int:
    lease = runs.claim(db, "w", f"{outcome}{failure_class}{len(queries.events(db))}", now=NOW)
    runs.start(db, lease, 0, now=NOW)
    runs.finish(db, lease, Result(lease.token, outcome, failure_class, "", 9), now=NOW)
    return lease.run_id


# ── submitting ──────────────────────────────────────────────────────────────────────────────────


def test_a_submitted_run_carries_everything_that_was_asked(db, submit, submission, tmp_path: Path):
    done = submit(
        tags=("a", "b"), priority=3, max_usd=0.5, plan={"usd": {"p50": 1.0}}, provenance={"git_commit": "c0ffee"}
    )
    run = queries.run(db, done.run_id)
    assert not done.existed and (run.state, run.want, run.n_steps, run.generation) == ("queued", "run", 100, 0)
    assert (run.tags, run.priority, run.max_usd, run.planned_usd) == (("a", "b"), 3, 0.5, 0.01)
    assert (run.plan, run.provenance["git_commit"], run.created_at) == ({"usd": {"p50": 1.0}}, "c0ffee", NOW)
    assert TrainConfig.model_validate(run.config) == submission().config
    assert Path(run.run_dir) == tmp_path / "runs" / f"{run.id:05d}" and not Path(run.run_dir).exists()


def test_the_same_spec_again_is_the_same_run_and_a_failed_one_comes_with_a_hint(db, submit):
    first = submit()
    assert submit("other name", spec_hash="dense/s0") == actions.Submitted(first.run_id, True, "queued")
    finish(db, "failed", "nan")
    assert submit() == actions.Submitted(first.run_id, True, "failed", f"shoestring retry {first.run_id}")
    second = submit(again=True)
    assert not second.existed and queries.run(db, second.run_id).generation == 1
    assert submit().run_id == second.run_id  # the newest


def test_the_same_spec_from_many_at_once_is_one_run(db, submit, submission):
    code = (
        "import pickle, sys; from pathlib import Path; from concurrent.futures import ThreadPoolExecutor\n"
        "from shoestring import actions; from shoestring.db import Database\n"
        "from shoestring_trainer.config import TrainConfig\n"
        "config = TrainConfig.model_validate_json(sys.stdin.read())\n"
        "one = actions.Submission('n', 'e', 'p', 0, 'hash', config)\n"
        "db = Database(sys.argv[1])\n"
        "with ThreadPoolExecutor(3) as pool:\n"
        "    print(*pool.map(lambda i: actions.submit(db, [one], runs_dir=Path('/r'))[0].existed, range(25)))\n"
    )
    argv = [sys.executable, "-c", code, db.url.render_as_string(hide_password=False)]
    crowd = [subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(submission().config.model_dump_json(), timeout=240)[0].split() for process in crowd]
    assert sorted(said[0] + said[1]) == ["False"] + 49 * ["True"]
    assert len(queries.runs(db)) == 1


def test_a_file_is_submitted_as_a_whole_or_not_at_all(db, submission, tmp_path: Path):
    both = [submission("a"), submission("b", depends_on=(99,))]
    with pytest.raises(NotFound, match="b depends on run 99, which does not exist"):
        actions.submit(db, both, runs_dir=tmp_path, now=NOW)
    assert queries.runs(db) == [] == queries.events(db)


def test_a_run_after_one_that_failed_is_refused_and_after_one_that_succeeded_is_queued(db, submit):
    submit("a")
    failed = finish(db, "failed", "nan")
    with pytest.raises(Conflict, match=f"run {failed}, which has failed") as caught:
        submit("b", depends_on=(failed,))
    assert caught.value.hint == f"shoestring retry {failed}"
    submit("c")
    assert submit("d", depends_on=(finish(db, "succeeded"),)).state == "queued"


# ── a run's life ────────────────────────────────────────────────────────────────────────────────


def test_what_nobody_holds_is_cancelled_at_once_and_what_waits_for_it_fails(db, submit):
    first = submit("a").run_id
    after = submit("b", depends_on=(first,)).run_id
    assert actions.cancel(db, first, now=NOW) == "cancelled"
    assert (queries.run(db, first).ended_at, queries.run(db, after).state) == (NOW, "failed")


def test_a_run_that_is_held_is_asked_to_end(db, submit):
    run_id = submit().run_id
    lease = runs.claim(db, "w", "n", now=NOW)
    assert actions.cancel(db, run_id, now=NOW) == "leased"
    assert runs.beat(db, lease, now=NOW).want == "cancel"
    with pytest.raises(Conflict, match="being cancelled"):
        actions.pause(db, run_id, now=NOW)
    assert runs.release(db, lease, now=NOW) == "cancelled"


def test_a_paused_run_is_not_claimed_until_it_is_resumed(db, submit):
    run_id = submit().run_id
    assert actions.pause(db, run_id, now=NOW) == "paused"
    assert runs.claim(db, "w", "n", now=NOW) is None
    assert actions.resume(db, run_id, now=NOW) == "queued"
    assert runs.claim(db, "w", "n2", now=NOW).run_id == run_id
    assert actions.pause(db, run_id, now=NOW) == "leased"
    assert actions.resume(db, run_id, now=NOW) == "leased"  # thought better of it
    assert queries.run(db, run_id).want == "run"


def test_resuming_a_run_that_has_spent_its_cap_needs_a_higher_one(db, submit):
    run_id = submit(max_usd=0.001).run_id
    lease = runs.claim(db, "w", "n", now=NOW)
    runs.start(db, lease, 0, now=NOW)
    runs.beat(db, lease, 2000, now=NOW)
    runs.finish(db, lease, Result(lease.token, "stopped", "stopped_by_request", "", 9), now=NOW)
    with pytest.raises(Conflict, match=r"spent \$0.0020 of max_usd \$0.0010") as caught:
        actions.resume(db, run_id, now=NOW)
    assert "--max-usd" in caught.value.hint
    assert actions.resume(db, run_id, max_usd=0.01, now=NOW) == "queued"


@pytest.mark.parametrize("act", ["cancel", "pause", "resume"])
def test_a_finished_run_cannot_be_changed_and_says_so(db, submit, act):
    submit()
    run_id = finish(db, "succeeded")
    with pytest.raises(Conflict, match=f"run {run_id}.*succeeded") as caught:
        getattr(actions, act)(db, run_id, now=NOW)
    assert caught.value.exit_code == CONFLICT and caught.value.hint


@pytest.mark.parametrize("act", [actions.cancel, actions.pause, actions.resume, actions.retry])
def test_a_run_that_does_not_exist_is_not_found(db, act):
    for run_id in (-1, 0, 7, 2**63, 10**30):
        with pytest.raises(NotFound, match=f"no run {run_id}") as caught:
            act(db, run_id)
        assert caught.value.exit_code == NOT_FOUND


def test_a_retry_is_a_new_run_with_a_parent_and_a_second_one_is_the_same(db, submit):
    old = submit(tags=("x",), priority=2, max_usd=1.0).run_id
    with pytest.raises(Conflict, match="only failed and cancelled runs are retried"):
        actions.retry(db, old, now=NOW)
    finish(db, "failed", "nan")
    done = actions.retry(db, old, now=NOW)
    new, before = queries.run(db, done.run_id), queries.run(db, old)
    assert (new.parent_id, new.generation, new.state, new.failures) == (old, 1, "queued", 0)
    assert (new.config, new.tags, new.priority, new.max_usd) == (before.config, ("x",), 2, 1.0)
    assert Path(new.run_dir).name == f"{new.id:05d}" and before.state == "failed"
    assert actions.retry(db, old, now=NOW) == actions.Submitted(new.id, True, "queued")


def test_priorities_and_tags_change_and_are_checked(db, submit):
    run_id = submit().run_id
    actions.set_priority(db, run_id, 7, now=NOW)
    actions.tag(db, run_id, ["b", "a", "b"], now=NOW)
    assert (queries.run(db, run_id).priority, queries.run(db, run_id).tags) == (7, ("b", "a"))
    for bad in (10**9, -(10**9)):
        with pytest.raises(Conflict, match="out of range"):
            actions.set_priority(db, run_id, bad)
    with pytest.raises(NotFound, match="no worker nobody"):
        actions.drain_worker(db, "nobody")


def test_every_change_is_in_the_log(db, submit):
    run_id = submit().run_id
    actions.pause(db, run_id, now=NOW + 1)
    actions.resume(db, run_id, now=NOW + 2)
    actions.set_priority(db, run_id, 1, now=NOW + 3)
    actions.cancel(db, run_id, now=NOW + 4)
    log = [(e.kind, e.at - NOW) for e in queries.events(db, run_id)]
    assert log == [("submitted", 0), ("paused", 1), ("resumed", 2), ("priority", 3), ("cancelled", 4)]


def test_a_measurement_of_a_finished_run_becomes_points_and_a_running_one_is_refused(db, submit):
    run_id = submit().run_id
    lease = runs.claim(db, "w", "n", now=NOW)
    runs.start(db, lease, 0, now=NOW)
    with pytest.raises(Conflict, match="its worker writes its metrics"):
        actions.record_evaluation(db, run_id, 100, {"eval/kid_effnet": 0.5})
    runs.record(db, lease, [("train/loss", 90, 1.0, 360.0, 9.0, 0.09, 30.0)])
    runs.finish(db, lease, Result(lease.token, "succeeded", "", "", 100), now=NOW)
    for value in (0.5, 0.4):
        actions.record_evaluation(db, run_id, 100, {"eval/kid_effnet": value}, now=NOW)
    (kid,) = queries.series(db, [run_id], "eval/kid_effnet")
    assert (kid.step, kid.value, kid.images, kid.usd) == ([100], [0.4], [360.0], [0.09])


# ── two at once ─────────────────────────────────────────────────────────────────────────────────


def test_a_deadlock_costs_a_user_a_moment_and_nothing_else(postgres, submission, tmp_path: Path):
    db = Database(postgres.new())
    first, second = (
        actions.submit(db, [submission(name, depends_on=on)], runs_dir=tmp_path, now=NOW)[0].run_id
        for name, on in (("a", ()), ("b", (1,)))
    )
    holds, wants = (select(runs_table.c.id).where(runs_table.c.id == i).with_for_update() for i in (second, first))
    with ThreadPoolExecutor(1) as pool:
        with db.write() as conn:
            conn.exec_driver_sql("SET LOCAL deadlock_timeout = '60s'")  # so the other one is the victim
            conn.execute(holds)
            cancelled = pool.submit(actions.cancel, db, first, now=NOW)  # locks the first, then wants the second
            time.sleep(0.5)
            conn.execute(wants)
        assert cancelled.result(30) == "cancelled"
    log = Path(postgres.server.log).read_text()
    assert "deadlock detected" in log
    assert [run.state for run in queries.runs(db)] == ["cancelled", "failed"]
    assert len([e for e in queries.events(db) if e.kind == "cancelled"]) == 1
    db.close()
