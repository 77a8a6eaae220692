"""A real worker with real trainers on the tiny procedural set: claimed, trained, followed, capped, stopped, killed."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from shoestring import actions, migrate, queries, runs
from shoestring.actions import Submission
from shoestring.attempt import Pace, Progress
from shoestring.db import Database
from shoestring.executors.local import Launch, LocalExecutor
from shoestring.home import Home
from shoestring.worker import Worker
from shoestring_trainer import config as c
from shoestring_trainer.journal import read
from shoestring_trainer.manifest import read_manifest
from shoestring_trainer.prepare.procedural import procedural_set
from shoestring_trainer.presets import PRESETS
from shoestring_trainer.run_dir import RunDir

QUICK = Pace(beat_s=0.2, poll_s=0.05, grace_s=120)
AXES = {"progress/images", "progress/flops", "progress/usd", "cost/seconds", "cost/usd"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> c.DataConfig:
    folder = tmp_path_factory.mktemp("data") / "procedural-16"
    procedural_set(copies=1).write(folder)
    return read_manifest(folder)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, either: str) -> Home:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    home = Home(root=tmp_path, state=tmp_path / "state")
    migrate.upgrade(home.db_url)
    return home


@pytest.fixture
def db(home: Home) -> Database:
    return Database(home.db_url)


def job(data: c.DataConfig, n_steps: int = 8, usd_per_hour: float = 3.6, **changes: object) -> c.TrainConfig:
    fields: dict[str, object] = {
        "name": "tiny",
        "seed": 3,
        "data": data,
        "model": PRESETS["nano"].model_copy(update={"depth": 2}),
        "objective": c.Edm(kind="edm"),
        "optimizer": c.AdamW(kind="adamw"),
        "batch_size": 4,
        "stages": (c.Stage(steps=n_steps, mask=c.NoMask(kind="none"), lr=1e-3, planned_usd_per_step=1e-5),),
        "evaluate": c.Evaluate(every_steps=4, n_images=4),
        "checkpoints": c.Checkpoints(every_steps=3, keep_last=2),
        "price": c.Price(hardware="test", usd_per_hour=usd_per_hour, source="test"),
    }
    return c.TrainConfig(**{**fields, **changes})


def queue(home: Home, db: Database, config: c.TrainConfig, **changes: object) -> int:
    entry = Submission(
        name=config.name, experiment="tiny", project="test", seed=config.seed, spec_hash=config.name, config=config,
        planned_usd=config.planned_usd_at(config.n_steps),
    )  # fmt: skip
    return actions.submit(db, [dataclasses.replace(entry, **changes)], runs_dir=home.runs)[0].run_id


def worker(home: Home, db: Database, executor: LocalExecutor | None = None, pace: Pace = QUICK) -> Worker:
    return Worker(home, db, executor or LocalExecutor(), pace=pace)


def once(act: Callable[[], object]) -> Callable[[Progress], None]:
    """Do `act` when the first training step was seen."""
    done: list[bool] = []

    def show(progress: Progress) -> None:
        if progress.state == "running" and progress.step > 0 and not done:
            done.append(True)
            act()

    return show


def recorded(db: Database, run_id: int) -> dict[tuple[str, int], float]:
    every = [s for key in queries.metric_keys(db, [run_id]) for s in queries.series(db, [run_id], key)]
    return {(s.key, step): value for s in every for step, value in zip(s.step, s.value, strict=True)}


def journalled(run_dir: str, token: int) -> dict[tuple[str, int], float]:
    lines = read(RunDir(Path(run_dir)).journal(token))
    return {(key, line["step"]): value for line in lines for key, value in line.get("metrics", {}).items()}


def test_a_run_is_trained_and_everything_it_journalled_is_in_the_database(
    home: Home, db: Database, data: c.DataConfig
) -> None:
    poison = queue(home, db, job(data, name="poison", compute=c.Compute(processes=4, device="cpu")), priority=9)
    good = queue(home, db, job(data))
    seen: list[Progress] = []
    done = worker(home, db).work(until_empty=True, show=seen.append)
    assert dict(done.states) == {"failed": 1, "succeeded": 1}  # one that cannot be started does not stop the queue
    assert queries.run(db, poison).failure_class == "bad_config"

    run = queries.run(db, good)
    assert (run.state, run.step, run.checkpoint_step, run.attempts) == ("succeeded", 8, 8, 1)
    (attempt,) = queries.attempts(db, good)
    assert recorded(db, good) == journalled(run.run_dir, attempt.token)
    assert {"train/loss", "val/loss", *AXES} <= set(queries.metric_keys(db, [good]))
    by_step = {checkpoint.step: checkpoint for checkpoint in queries.checkpoints(db, good)}
    assert {step: it.state for step, it in by_step.items()} == {3: "deleted", 6: "published", 8: "published"}
    assert by_step[8].bytes > 1000 and Path(by_step[8].path).is_dir()

    wall_s = attempt.ended_at - attempt.started_at
    assert run.spent_usd == pytest.approx(attempt.usd)
    assert 0 < attempt.usd <= wall_s * 3.6 / 3600 + 1e-6
    assert (attempt.outcome, attempt.first_step, attempt.last_step) == ("succeeded", 0, 8)
    assert next(p.state for p in seen if p.run_id == good) == "leased" and seen[-1].state == "succeeded"
    assert seen[-1].val_loss == pytest.approx(recorded(db, good)["val/loss", 8])
    assert [w.state for w in queries.workers(db)] == ["gone"]


def test_a_run_pauses_when_its_own_money_is_spent_or_its_projects(home: Home, db: Database, data: c.DataConfig) -> None:
    cap = 0.02  # at $3,600 an hour 20 ms: reached while the trainer still starts
    capped = queue(home, db, job(data, n_steps=100_000, name="capped", usd_per_hour=3600), max_usd=cap, priority=1)
    other = queue(home, db, job(data, n_steps=100_000))
    show = once(lambda: actions.set_budget(db, "test", 0.00001))
    assert dict(worker(home, db).work(until_empty=True, show=show).states) == {"paused": 2}
    run = queries.run(db, capped)
    assert (run.state, run.reason) == ("paused", "budget") and run.spent_usd >= cap
    assert actions.resume(db, capped, max_usd=2 * run.spent_usd) == "queued"
    run = queries.run(db, other)
    assert (run.state, run.reason) == ("paused", "budget")
    assert run.checkpoint_step == run.step > 0  # stopped after a checkpoint, nothing is lost


def test_a_cancelled_run_is_stopped_with_its_trainer(home: Home, db: Database, data: c.DataConfig) -> None:
    run_id = queue(home, db, job(data, n_steps=100_000))
    done = worker(home, db).work(until_empty=True, show=once(lambda: actions.cancel(db, run_id)))
    run = queries.run(db, run_id)
    assert dict(done.states) == {"cancelled": 1} and run.state == "cancelled"
    assert RunDir(Path(run.run_dir)).read_result(run.lease_token).failure_class == "stopped_by_request"
    assert 0 < run.step < 100_000 and run.checkpoint_step > 0


@pytest.mark.slow
def test_an_interrupted_run_is_given_back_and_resumed_without_a_gap(
    home: Home, db: Database, data: c.DataConfig
) -> None:
    run_id = queue(home, db, job(data, n_steps=60))
    first = worker(home, db)
    done = first.work(until_empty=True, show=once(first.interrupt.press))
    run = queries.run(db, run_id)
    assert done.interrupted and dict(done.states) == {"queued": 1}
    assert (run.state, run.failures) == ("queued", 0) and 0 < run.checkpoint_step < 60

    assert dict(worker(home, db).work(until_empty=True).states) == {"succeeded": 1}
    before, after = queries.attempts(db, run_id)
    assert after.first_step == run.checkpoint_step and after.last_step == 60
    assert recorded(db, run_id) == journalled(run.run_dir, after.token)
    assert queries.run(db, run_id).spent_usd == pytest.approx(before.usd + after.usd)


@pytest.mark.slow
def test_a_run_whose_checkpoints_are_gone_fails_and_does_not_begin_anew(
    home: Home, db: Database, data: c.DataConfig
) -> None:
    run_id = queue(home, db, job(data, n_steps=100_000))
    first = worker(home, db)
    first.work(until_empty=True, show=once(lambda: first.interrupt.press()))
    run = queries.run(db, run_id)
    assert (run.state, run.checkpoint_step > 0) == ("queued", True)
    shutil.rmtree(RunDir(Path(run.run_dir)).checkpoints)
    assert dict(worker(home, db).work(until_empty=True).states) == {"failed": 1}
    run = queries.run(db, run_id)
    assert run.failure_class == "bad_checkpoint" and f"shoestring retry {run_id}" in run.failure_detail


def test_a_killed_worker_is_replaced_at_once_and_its_run_resumed(home: Home, db: Database, data: c.DataConfig) -> None:
    run_id = queue(home, db, job(data, n_steps=60))
    env = {**os.environ, "SHOESTRING_HOME": str(home.state)}
    command = [sys.executable, "-m", "shoestring.cli.main", "work", "--json"]
    with subprocess.Popen(command, env=env, cwd=home.root, stdout=subprocess.DEVNULL) as doomed:
        try:
            deadline = time.monotonic() + 200
            while queries.run(db, run_id).checkpoint_step < 3:
                assert time.monotonic() < deadline and doomed.poll() is None
                time.sleep(0.1)
        finally:
            doomed.send_signal(signal.SIGKILL)
    run = queries.run(db, run_id)
    orphan = json.loads((RunDir(Path(run.run_dir)).attempt(run.lease_token) / "process.json").read_bytes())
    assert run.state == "running"

    assert dict(worker(home, db).work(until_empty=True).states) == {"succeeded": 1}
    lost, finished = queries.attempts(db, run_id)
    assert (lost.outcome, finished.outcome) == ("lost", "succeeded")
    assert finished.first_step >= 3
    assert recorded(db, run_id) == journalled(run.run_dir, finished.token)
    assert queries.run(db, run_id).failures == 0
    assert {it.state for it in queries.workers(db)} == {"gone"}
    assert not psutil.pid_exists(orphan["pid"]) or psutil.Process(orphan["pid"]).status() == psutil.STATUS_ZOMBIE


# ── what the real trainer cannot be made to do ──────────────────────────────────────────────────


def script(code: str) -> LocalExecutor:
    def command(launch: Launch) -> list[str]:
        return [sys.executable, "-c", f"run_dir, token = {str(launch.run_dir)!r}, {launch.token}\n{code}"]

    return LocalExecutor(command)


def test_a_trainer_that_breaks_without_a_result_is_a_failure_that_is_tried_again_later(
    home: Home, db: Database, data: c.DataConfig
) -> None:
    run_id = queue(home, db, job(data))
    done = worker(home, db, script("raise SystemExit('no such wheel')")).work(idle_exit_s=0)
    run = queries.run(db, run_id)
    assert dict(done.states) == {"queued": 1} and (run.state, run.failures) == ("queued", 1)
    assert run.failure_class == "crashed" and "no such wheel" in run.failure_detail


def test_a_trainer_that_was_killed_is_no_failure_of_the_run(home: Home, db: Database, data: c.DataConfig) -> None:
    run_id = queue(home, db, job(data))
    killed = script("import os; os.kill(os.getpid(), 9)")
    worker(home, db, killed).work(until=lambda: queries.run(db, run_id).attempts == 2)
    run = queries.run(db, run_id)
    assert (run.state, run.failures, run.attempts) == ("queued", 0, 2)
    assert [attempt.failure_class for attempt in queries.attempts(db, run_id)] == ["killed", "killed"]


def test_a_lost_lease_kills_the_trainer_and_writes_nothing_more(home: Home, db: Database, data: c.DataConfig) -> None:
    run_id = queue(home, db, job(data))
    forever = script("import time\ntime.sleep(60)")
    events: list[int] = []

    def steal(progress: Progress) -> None:
        if progress.state == "running" and not events:
            lease_token = queries.run(db, run_id).lease_token
            with db.read():
                pass
            for beat in range(1000):
                if runs.reap_one(db, run_id, lease_token, beat):
                    break
            actions.pause(db, run_id)
            events.append(len(queries.events(db, run_id)))

    done = worker(home, db, forever).work(until_empty=True, show=steal)
    assert dict(done.states) == {"lease lost": 1}
    assert queries.run(db, run_id).state == "paused"
    assert len(queries.events(db, run_id)) == events[0]
    process = json.loads((RunDir(Path(queries.run(db, run_id).run_dir)).attempt(1) / "process.json").read_bytes())
    assert not psutil.pid_exists(process["pid"])


def test_a_drained_worker_ends_after_its_run_and_an_idle_one_after_its_time(
    home: Home, db: Database, data: c.DataConfig
) -> None:
    first, second = (queue(home, db, job(data, name=name)) for name in ("one", "two"))
    drained = worker(home, db, script("import time; time.sleep(0.5)"))
    drained.work(show=lambda progress: actions.drain_worker(db, drained.id))
    assert [queries.run(db, i).attempts for i in (first, second)] == [1, 0]
    actions.cancel(db, second)
    began = time.monotonic()
    assert not worker(home, db).work(idle_exit_s=0).states
    assert time.monotonic() - began < 10
