"""What a run asks of a machine: written in the spec, kept to by every claim, and said when nobody alive has it."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from shoestring import actions, queries, runs
from shoestring.cli.main import app
from shoestring.cli.working import work_until
from shoestring.clone import experiments_yaml
from shoestring.db import Database
from shoestring.errors import USAGE, SpecInvalid
from shoestring.executors.local import Launch, LocalExecutor
from shoestring.executors.slurm import SlurmExecutor, SlurmOptions
from shoestring.home import Home
from shoestring.resolve import Facts, resolve
from shoestring.resources import Resources
from shoestring.spec import spec_from_text
from shoestring.worker import Worker
from shoestring_trainer.config import Compute, DataConfig, TrainConfig
from shoestring_trainer.run_dir import Result
from typer.testing import CliRunner

NOW = 1_000_000.0
SPEC = """\
version: 1
project: tiny
data: tiny
defaults: {{model: {{preset: nano}}, until: {{steps: 9}}, lr: 1e-3, stages: [{{mask: {{kind: none}}}}]{more}}}
experiments: {{a: {{}}}}
"""
DATA = DataConfig(
    path="/data/tiny", name="tiny", digest="d" * 64, space="pixels", shape=(3, 16, 16), size_px=16, n_train=100,
    caption_dim=32, caption_tokens=3.0,
)  # fmt: skip


def requested(more: str = ""):
    return resolve(spec_from_text(SPEC.format(more=more), Path(__file__).parent), Facts(DATA, "c" * 64))[0]


@pytest.fixture
def ask(db: Database, submission: Callable, tmp_path: Path) -> Callable[..., int]:
    """Queue a run that asks for so many GPUs and so much of the rest; its id."""
    names = itertools.count()

    def one(gpus: int = 0, queue: str = "default", **least: float) -> int:
        job: TrainConfig = submission().config
        compute = job.compute.model_copy(update={"device": "cuda" if gpus else "cpu", "processes": max(gpus, 1)})
        entry = submission(
            f"r{next(names)}", config=job.model_copy(update={"compute": compute}), queue=queue,
            resources=Resources(**least),
        )  # fmt: skip
        return actions.submit(db, [entry], runs_dir=tmp_path, now=NOW)[0].run_id

    return one


def test_what_a_run_asks_of_a_machine_is_no_part_of_what_it_is():
    plain, asking = requested(), requested(", queue: big, resources: {cpus: 8, memory_gb: 32, gpu_memory_gb: 40}")
    assert plain.spec_hash == asking.spec_hash
    assert (asking.queue, asking.resources) == ("big", Resources(cpus=8, memory_gb=32, gpu_memory_gb=40))
    assert (plain.queue, plain.resources) == ("default", Resources())


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("resources: {cpus: 0}", "resources.cpus"),
        ("resources: {memory_gb: -1}", "resources.memory_gb"),
        ("resources: {ram: 8}", "resources.ram"),
        ("queue: Big Ones", "queue"),
    ],
)
def test_a_need_that_is_none_is_refused_where_it_stands(written, said):
    with pytest.raises(SpecInvalid) as caught:
        requested(f", {written}")
    [fault] = caught.value.faults
    assert said in str(fault.path) and fault.line == 4


def test_a_copied_run_asks_for_the_same_and_one_that_asked_for_nothing_says_nothing(db, submission, tmp_path):
    for number, more in enumerate(("", ", queue: big, resources: {cpus: 8}")):
        request = requested(more)
        entry = submission(f"c{number}", spec=request, resources=request.resources, queue=request.queue)
        run = queries.run(db, actions.submit(db, [entry], runs_dir=tmp_path)[0].run_id)
        written = experiments_yaml(run)
        assert ("resources" in written) == ("queue: big" in written) == bool(more)
        again = resolve(spec_from_text(written, Path(__file__).parent), Facts(DATA, "c" * 64))[0]
        assert (again.queue, again.resources) == (request.queue, request.resources)


def test_a_claim_takes_exactly_what_the_worker_has_room_for(db, ask):
    chance = random.Random(3)
    for _ in range(12):
        gpus = chance.choice([0, 0, 1, 4])
        least = {"cpus": chance.choice([1, 8]), "memory_gb": chance.choice([0, 64]), "gpu_memory_gb": 40}
        ask(gpus, chance.choice(["default", "big"]), **least)
    for turn in range(60):
        room = runs.Room(
            chance.choice(["default", "big"]), chance.choice([0, 1, 4]), chance.choice([24, 80]),
            chance.choice([2, 16]), chance.choice([16, 128]),
        )  # fmt: skip
        fitting = [run.id for run in queries.runs(db, state="queued") if room.holds(run)]
        lease = runs.claim(db, "w", f"n{turn}", room=room, now=NOW + 1)
        assert (lease.run_id if lease else None) == min(fitting, default=None)


def test_a_run_says_what_nobody_alive_has_and_which_queue_nobody_serves(db, ask):
    def why(run_id: int) -> str:
        return queries.why_waiting(db, queries.run(db, run_id), now=NOW)

    small, elsewhere = ask(), ask(queue="big")
    large = ask(4, gpu_memory_gb=40, cpus=8, memory_gb=64)
    assert why(small) == "no worker is alive: run `shoestring work`"
    me, job = runs.new_worker_id(), runs.new_worker_id()
    runs.register(db, job, "a job of an engine", 0.0, None, now=NOW)
    assert why(small).startswith("every worker is draining or has a run of its own")
    runs.register(db, me, "2 cores", 0.1, runs.Room(gpus=4, gpu_memory_gb=24, cpus=16, memory_gb=128), now=NOW)
    assert why(small) == "next in line"
    assert why(elsewhere) == "no living worker serves queue big: run `shoestring work --queue big`"
    needs = "4 GPUs of 40 GB, 8 cores, 64 GB of memory"
    assert queries.run(db, large).needs == needs
    assert why(large) == f"needs {needs}; no living worker has that: run `shoestring work` where it is"
    runs.offer(db, me, runs.Room(gpus=4, gpu_memory_gb=80, cpus=16, memory_gb=128))
    assert why(large) == "behind 1 run that came first"


def test_a_retry_needs_what_its_parent_needed(db, ask, tmp_path):
    first = ask(1, "big", gpu_memory_gb=40, cpus=8, memory_gb=64)
    lease = runs.claim(db, "w", "n", room=runs.Room("big", 1, 80.0), now=NOW)
    runs.start(db, lease, 0, now=NOW)
    runs.finish(db, lease, Result(lease.token, "failed", "nan", "why", 1), now=NOW)
    again = queries.run(db, actions.retry(db, first).run_id)
    assert (again.parent_id, again.queue, again.needs) == (first, "big", "1 GPU of 40 GB, 8 cores, 64 GB of memory")


def test_a_worker_that_can_never_have_what_is_left_does_not_wait_for_it(home: Home, db: Database, ask):
    run_id = ask(cpus=4096)
    lease = runs.claim(db, "w", "n", room=runs.Room(cpus=4096), now=NOW)
    runs.start(db, lease, 0, now=NOW)
    assert runs.finish(db, lease, Result(lease.token, "failed", "transient", "why", 1), now=NOW) == "queued"
    done = Worker(home, db, LocalExecutor()).work(until_empty=True)
    assert not done.states and queries.run(db, run_id).state == "queued"


def test_who_works_until_certain_runs_have_ended_serves_their_queue(home: Home, db: Database, submission):
    job: TrainConfig = submission().config
    impossible = job.model_copy(update={"compute": Compute(device="cpu", processes=512)})  # fails before it is started
    entry = submission("elsewhere", queue="big", config=impossible)
    run_id = actions.submit(db, [entry], runs_dir=home.runs)[0].run_id
    work_until(home, db, [run_id])
    assert queries.run(db, run_id).state == "failed"


def test_a_job_of_slurm_asks_for_what_its_run_needs_where_that_is_more_than_the_flags(home: Home):
    def asked(launch: Launch) -> tuple[str, ...]:
        executor = SlurmExecutor(home, "", SlurmOptions(cpus=2, memory_gb=8))
        argv = executor._sbatch(launch)
        return tuple(one for one in argv if one.startswith(("--cpus", "--mem", "--gres")))

    two = Compute(device="cuda", processes=2)
    assert asked(Launch(home.root, 1, 60, two)) == ("--cpus-per-task=4", "--gres=gpu:2", "--mem=7629M")
    more = Launch(home.root, 1, 60, two, cpus=16, memory_gb=64)
    assert asked(more) == ("--cpus-per-task=16", "--gres=gpu:2", "--mem=61035M")


@pytest.mark.parametrize("verb", [["work"], ["dispatch", "slurm"]])
def test_a_name_that_no_queue_has_is_refused_before_anything_is_opened(verb):
    done = CliRunner().invoke(app, [*verb, "--queue", "Big Ones"])
    assert done.exit_code == USAGE and "--queue 'Big Ones'" in done.output
