"""What a trainer journals beside its numbers reaches the log, once, and marks the run."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
from shoestring import actions, queries, runs
from shoestring.db import Database
from shoestring.executors.local import Launch
from shoestring.home import Home
from shoestring_trainer import config as c
from shoestring_trainer.run_dir import Result, RunDir
from test_disk_full import KINDS, Tmpfs
from test_worker import data, job, journalled, once, queue, recorded, script, worker

__all__ = ["data"]  # a fixture
NOW = 1_000_000.0


def kinds(db: Database, run_id: int) -> list[str]:
    return [event.kind for event in queries.events(db, run_id)]


def test_what_is_read_twice_is_entered_once_with_the_time_it_was_journalled(db, enqueue):
    enqueue()
    lease = runs.claim(db, "w", "n", now=NOW)
    runs.start(db, lease, 0, now=NOW)
    for at in (NOW + 0.1 + 0.2, NOW + 0.1 + 0.2, NOW + 7):
        runs.tell(db, lease, "checkpoint_skipped", 6, "no room", at)
    told = [event for event in queries.events(db, lease.run_id) if event.kind == "checkpoint_skipped"]
    assert [(event.at, event.token) for event in told] == [(NOW + 0.1 + 0.2, 1), (NOW + 7, 1)]
    assert told[0].detail == {"step": 6, "detail": "no room"}


def test_the_mark_is_of_the_attempt_that_counts(db, enqueue):
    enqueue()
    first = runs.claim(db, "w", "n", now=NOW)
    runs.start(db, first, 0, now=NOW)
    assert queries.run(db, first.run_id).inexact == ""
    runs.tell(db, first, "resumed_inexact", 5, "threads was 1, now 2", NOW)
    assert queries.run(db, first.run_id).inexact == "threads was 1, now 2"
    runs.finish(db, first, Result(1, "stopped", "stopped_by_request", "", 5), now=NOW)
    assert queries.run(db, first.run_id).inexact
    second = runs.claim(db, "w", "n2", now=NOW)
    runs.start(db, second, 5, now=NOW)  # its journal, read from its beginning, says it again if it still holds
    assert queries.run(db, first.run_id).inexact == ""
    runs.tell(db, second, "resumed_inexact", 5, "threads was 1, now 2", NOW)
    assert queries.run(db, first.run_id).inexact and kinds(db, first.run_id).count("resumed_inexact") == 1


# ── with real trainers ──────────────────────────────────────────────────────────────────────────


@pytest.fixture
def home(sqlite_db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("SHOESTRING_DB", sqlite_db.url.render_as_string(hide_password=False))
    return Home(root=tmp_path, state=tmp_path / "state")


@pytest.mark.slow
def test_a_run_that_goes_on_with_other_threads_is_marked(
    home: Home, sqlite_db: Database, data: c.DataConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = queue(home, sqlite_db, job(data, n_steps=60))
    first = worker(home, sqlite_db)
    first.work(until_empty=True, show=once(first.interrupt.press))
    assert queries.run(sqlite_db, run_id).inexact == ""
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert dict(worker(home, sqlite_db).work(until_empty=True).states) == {"succeeded": 1}
    resumed_at = queries.attempts(sqlite_db, run_id)[-1].first_step
    assert queries.run(sqlite_db, run_id).inexact == f"at step {resumed_at}: threads was 1, now 2"
    assert kinds(sqlite_db, run_id).count("resumed_inexact") == 1


def a_run_whose_disk_fills_up_is_paused_in_words_and_goes_on_with_room(
    home: Home, sqlite_db: Database, data: c.DataConfig, tmp_path: Path
) -> None:
    disk = Tmpfs(tmp_path / "disk")
    home = Home(root=tmp_path, state=disk.folder)
    try:
        run_id = queue(home, sqlite_db, job(data))
        disk.fill(2 << 20)  # enough for the journal, not for a checkpoint
        assert dict(worker(home, sqlite_db).work(until_empty=True).states) == {"paused": 1}
        run = queries.run(sqlite_db, run_id)
        assert (run.state, run.reason, run.failures, run.checkpoint_step) == ("paused", "disk_full", 0, 0)
        assert kinds(sqlite_db, run_id).count("checkpoint_skipped") == 1
        why = queries.why_waiting(sqlite_db, run)
        assert "two in a row" in why and why.endswith(f"make room, then `shoestring resume {run_id}`")
        disk.free()
        actions.resume(sqlite_db, run_id)
        assert dict(worker(home, sqlite_db).work(until_empty=True).states) == {"succeeded": 1}
        run = queries.run(sqlite_db, run_id)
        assert (run.failure_class, run.attempts, run.inexact) == ("", 2, "")
        assert recorded(sqlite_db, run_id) == journalled(run.run_dir, run.lease_token)
        disk.fill()  # to the last byte: the next one cannot even be started
        other = queue(home, sqlite_db, job(data, name="other"))
        worker(home, sqlite_db).work(until_empty=True)
        assert queries.run(sqlite_db, other).reason == "disk_full"
    finally:
        disk.close()


def a_trainer_whose_name_cannot_be_written_down_is_not_left_behind(tmp_path: Path) -> None:
    disk = Tmpfs(tmp_path / "disk")
    try:
        RunDir(disk.folder).attempt(1).mkdir(parents=True)
        disk.fill()
        executor = script("import time\ntime.sleep(60)")
        with pytest.raises(OSError, match="No space left"):
            executor.submit(Launch(disk.folder, 1, 60, c.Compute()))
        left = [process.cmdline() for process in psutil.Process().children(recursive=True)]
        assert not [argv for argv in left if str(disk.folder) in " ".join(argv)]
    finally:
        disk.close()


if Tmpfs in KINDS:
    test_a_trainer_whose_name_cannot_be_written_down = a_trainer_whose_name_cannot_be_written_down_is_not_left_behind
    test_a_run_whose_disk_fills_up = a_run_whose_disk_fills_up_is_paused_in_words_and_goes_on_with_room
