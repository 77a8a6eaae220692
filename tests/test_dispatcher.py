"""The dispatcher and its jobs: real trainers through a real Slurm, killed, cancelled, doubled and kept waiting."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from chaos.jobs import Trainer, outcome
from shoestring import actions, queries, runs
from shoestring.attempt import Pace
from shoestring.db import Database
from shoestring.dispatcher import Dispatcher, Patience
from shoestring.errors import EnvironmentProblem
from shoestring.executors.jobs import job_path
from shoestring.executors.slurm import SlurmExecutor, SlurmOptions
from shoestring.home import Home
from shoestring.worker import Worked
from shoestring_trainer import config as c
from shoestring_trainer.manifest import read_manifest
from shoestring_trainer.prepare.procedural import procedural_set
from shoestring_trainer.run_dir import RunDir
from slurm import Slurm, wait_for

SHOESTRING = [sys.executable, "-m", "shoestring.cli.main"]
QUICK = Pace(lease_s=18.0, beat_s=1.0, poll_s=0.2)
ENDLESS = 1_000_000  # steps


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> c.DataConfig:
    folder = tmp_path_factory.mktemp("data") / "procedural-16"
    procedural_set(copies=1).write(folder)
    return read_manifest(folder)


@pytest.fixture(scope="module")
def slurm() -> Iterator[Slurm]:
    with Slurm() as cluster:
        yield cluster


@pytest.fixture
def idle(slurm: Slurm) -> Iterator[Slurm]:
    """The cluster with nothing on it, before and after."""
    yield slurm
    slurm.end_all_jobs()


def executor(home: Home, db: Database, **options: object) -> SlurmExecutor:
    url = db.url.render_as_string(hide_password=False)
    return SlurmExecutor(home, url, SlurmOptions(**options), confirm_s=1.0, command_s=10.0)


def dispatcher(home: Home, db: Database, max_jobs: int = 2, patience: Patience = Patience(), **options: object):
    return Dispatcher(home, db, executor(home, db, **options), pace=QUICK, max_jobs=max_jobs, patience=patience)


def once(ready: Callable[[], bool], act: Callable[[], object]) -> Callable[[], bool]:
    """Something for `until`: do `act` as soon as `ready`; never end."""
    done: list[bool] = []

    def look() -> bool:
        if not done and ready():
            done.append(True)
            act()
        return False

    return look


@pytest.mark.slow
def test_a_run_goes_through_slurm_and_comes_to_what_it_comes_to_here(
    idle: Slurm, postgres, home: Home, data: c.DataConfig, tmp_path: Path
) -> None:
    db = Database(postgres.new())
    trainer = Trainer("real", data, steps=12)
    (run_id,) = trainer.submit(db, home.runs, 0, 1)
    assert dict(dispatcher(home, db, partition="main").work(until_empty=True).states) == {"succeeded": 1}

    run = queries.run(db, run_id)
    assert (run.state, run.attempts, run.failures) == ("succeeded", 1, 0)
    assert outcome(RunDir(Path(run.run_dir)), token=1) == trainer.reference(tmp_path, seed=0)
    assert idle.jobs(home.runs) == [(f"run-{run_id}-t1", "COMPLETED")]
    assert not job_path(Path(run.run_dir), 1).exists()  # it held the database's address
    ended = json.loads((RunDir(Path(run.run_dir)).attempt(1) / "exit.json").read_bytes())
    assert (ended["state"], ended["job"], run.job) == ("succeeded", run.handle, f"Slurm job {run.handle}")
    assert run.handle.isdigit()
    assert str(db.url.host or db.url.query["host"]) not in idle.call("scontrol", "show", "job", "--details")
    assert {w.state for w in queries.workers(db)} == {"gone"} and len(queries.workers(db)) == 2
    db.close()


@pytest.mark.slow
def test_the_command_ends_when_nothing_is_left_to_dispatch(idle: Slurm, home: Home, sqlite: Database) -> None:
    env = {**os.environ, "SHOESTRING_HOME": str(home.state)}
    command = [*SHOESTRING, "dispatch", "slurm", "--partition", "main", "--until-empty", "--json"]
    done = subprocess.run(command, env=env, cwd=home.root, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "SQLite database serves one machine" in done.stderr
    assert json.loads(done.stdout) == {"states": {}, "interrupted": False, "problems": []}
    nowhere = subprocess.run(
        [*command, "--partition", "nowhere"], env=env, cwd=home.root, capture_output=True, text=True
    )
    assert nowhere.returncode == 4 and "has no node" in nowhere.stdout


@pytest.mark.slow
def test_killing_the_dispatcher_harms_no_job_and_the_next_one_doubles_none(
    idle: Slurm, home: Home, sqlite: Database, data: c.DataConfig, tmp_path: Path
) -> None:
    (begun,) = Trainer("real", data, steps=ENDLESS).submit(sqlite, home.runs, 0, 1)
    (pending,) = Trainer("real", data, steps=5).submit(sqlite, home.runs, 1, 1)
    env = {**os.environ, "SHOESTRING_HOME": str(home.state)}
    command = [*SHOESTRING, "dispatch", "slurm", "--max-jobs", "2"]
    with idle.busy(free=1), subprocess.Popen(command, env=env, cwd=tmp_path) as doomed:
        try:
            wait_for(lambda: queries.run(sqlite, begun).checkpoint_step and len(idle.jobs(home.runs)) == 2)
        finally:
            doomed.send_signal(signal.SIGKILL)
        assert [queries.run(sqlite, one).state for one in (begun, pending)] == ["running", "leased"]
        handles = {queries.run(sqlite, one).handle for one in (begun, pending)}
        assert len(handles) == 2 and all(handle.isdigit() for handle in handles)
        assert runs.Reaper(60, runs.provably_dead).reap(sqlite, 0.0) == []

        twin = RunDir(Path(queries.run(sqlite, begun).run_dir)).attempt(1)  # as a restarted controller starts it again
        again = subprocess.run(
            [*SHOESTRING, "attempt", str(twin / "job.json")], capture_output=True, text=True, timeout=60
        )
        assert again.returncode == 0 and "nothing to do" in again.stdout

    finished = once(
        lambda: queries.run(sqlite, pending).state == "succeeded", lambda: actions.cancel(sqlite, begun)
    )  # fmt: skip
    done = dispatcher(home, sqlite).work(until_empty=True, until=finished)
    assert dict(done.states) == {"succeeded": 1, "cancelled": 1}
    for run_id in (begun, pending):
        run = queries.run(sqlite, run_id)
        assert (run.attempts, run.failures, run.lease_token) == (1, 0, 1)
        assert run.step == run.checkpoint_step > 0
    assert sorted(name for name, _ in idle.jobs(home.runs)) == [f"run-{begun}-t1", f"run-{pending}-t1"]


@pytest.mark.slow
def test_a_job_that_slurm_cancels_gives_its_run_back_with_a_checkpoint_and_the_next_goes_on(
    idle: Slurm, home: Home, sqlite: Database, data: c.DataConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run_id,) = Trainer("real", data, steps=ENDLESS).submit(sqlite, home.runs, 0, 1)
    one = dispatcher(home, sqlite)
    fill = one._fill

    def trained(token: int) -> bool:
        run = queries.run(sqlite, run_id)
        return run.lease_token == token and run.step > 0

    def cancelled_after_the_look() -> bool:
        """Claim as ever, but let the first attempt end just before: between a look at it and the next claim."""
        if trained(1):
            idle.call("scancel", f"--name=run-{run_id}-t1")
            wait_for(lambda: queries.run(sqlite, run_id).state == "queued")
        return fill()

    monkeypatch.setattr(one, "_fill", cancelled_after_the_look)
    cancel = once(
        lambda: len(queries.attempts(sqlite, run_id)) == 2 and trained(3), lambda: actions.cancel(sqlite, run_id)
    )
    done = one.work(until_empty=True, until=cancel)
    assert dict(done.states) == {"queued": 1, "cancelled": 1}
    first, second = queries.attempts(sqlite, run_id)
    assert (first.outcome, first.failure_class) == ("preempted", "stopped_by_request")
    assert 0 < first.last_step == second.first_step  # no step was done twice
    run = queries.run(sqlite, run_id)
    assert (run.failures, run.checkpoint_step, run.attempts) == (0, run.step, 2)


@pytest.mark.slow
def test_runs_that_are_not_wanted_any_more_leave_the_line(
    idle: Slurm, home: Home, sqlite: Database, data: c.DataConfig
) -> None:
    trainer = Trainer("real", data)
    paused, cancelled, kept = trainer.submit(sqlite, home.runs, 0, 3)

    def change() -> None:
        assert all(queries.run(sqlite, one).state == "leased" for one in (paused, cancelled, kept))
        actions.pause(sqlite, paused)
        actions.cancel(sqlite, cancelled)

    with idle.busy():
        ask = once(lambda: len(idle.jobs(home.runs)) == 3, change)
        one = dispatcher(home, sqlite, max_jobs=3)

        def until() -> bool:
            ask()
            if [queries.run(sqlite, i).state for i in (paused, cancelled)] == ["paused", "cancelled"]:
                one.interrupt.press()  # and Ctrl-C gives the last one back
            return False

        done = one.work(until_empty=True, until=until)
    assert done.interrupted
    run = queries.run(sqlite, kept)
    assert (run.state, run.failures, run.attempts) == ("queued", 0, 0)
    assert {state for _, state in idle.jobs(home.runs)} == {"CANCELLED"}
    assert not list(home.runs.glob("*/attempts/*/job.json"))


def failed(db: Database, run_id: int) -> bool:
    """Whether the run has a failure behind it: its next attempt may come at once, so a dispatcher stops here."""
    return queries.run(db, run_id).failures > 0


@pytest.mark.slow
def test_what_slurm_cannot_give_is_cancelled_after_a_while_and_said_in_words(
    idle: Slurm, home: Home, sqlite: Database, data: c.DataConfig
) -> None:
    (run_id,) = Trainer("real", data).submit(sqlite, home.runs, 0, 1)
    hopeless = dispatcher(home, sqlite, patience=Patience(impossible_s=1.0), partition="brief", time_limit="10")
    hopeless.work(until=lambda: failed(sqlite, run_id))
    run = queries.run(sqlite, run_id)
    assert (run.state, run.failures, run.failure_class) == ("queued", 1, "launch")
    assert "PartitionTimeLimit" in run.failure_detail and "--time" in run.failure_detail
    assert idle.jobs(home.runs) == [(f"run-{run_id}-t1", "CANCELLED")]
    with pytest.raises(EnvironmentProblem, match="partition nowhere has no node"):
        dispatcher(home, sqlite, partition="nowhere").work()


@pytest.mark.slow
def test_a_job_that_ends_before_it_took_its_run_is_a_failure_with_the_jobs_last_words(
    idle: Slurm, home: Home, sqlite: Database, data: c.DataConfig
) -> None:
    (run_id,) = Trainer("real", data).submit(sqlite, home.runs, 0, 1)
    one = dispatcher(home, sqlite)
    one.slurm.database = f"sqlite:///{home.root}/elsewhere.db"  # as on a node that does not share the disk
    one.work(until=lambda: failed(sqlite, run_id))
    run = queries.run(sqlite, run_id)
    assert (run.failures, run.failure_class, run.attempts) == (1, "launch", 0)
    assert "ended before it took the run" in run.failure_detail and "elsewhere.db" in run.failure_detail


@pytest.mark.slow
def test_a_job_that_vanishes_before_it_began_is_made_again_and_a_silent_slurm_changes_nothing(
    idle: Slurm, home: Home, sqlite: Database, data: c.DataConfig
) -> None:
    """And a run that needs GPUs asks for them."""
    trainer = Trainer("real", data)
    config = trainer.config(0).model_copy(update={"compute": c.Compute(device="cuda", processes=2)})
    entry = actions.Submission("gpus", "gpus", "test", 0, "gpus", config)
    run_id = actions.submit(sqlite, [entry], runs_dir=home.runs)[0].run_id
    with idle.busy():
        one, seen = dispatcher(home, sqlite), []
        one.slurm.command_s = 1.0

        def until() -> bool:
            token = queries.run(sqlite, run_id).lease_token
            if not seen and idle.jobs(home.runs) == [("run-1-t1", "PENDING")]:
                seen.append(idle.call("squeue", "--noheader", "--name=run-1-t1", "--format=%b").strip())
                with idle.silent():
                    for _ in range(3):
                        one._follow(Worked())
                assert (queries.run(sqlite, run_id).state, queries.run(sqlite, run_id).lease_token) == ("leased", 1)
                idle.call("scancel", "--name=run-1-t1")
                job, other = one.flights[0].job, executor(home, sqlite)
                assert other.poll([job]) == {job: "UNKNOWN"}  # one look proves nothing
                time.sleep(other.confirm_s)
                assert other.poll([job]) == {job: "GONE"}
            return token > 2 and ("run-1-t3", "PENDING") in idle.jobs(home.runs)

        one.work(until=until)
    assert seen == ["gres:gpu:2"]
    run = queries.run(sqlite, run_id)
    assert (run.state, run.failures, run.attempts) == ("queued", 0, 0)
    assert [e.kind for e in queries.events(sqlite, run_id)].count("claimed") == 2


@pytest.mark.slow
def test_the_template_of_an_array_of_workers_trains_what_is_queued(
    idle: Slurm, home: Home, sqlite: Database, data: c.DataConfig
) -> None:
    """Pull mode: `docs/examples/engines/workers.sbatch`, with workers that end when the queue is empty."""
    (run_id,) = Trainer("real", data, steps=5).submit(sqlite, home.runs, 0, 1)
    template = Path(__file__).resolve().parents[1] / "docs" / "examples" / "engines" / "workers.sbatch"
    script = home.root / "workers.sbatch"
    script.write_text(template.read_text().replace("--idle-exit 300", "--until-empty"))
    secret = home.root / ".config" / "shoestring" / "database"
    secret.parent.mkdir(parents=True)
    secret.write_text(home.db_url)
    command = home.root / ".venv" / "bin" / "shoestring"
    command.parent.mkdir(parents=True)
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m shoestring.cli.main "$@"\n')
    command.chmod(0o755)
    env = {**os.environ, "HOME": str(home.root), "SHOESTRING_HOME": str(home.state), "OMP_NUM_THREADS": "1"}
    words = ["--array=1-2", "--cpus-per-task=1", "--wait", "--output=worker-%a.txt", str(script)]
    done = subprocess.run(["sbatch", *words], env=env, cwd=home.root, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr + (home.root / "worker-1.txt").read_text()
    assert queries.run(sqlite, run_id).state == "succeeded"
    assert [worker.state for worker in queries.workers(sqlite)] == ["gone", "gone"]
