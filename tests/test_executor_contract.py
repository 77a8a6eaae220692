"""What every engine promises, asked of each alike: real trainers as processes of this machine and as Slurm jobs."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from chaos.jobs import Trainer
from shoestring import queries, runs
from shoestring.db import Database
from shoestring.executors import EXECUTORS, Executor
from shoestring.executors.local import Launch
from shoestring.home import Home
from shoestring_trainer import config as c
from shoestring_trainer.journal import read
from shoestring_trainer.manifest import read_manifest
from shoestring_trainer.prepare.procedural import procedural_set
from shoestring_trainer.run_dir import RunDir
from slurm import Slurm, wait_for

STEPS, ENDLESS = 12, 1_000_000
LEASE_S = 120


@dataclass
class Engine:
    """One kind of executor with runs to hand to it."""

    home: Home
    db: Database
    data: c.DataConfig
    make: Callable[[], Executor[Any]]
    silent: Callable[[], AbstractContextManager[None]]

    def __post_init__(self) -> None:
        self.executor, self.made = self.make(), 0

    def attempt(self, steps: int, data: c.DataConfig | None = None) -> Launch:
        """Queue a run, claim it and write its config, as whoever submits an attempt has done."""
        trainer = Trainer("real", data or self.data, steps=steps)
        trainer.submit(self.db, self.home.runs, self.made, 1)
        self.made += 1
        lease = runs.claim(self.db, "dispatcher", f"nonce-{self.made}", lease_s=LEASE_S)
        assert lease is not None
        config = c.TrainConfig.model_validate(lease.run.config)
        folder = Path(lease.run.run_dir)
        RunDir(folder).write_config(config)
        return Launch(folder, lease.token, LEASE_S, config.compute, lease.run_id, lease.nonce, lease.worker_id)

    def wait(self, handle: object, state: str = "GONE") -> None:
        wait_for(lambda: self.executor.poll([handle])[handle] == state)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> c.DataConfig:
    folder = tmp_path_factory.mktemp("data") / "procedural-16"
    procedural_set(copies=1).write(folder)
    return read_manifest(folder)


@pytest.fixture(scope="module", params=["local", pytest.param("slurm", marks=pytest.mark.slow)])
def engine(
    request: pytest.FixtureRequest, data: c.DataConfig, migrated: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    root = tmp_path_factory.mktemp("engine with a space, 50%j")
    home = Home(root, root / "state")
    home.state.mkdir()
    db = Database(f"sqlite:///{shutil.copy(migrated, home.state / 'shoestring.db')}")
    kind = EXECUTORS[request.param]
    if request.param == "local":
        yield Engine(home, db, data, kind, contextlib.nullcontext)
        return
    with Slurm() as slurm:
        make = lambda: kind(home, str(db.url), confirm_s=2.0, command_s=1.0)  # noqa: E731
        yield Engine(home, db, data, make, slurm.silent)


@dataclass(frozen=True)
class Finished:
    """An attempt that was submitted twice and has succeeded."""

    launch: Launch
    handles: tuple[object, object]


@pytest.fixture(scope="module")
def finished(engine: Engine) -> Finished:
    launch = engine.attempt(STEPS)
    handles = engine.executor.submit(launch), engine.executor.submit(launch)
    engine.wait(handles[0])
    return Finished(launch, handles)


@pytest.fixture(scope="module")
def running(engine: Engine) -> Iterator[tuple[Launch, Any]]:
    """An attempt that has trained some steps and would go on for ever."""
    launch = engine.attempt(ENDLESS)
    handle = engine.executor.submit(launch)
    wait_for(lambda: last_step(launch) >= 5)
    yield launch, handle
    engine.executor.cancel(handle, grace_s=0)


def last_step(launch: Launch) -> int:
    try:
        return max((line["step"] for line in read(RunDir(launch.run_dir).journal(launch.token))), default=0)
    except FileNotFoundError:
        return 0


def test_an_attempt_that_succeeds_is_gone_and_has_left_its_result(engine: Engine, finished: Finished) -> None:
    result = RunDir(finished.launch.run_dir).read_result(finished.launch.token)
    assert result is not None and (result.outcome, result.step) == ("succeeded", STEPS)
    assert engine.executor.poll([finished.handles[0]]) == {finished.handles[0]: "GONE"}


def test_an_attempt_submitted_twice_is_one_job(finished: Finished) -> None:
    assert finished.handles[0] == finished.handles[1]
    lines = read(RunDir(finished.launch.run_dir).journal(finished.launch.token))
    losses = [line["step"] for line in lines if "train/loss" in line.get("metrics", {})]
    assert losses and len(losses) == len(set(losses))


def test_a_trainer_that_fails_is_gone_and_says_why_in_its_result_and_in_logs_that_any_executor_can_read(
    engine: Engine, data: c.DataConfig
) -> None:
    launch = engine.attempt(STEPS, data.model_copy(update={"path": str(engine.home.root / "nowhere")}))
    handle = engine.executor.submit(launch)
    engine.wait(handle)
    result = RunDir(launch.run_dir).read_result(launch.token)
    assert result is not None and (result.outcome, result.failure_class) == ("failed", "bad_data")
    log = engine.make().logs(handle)
    assert b"nowhere" in log and log == RunDir(launch.run_dir).log(launch.token).read_bytes()
    assert engine.make().logs(handle, offset=len(log) - 3) == log[-3:]


def test_an_engine_that_does_not_answer_says_nothing_and_nothing_happens_to_the_run(
    engine: Engine, running: tuple[Launch, Any]
) -> None:
    launch, handle = running
    before = queries.run(engine.db, launch.run_id)
    with engine.silent():
        step, said = last_step(launch), []
        deadline = time.monotonic() + 3.5
        while time.monotonic() < deadline:
            said.append(engine.executor.poll([handle])[handle])
            time.sleep(0.2)
        assert last_step(launch) > step
    assert set(said) <= {"UNKNOWN", "RUNNING"}
    engine.wait(handle, "RUNNING")
    after = queries.run(engine.db, launch.run_id)
    assert (after.state, after.lease_token, after.owner) == (before.state, before.lease_token, before.owner)


def test_cancelling_with_grace_leaves_a_checkpoint_of_the_last_step(
    engine: Engine, running: tuple[Launch, Any]
) -> None:
    launch, handle = running
    engine.executor.cancel(handle, grace_s=60)
    engine.wait(handle)
    folder = RunDir(launch.run_dir)
    result = folder.read_result(launch.token)
    assert result is not None and (result.outcome, result.failure_class) == ("stopped", "stopped_by_request")
    assert folder.published()[0] == folder.checkpoint(result.step, launch.token)
    assert result.step == last_step(launch) > 0
