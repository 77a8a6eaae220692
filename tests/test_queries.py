"""Reads: runs found, curves thinned, dollars added up, waiting explained."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from shoestring import actions, queries, runs
from shoestring.errors import NOT_FOUND, NotFound
from shoestring_trainer.run_dir import Result

NOW = 1_000_000.0


@pytest.fixture
def enqueue(db, submission, tmp_path: Path):
    def one(name: str = "dense/s0", **changes: object) -> int:
        return actions.submit(db, [submission(name, **changes)], runs_dir=tmp_path / "runs", now=NOW)[0].run_id

    return one


def claimed(db, nonce: str = "n", step: int = 0) -> runs.Lease:
    lease = runs.claim(db, "w", nonce, now=NOW)
    runs.start(db, lease, step, now=NOW)
    return lease


def finish(db, lease: runs.Lease, outcome: str, failure_class: str = "", spent_micro: int = 0, step: int = 100) -> str:
    return runs.finish(db, lease, Result(lease.token, outcome, failure_class, "", step), spent_micro, now=NOW)


def at_step(step: int, key: str = "train/loss") -> tuple[str, int, float, float, float, float, float]:
    return (key, step, 1.0 / step, 4.0 * step, 9.0 * step, step / 1e4, step / 10)


# ── runs ────────────────────────────────────────────────────────────────────────────────────────


def test_a_page_of_runs_that_have_begun_leaves_out_a_long_queue(db, enqueue):
    first = [enqueue(f"trained-{i}") for i in range(2)]
    assert claimed(db).run_id == first[0]
    waiting = [enqueue(f"waits-{i}") for i in range(5)]
    assert [r.id for r in queries.runs(db, limit=3)] == waiting[-3:]
    assert [r.id for r in queries.runs(db, limit=3, begun=True)] == [first[0]]


def test_runs_are_found_by_id_by_name_and_by_experiment_the_newest_first(db, enqueue):
    first, second, other = enqueue("dense/s0"), enqueue("dense/s1"), enqueue("naive/s0")
    assert queries.find_run(db, str(first)).id == first
    assert queries.find_run(db, "dense/s0").id == first
    assert queries.find_run(db, "dense").id == second
    assert queries.find_run(db, "naive").id == other


def test_what_is_no_run_is_not_found_whatever_it_says(db, enqueue):
    enqueue()
    for text in ("", "0", "-1", "99", "1 OR 1=1", "1.0", "١", str(2**63), "9" * 5000, "%", "dense%"):
        with pytest.raises(NotFound) as caught:
            queries.find_run(db, text)
        assert caught.value.exit_code == NOT_FOUND and "shoestring status" in caught.value.hint


def test_runs_are_narrowed_by_project_state_kind_and_sweep(db, enqueue):
    enqueue("a"), enqueue("b", project="other"), enqueue("c", kind="trial")
    actions.pause(db, 1)
    assert [run.name for run in queries.runs(db)] == ["a", "b", "c"]
    assert [run.name for run in queries.runs(db, project="emoji")] == ["a", "c"]
    assert [run.name for run in queries.runs(db, state="paused")] == ["a"]
    assert [run.name for run in queries.runs(db, project="emoji", kind="trial")] == ["c"]
    assert [run.name for run in queries.runs(db, ids=[3, 1, 99])] == ["a", "c"] and queries.runs(db, ids=[]) == []
    assert queries.runs(db, sweep_id=1) == []
    assert queries.projects(db) == ["emoji", "other"]


def test_an_empty_database_answers_every_question(db):
    assert queries.runs(db) == queries.sweeps(db) == queries.workers(db) == queries.events(db) == []
    assert queries.trials(db, 1) == queries.attempts(db, 1) == queries.checkpoints(db, 1) == []
    assert queries.series(db, [1], "train/loss") == queries.metric_keys(db, []) == []
    assert queries.recorded(db, [], ["val/loss"]) == []
    assert queries.last_values(db, [], []) == {} and queries.totals(db).spent_usd == 0
    assert set(queries.spend_by_outcome(db).values()) == {0.0}
    assert (queries.spent(db, "emoji"), queries.budget(db, "emoji")) == (0.0, None)


def test_the_log_shows_its_last_lines_in_order(db, enqueue):
    for name in "abcd":
        enqueue(name)
    assert [event.run_id for event in queries.events(db, limit=2)] == [3, 4]
    assert [event.kind for event in queries.events(db, run_id=2)] == ["submitted"]


# ── curves ──────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def two_curves(db, enqueue):
    for name, n in (("long", 1000), ("short", 7)):
        enqueue(name)
        lease = claimed(db, name)
        runs.record(db, lease, [at_step(step) for step in range(1, n + 1)])
    runs.record(db, lease, [at_step(3, "val/loss")])


def test_a_curve_is_thinned_evenly_and_keeps_its_ends(db, two_curves):
    for max_points in (2, 3, 10, 99, 999, 1000, 5000):
        long, short = queries.series(db, [1, 2], "train/loss", max_points=max_points)
        assert min(max_points, 1000) / 2 <= len(long.step) <= max_points
        assert (long.step[0], long.step[-1]) == (1, 1000)
        assert len({b - a for a, b in itertools.pairwise(long.step[:-1])}) <= 1
        if max_points >= 7:
            assert short.step == list(range(1, 8))


def test_a_curve_has_every_axis_in_step_and_curves_come_in_the_order_asked(db, two_curves):
    short, long = queries.series(db, [2, 9, 1], "train/loss")
    assert (short.run_id, long.run_id, short.key) == (2, 1, "train/loss")
    for i, step in enumerate(short.step):
        here = (short.key, step, short.value[i], short.images[i], short.flops[i], short.usd[i], short.seconds[i])
        assert here == at_step(step)
    assert [one.run_id for one in queries.series(db, [1, 2], "val/loss")] == [2]


def test_last_values_are_those_of_the_last_step_of_each_metric(db, two_curves):
    assert queries.last_values(db, [1, 2, 3], ["train/loss", "val/loss", "none"]) == {
        1: {"train/loss": 1 / 1000},
        2: {"train/loss": 1 / 7, "val/loss": 1 / 3},
    }
    assert queries.metric_keys(db, [1]) == ["train/loss"]
    assert queries.metric_keys(db, [1, 2]) == ["train/loss", "val/loss"]
    wanted = ["val/loss", "eval/none", "train/loss"]
    assert queries.recorded(db, [1], wanted) == ["train/loss"]
    assert queries.recorded(db, [1, 2], wanted) == ["val/loss", "train/loss"]


# ── dollars ─────────────────────────────────────────────────────────────────────────────────────


def test_dollars_are_added_up_by_what_became_of_them_and_work_done_twice_is_waste(db, enqueue):
    for name in ("good", "bad", "gone", "busy"):
        enqueue(name)
    crashed = claimed(db, "1")
    runs.record(db, crashed, [at_step(step) for step in (50, 80)])
    runs.add_checkpoint(db, crashed, 60, "/c60", 1, now=NOW)
    finish(db, crashed, "failed", "killed", 8_000, step=80)  # 80 steps, of which 20 are to be done again
    finish(db, claimed(db, "2", step=60), "succeeded", spent_micro=4_000)
    finish(db, claimed(db, "3"), "failed", "nan", 1_000)
    cancelled = claimed(db, "4")
    actions.cancel(db, cancelled.run_id, now=NOW)
    finish(db, cancelled, "stopped", "stopped_by_request", 500)
    runs.beat(db, claimed(db, "5"), 300, now=NOW)

    outcome = queries.spend_by_outcome(db)
    expected = {"useful": 0.010, "repeated": 0.002, "failed": 0.001, "cancelled": 0.0005, "unfinished": 0.0003}
    assert outcome == pytest.approx({**expected, "pruned": 0.0, "idle": 0.0})
    totals = queries.totals(db, now=NOW)
    assert totals.spent_usd == pytest.approx(sum(expected.values())) == pytest.approx(queries.spent(db, "emoji"))
    assert totals.wasted_usd == pytest.approx(0.0035)
    assert (totals.n_runs, totals.n_active, totals.n_queued, totals.n_succeeded, totals.n_failed) == (4, 1, 0, 1, 1)
    assert queries.totals(db, project="other").n_runs == 0


def test_workers_count_as_alive_while_they_report(db):
    me = runs.new_worker_id()
    runs.register(db, me, "cpu", 0.1, now=NOW)
    assert [queries.totals(db, now=NOW + wait).workers_alive for wait in (0, 59, 61)] == [1, 1, 0]
    runs.leave(db, me, now=NOW + 61)
    assert queries.totals(db, now=NOW + 61).workers_alive == 0


# ── waiting ─────────────────────────────────────────────────────────────────────────────────────


def why(db, run_id: int, now: float = NOW) -> str:
    return queries.why_waiting(db, queries.run(db, run_id), now=now)


def test_a_queued_run_says_whom_or_what_it_waits_for(db, enqueue):
    first, second = enqueue("a"), enqueue("b")
    urgent = enqueue("c", priority=1)
    assert why(db, first) == "no worker is alive: run `shoestring work`"
    me = runs.new_worker_id()
    runs.register(db, me, "cpu", 0.1, now=NOW)
    assert why(db, urgent) == "next in line"
    assert why(db, first) == why(db, second) == "behind 1 run with higher priority"
    actions.set_priority(db, urgent, -1)
    assert (why(db, first), why(db, second)) == ("next in line", "behind 1 run that came first")
    assert why(db, urgent) == "behind 2 runs with higher priority"
    actions.drain_worker(db, me)
    assert "draining" in why(db, first)
    actions.set_budget(db, "emoji", 0.0)
    assert why(db, first) == "the budget of project emoji is spent"


def test_a_run_that_failed_says_until_when_it_waits_and_after_what(db, enqueue):
    run_id = enqueue()
    lease = claimed(db)
    crashed = Result(lease.token, "failed", "crashed", "", 1)
    runs.finish(db, lease, crashed, jitter=1.0, now=NOW)
    said = why(db, run_id)
    assert said.startswith("waits until ") and said.endswith("after crashed, failure 1 of 3")
    assert "waits until" not in why(db, run_id, NOW + 31)


def test_blocked_and_paused_runs_say_why_and_others_say_nothing(db, enqueue):
    first = enqueue("a", max_usd=0.001)
    after = enqueue("b", depends_on=(first,))
    assert why(db, after) == f"waits for run {first}"
    lease = claimed(db)
    assert why(db, first) == ""
    runs.beat(db, lease, 1000, now=NOW)
    finish(db, lease, "stopped", "stopped_by_request")
    assert why(db, first) == f"paused: spent $0.0010; raise it and `shoestring resume {first}`"
    other = enqueue("c")
    actions.pause(db, other)
    assert why(db, other) == f"paused (by hand): `shoestring resume {other}`"


# ── pictures ────────────────────────────────────────────────────────────────────────────────────


def test_the_pictures_of_a_run_are_those_in_its_folder(db, enqueue):
    run = queries.run(db, enqueue())
    assert queries.samples(run) == []
    for step in (100, 20):
        folder = Path(run.run_dir) / "samples" / f"step-{step:08d}"
        folder.mkdir(parents=True)
        for name in ("000.png", "001.png", "grid.png"):
            (folder / name).write_bytes(b"png")
        meta = {"step": step, "usd": step / 1e4, "prompts": ["a red apple", "a cat", "no picture"], "seed": 0}
        (folder / "meta.json").write_text(json.dumps(meta))
    (Path(run.run_dir) / "samples" / "step-00000200").mkdir()  # a grid that is being written
    (Path(run.run_dir) / "samples" / "step-00000300").mkdir()
    (Path(run.run_dir) / "samples" / "step-00000300" / "meta.json").write_text("{")
    found = queries.samples(run)
    assert [(s.step, s.index, s.prompt, s.usd) for s in found] == [
        (20, 0, "a red apple", 0.002),
        (20, 1, "a cat", 0.002),
        (100, 0, "a red apple", 0.01),
        (100, 1, "a cat", 0.01),
    ]
    assert all(Path(s.path).is_file() and s.run_id == run.id for s in found)
    assert [s.images for s in found] == [s.step * run.config["batch_size"] for s in found] and found[0].images > 0
