"""A full disk that holds the SQLite database as well: the worker waits for room, or ends, and nothing is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from shoestring import actions, attempt, queries, runs
from shoestring.attempt import Progress
from shoestring.db import Database
from shoestring.errors import EnvironmentProblem
from shoestring.home import Home
from shoestring_trainer import config as c
from shoestring_trainer.manifest import read_manifest
from shoestring_trainer.prepare.procedural import procedural_set
from shoestring_trainer.run_dir import RunDir
from shoestring_trainer.train import train
from sqlalchemy import event
from test_disk_full import KINDS, Limit, Tmpfs
from test_train import run_dir, tensors
from test_worker import QUICK, job, journalled, once, queue, recorded, worker

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> c.DataConfig:
    folder = tmp_path_factory.mktemp("data") / "procedural-16"
    procedural_set(copies=1).write(folder)
    return read_manifest(folder)


@pytest.fixture(params=KINDS)
def disk(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tmpfs | Limit]:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    made = request.param(tmp_path / "disk")
    yield made
    made.close()


@pytest.fixture
def home(disk: Tmpfs | Limit) -> Home:
    """A project on that disk, its database too."""
    home = Home(disk.folder, disk.folder / "state")
    home.state.mkdir()
    return home


def is_whole(db: Database, run_id: int, undisturbed: RunDir) -> bool:
    """Every metric that was journalled is in the database once, and the weights are an undisturbed run's."""
    run = queries.run(db, run_id)
    lines: dict[tuple[str, int], float] = {}
    for one in queries.attempts(db, run_id):
        lines |= journalled(run.run_dir, one.token)
    same = tensors(RunDir(Path(run.run_dir))) == tensors(undisturbed)
    return run.state == "succeeded" and recorded(db, run_id) == lines and same


def without_room_in_its_log(db: Database) -> None:
    """Have every write ask for room: SQLite writes over the beginning of its log once all of it is in the database."""
    event.listen(db.engine, "connect", lambda raw, _record: raw.execute("PRAGMA wal_autocheckpoint=0"))
    db.close()  # whatever connects from now on does so without


def kept_full(disk: Tmpfs | Limit) -> Callable[[Progress], None]:
    """Fill it when the first training step was seen, and again when a torn checkpoint has been removed from it."""
    full: list[bool] = []

    def show(progress: Progress) -> None:
        if full or (progress.state == "running" and progress.step > 0):
            full.append(True)
            disk.fill()

    return show


def test_a_worker_waits_until_there_is_room_again(disk, home, sqlite, data, tmp_path):
    config = job(data, n_steps=60)
    run_id = queue(home, sqlite, config)

    def full_for_a_while() -> None:
        disk.fill()
        threading.Timer(2.0, disk.free).start()

    done = worker(home, sqlite).work(until_empty=True, show=once(full_for_a_while))
    if done.states["paused"]:  # it had no room for two checkpoints in a row
        actions.resume(sqlite, run_id)
        worker(home, sqlite).work(until_empty=True)
    undisturbed = run_dir(tmp_path, config)
    assert train(undisturbed.root).outcome == "succeeded"
    assert is_whole(sqlite, run_id, undisturbed) and queries.run(sqlite, run_id).failures == 0


def test_one_that_waited_in_vain_ends_and_the_next_one_goes_on_from_the_last_checkpoint(
    disk, home, sqlite, data, tmp_path, monkeypatch
):
    config = job(data, n_steps=60)
    without_room_in_its_log(sqlite)
    run_id = queue(home, sqlite, config)
    with monkeypatch.context() as patch:
        patch.setattr(attempt, "PATIENCE_S", 1.0)
        with pytest.raises(EnvironmentProblem) as caught:
            worker(home, sqlite).work(until_empty=True, show=kept_full(disk))
    disk.free()
    if isinstance(disk, Tmpfs):
        assert "full" in caught.value.message and caught.value.hint.startswith("make room on the disk of")
    again = worker(home, sqlite)
    again._reaper = runs.Reaper(QUICK.lease_s, lambda other: other != again.id)  # as if its process were gone
    done = again.work(until_empty=True)
    undisturbed = run_dir(tmp_path, config)
    assert train(undisturbed.root).outcome == "succeeded"
    assert done.states["succeeded"] and is_whole(sqlite, run_id, undisturbed)
