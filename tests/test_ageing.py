"""Nobody waits for ever: a point of priority is worth an hour of waiting, and large runs get machines in their turn."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable

import pytest
from shoestring import actions, queries, runs
from shoestring.db import Database
from shoestring.records import AGE_S
from shoestring_trainer.config import TrainConfig
from shoestring_trainer.run_dir import Result

NOW = 1_000_000.0
HOUR_S = AGE_S
BIG = runs.Room(gpus=4, gpu_memory_gb=80)
Enqueue = Callable[..., int]


@pytest.fixture
def enqueue(db: Database, submission, tmp_path) -> Enqueue:
    def one(name: str, now: float = NOW, gpus: int = 0, **changes: object) -> int:
        job: TrainConfig = submission().config
        if gpus:
            compute = job.compute.model_copy(update={"device": "cuda", "processes": gpus})
            changes["config"] = job.model_copy(update={"compute": compute})
        return actions.submit(db, [submission(name, **changes)], runs_dir=tmp_path, now=now)[0].run_id

    return one


def claimed(db: Database, now: float, room: runs.Room = runs.Room()) -> int | None:
    lease = runs.claim(db, "w", uuid.uuid4().hex, room=room, now=now)
    return lease.run_id if lease else None


def why(db: Database, run_id: int, now: float) -> str:
    return queries.why_waiting(db, queries.run(db, run_id), now=now)


def test_a_run_of_four_gpus_gets_the_machine_in_its_turn_however_many_of_one_keep_coming(db, enqueue):
    before = [enqueue(f"before{i}", gpus=1) for i in range(2)]
    large = enqueue("large", NOW + 1, gpus=4)
    taken = []
    for turn in range(4):  # two small ones arrive for each that the machine takes
        enqueue(f"a{turn}", NOW + 2 + turn, gpus=1), enqueue(f"b{turn}", NOW + 2 + turn, gpus=1)
        taken.append(claimed(db, NOW + 10 + turn, BIG))
    assert taken[:3] == [*before, large]


def test_a_worker_of_one_gpu_goes_on_with_small_runs_behind_a_large_one(db, enqueue):
    large = enqueue("large", gpus=4)
    small = enqueue("small", NOW + 1, gpus=1)
    assert claimed(db, NOW + 2, runs.Room(gpus=1)) == small
    assert claimed(db, NOW + 2, runs.Room(gpus=1)) is None
    assert claimed(db, NOW + 3, BIG) == large


@pytest.mark.parametrize("gpus", [0, 4])
def test_an_urgent_run_every_ten_minutes_holds_the_others_up_for_as_many_hours_as_it_has_points(db, enqueue, gpus):
    waiting = enqueue("waiting", gpus=gpus)
    at, turn = NOW, 0
    while True:
        at, turn = at + 600, turn + 1
        enqueue(f"urgent{turn}", at, priority=3, gpus=1 if gpus else 0)
        if (taken := claimed(db, at, BIG)) == waiting:
            break
        assert queries.run(db, taken).priority == 3
        assert at - NOW <= 3 * HOUR_S, "overtaken by a run that became ready three hours after it"
    assert at - NOW > 3 * HOUR_S - 600  # and no earlier: priority is worth what it says


def test_what_was_interrupted_keeps_its_time_and_what_failed_counts_anew(db, enqueue):
    first, second = enqueue("first"), enqueue("second", NOW + 60)
    lease = runs.claim(db, "w", "n", now=NOW + 100)
    runs.start(db, lease, 0, now=NOW + 100)
    runs.finish(db, lease, Result(lease.token, "stopped", "preempted", "", 1), now=NOW + 200)
    again = runs.claim(db, "w", "n2", now=NOW + 300)
    assert again.run_id == lease.run_id == first
    runs.start(db, again, 0, now=NOW + 300)
    runs.finish(db, again, Result(again.token, "failed", "crashed", "", 1), jitter=0.5, now=NOW + 300)
    assert claimed(db, NOW + 400) == second


def test_whatever_arrives_the_due_are_claimed_first_and_nobody_is_overtaken_beyond_the_promise(db, enqueue):
    chance, at = random.Random(7), NOW
    ready: dict[int, tuple[float, int, int]] = {}  # run → ready since, priority, gpus
    overtaken = 0
    for turn in range(120):
        at += chance.choice([1.0, 300.0, 1800.0])
        if chance.random() < 0.6:
            priority, gpus = chance.choice([-3, 0, 0, 1, 5]), chance.choice([0, 1, 1, 4])
            ready[enqueue(f"r{turn}", at, priority=priority, gpus=gpus)] = (at, priority, gpus)
            continue
        room = chance.choice([runs.Room(), runs.Room(gpus=1, gpu_memory_gb=80), BIG])
        fits = {run_id: facts for run_id, facts in ready.items() if facts[2] <= room.gpus}
        taken = claimed(db, at, room)
        assert (taken is None) == (not fits)
        if taken is None:
            continue
        since, priority, _ = ready.pop(taken)
        for _, (other_since, other_priority, _) in [(i, f) for i, f in fits.items() if i != taken]:
            assert since <= other_since + (priority - other_priority) * HOUR_S
            overtaken += since > other_since
    assert overtaken > 10  # priorities did something


def test_a_run_says_behind_whom_it_waits_and_what_would_put_it_first(db, enqueue):
    runs.register(db, runs.new_worker_id(), "cpu", 0.1, now=NOW + 3 * HOUR_S)
    old, older = enqueue("old", NOW + 60), enqueue("older")
    urgent = enqueue("urgent", NOW + 3 * HOUR_S, priority=2)
    at = NOW + 3 * HOUR_S
    said = why(db, urgent, at)
    assert said.startswith("behind 2 runs with lower priority that waited longer") and "4 would put it first" in said
    actions.set_priority(db, urgent, 3)
    assert "behind 1 run with lower priority" in why(db, urgent, at)  # `older` is due at the same time, and came first
    actions.set_priority(db, urgent, 4)
    assert why(db, urgent, at) == "next in line" and why(db, old, at) == "behind 1 run with higher priority"
    assert claimed(db, at) == urgent
    assert why(db, old, at) == "behind 1 run that came first" and claimed(db, at + 1) == older


def test_the_records_place_in_the_queue_is_the_claims(db, enqueue):
    for name, since, priority in (("a", 0, 0), ("b", 5, 1), ("c", HOUR_S + 4, 2), ("d", 9, 0), ("e", 0, -1_000_000)):
        enqueue(name, NOW + since, priority=priority)
    at = NOW + 2e9  # by then even a point less than nothing has waited long enough
    by_record = [run.id for run in sorted(queries.runs(db), key=lambda run: (run.due, run.id))]
    assert [claimed(db, at + i) for i in range(5)] == by_record
