"""A disk that fills up: one checkpoint is skipped, the second in a row pauses the run, and nothing is ever torn.

Real lack of room: a tmpfs filled to the brim where this process may mount one, elsewhere a limit on the size of files
(a write beyond it fails as one on a full disk does). `SHOESTRING_ROUNDS=20` repeats the random storm twenty times.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from shoestring_trainer import checkpoint
from shoestring_trainer import config as c
from shoestring_trainer.disk import SPARE_BYTES, require_room
from shoestring_trainer.failures import DiskFull, exit_code
from shoestring_trainer.journal import Journal, read
from shoestring_trainer.manifest import read_manifest
from shoestring_trainer.prepare.procedural import procedural_set
from shoestring_trainer.run_dir import Result, RunDir
from shoestring_trainer.supervise import Stop
from shoestring_trainer.train import train
from test_train import config, pictures, run_dir, same_results, series, tensors

ROUNDS = int(os.environ.get("SHOESTRING_ROUNDS", "2"))
DISK_BYTES = 64 << 20


class Tmpfs:
    """A disk of 64 MB of this test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)], check=True)

    def fill(self, leave_bytes: int = 0) -> None:
        """Take all but about `leave_bytes`."""
        with open(self.folder / "filler", "ab", buffering=0) as filler:
            try:
                while (room := shutil.disk_usage(self.folder).free - leave_bytes) > 0:
                    filler.write(bytes(min(room, 1 << 20)))
            except OSError:
                return

    def free(self) -> None:
        (self.folder / "filler").unlink(missing_ok=True)

    def close(self) -> None:
        subprocess.run(["umount", str(self.folder)], check=True)


class Limit:
    """A folder in which this process may write no file of more than 64 kB while it is `fill`ed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(self, leave_bytes: int = 0) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 10, self.before[1]))

    def free(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self.before)

    close = free


def may_mount() -> bool:
    """Whether this process may mount a tmpfs (root may, in most containers not)."""
    if os.geteuid() or not shutil.which("mount"):
        return False
    status = Path("/proc/self/status").read_text()
    capabilities = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff"))
    return bool(capabilities >> 21 & 1)  # CAP_SYS_ADMIN


KINDS = [Tmpfs, Limit] if may_mount() else [Limit]


@pytest.fixture(params=KINDS)
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Tmpfs | Limit]:
    made = request.param(tmp_path / "disk")
    yield made
    made.close()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> c.DataConfig:
    folder = tmp_path_factory.mktemp("data") / "procedural-16"
    procedural_set(copies=1).write(folder)
    return read_manifest(folder)


@pytest.fixture(scope="module")
def job(data: c.DataConfig) -> c.TrainConfig:
    """Twelve steps, checkpoints at 3, 6, 9 and 12, pictures at 9 and 12."""
    return config(data, checkpoints=c.Checkpoints(every_steps=3, keep_last=2))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, job: c.TrainConfig) -> RunDir:
    """A run that never lacked room."""
    run = run_dir(tmp_path_factory.mktemp("whole"), job)
    assert train(run.root).outcome == "succeeded"
    return run


class AtStep(Stop):
    """Does what is asked at step boundaries (asked at every one, before the step); never stops the run."""

    def __init__(self, acts: dict[int, Callable[[], object]], first_step: int = 0) -> None:
        self.acts, self.step = acts, first_step

    @property
    def reason(self) -> str:
        if act := self.acts.get(self.step):
            act()
        self.step += 1
        return ""


def events(run: RunDir, token: int) -> list[tuple[int, str]]:
    return [(line["step"], line["event"]) for line in read(run.journal(token)) if "event" in line]


def leftovers(run: RunDir) -> list[str]:
    return [path.name for folder in (run.checkpoints, run.samples) if folder.exists() for path in folder.glob(".*")]


def test_a_checkpoint_without_room_is_skipped_with_an_event_and_the_run_goes_on(disk, job, whole):
    run = run_dir(disk.folder / "run", job)
    assert train(run.root, 1, AtStep({4: disk.fill, 7: disk.free})) == Result(1, "succeeded", "", "", 12)
    assert events(run, 1)[:3] == [(3, "checkpoint"), (6, "checkpoint_skipped"), (9, "samples")]
    skipped = next(line for line in read(run.journal(1)) if line.get("event") == "checkpoint_skipped")
    assert "MB free" in skipped["detail"] or "File too large" in skipped["detail"]
    assert same_results(run, 1, whole) and not leftovers(run)


def test_the_second_in_a_row_ends_the_attempt_and_with_room_the_run_goes_on_as_if_nothing_had_been(disk, job, whole):
    run = run_dir(disk.folder / "run", job)
    result = train(run.root, 1, AtStep({4: disk.fill}))
    assert (result.outcome, result.failure_class, result.step) == ("failed", "disk_full", 9)
    assert "two in a row, the later of step 9" in result.detail
    assert [path.name for path in run.published()] == ["step-00000003.t1"] and not leftovers(run)
    disk.free()
    assert run.read_result(1) in (result, None)  # none where there was no room for it
    assert train(run.root, 2).outcome == "succeeded"
    assert same_results(run, 2, whole)


def test_two_that_are_not_in_a_row_do_not_end_it(disk, job, whole):
    run = run_dir(disk.folder / "run", job)
    acts = {1: disk.fill, 4: disk.free, 7: disk.fill, 10: disk.free}
    assert train(run.root, 1, AtStep(acts)).outcome == "succeeded"
    kinds = [kind for _, kind in events(run, 1) if kind.startswith("checkpoint")]
    assert kinds == ["checkpoint_skipped", "checkpoint", "checkpoint_skipped", "checkpoint"]
    assert checkpoint.load_newest(run).step == 12


def test_the_last_checkpoint_is_never_skipped(disk, job, whole):
    run = run_dir(disk.folder / "run", job)
    result = train(run.root, 1, AtStep({11: disk.fill}))
    assert (result.outcome, result.failure_class) == ("failed", "disk_full")
    assert "the last one, of step 12" in result.detail
    disk.free()
    assert train(run.root, 2).outcome == "succeeded"
    assert same_results(run, 2, whole)


def a_disk_without_one_byte_left_is_told_by_the_exit_code_alone(tmp_path, job):
    disk = Tmpfs(tmp_path / "disk")
    try:
        run = run_dir(disk.folder / "run", job)
        result = train(run.root, 1, AtStep({4: disk.fill}))
        assert (result.outcome, result.failure_class, exit_code(result)) == ("failed", "disk_full", 75)
        assert (
            "no room for result.json, which was to say: failed disk_full" in result.detail
            and run.read_result(1) is None
        )
        assert not list(run.attempt(1).glob(".*"))
    finally:
        disk.close()


if Tmpfs in KINDS:
    test_a_disk_without_one_byte_left = a_disk_without_one_byte_left_is_told_by_the_exit_code_alone


def test_room_is_asked_for_before_a_byte_is_written(tmp_path):
    free = shutil.disk_usage(tmp_path).free
    require_room(tmp_path, 0)
    with pytest.raises(DiskFull, match="MB free; a checkpoint needs"):
        require_room(tmp_path, free - SPARE_BYTES // 2)


def test_what_the_disk_has_no_room_for_waits_and_is_written_in_order(disk):
    journal = Journal(disk.folder / "metrics.jsonl")
    step, long = 0, {f"train/{'x' * 500}{i}": 0.5 for i in range(20)}
    journal.point(step, long)
    disk.fill()
    while not journal._waiting:  # until a line is torn: the block that was begun has room for some
        step += 1
        journal.point(step, long)
    torn = journal.path.read_bytes()
    assert [line["step"] for line in read(journal.path)] == list(range(step))
    with pytest.raises(OSError, match=r"No space left|File too large"):
        journal.sync()
    disk.free()
    journal.event(step, "checkpoint_skipped", detail="full")
    assert journal.path.read_bytes().startswith(torn) and journal.offset == journal.path.stat().st_size
    assert [line["step"] for line in read(journal.path)] == [*range(step + 1), step]


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_whenever_a_disk_fills_up_and_has_room_again_the_results_are_those_of_a_run_that_lacked_none(
    disk, job, whole, seed
):
    chance, run = random.Random(seed), run_dir(disk.folder / "run", job)
    for token in range(1, 40):
        acts: dict[int, Callable[[], object]] = {}
        done = run.published()[0].name if run.published() else "none"
        for step in range(12):
            draw = chance.random()
            if draw < 0.35:
                left = chance.choice([0, 3_000, 100_000, 1 << 20, SPARE_BYTES, SPARE_BYTES + (1 << 20)])
                acts[step] = lambda left=left: disk.fill(left)
            elif draw < 0.6:
                acts[step] = disk.free
        result = train(run.root, token, AtStep(acts))
        if result.outcome == "succeeded":
            break
        assert result.failure_class == "disk_full", result
        disk.free()
        newest = checkpoint.load_newest(run)  # raises if anything torn was published
        assert newest is None or done == "none" or newest.path.name >= done
    disk.free()
    assert result.outcome == "succeeded" and same_results_but_pictures(run, token, whole)


def same_results_but_pictures(run: RunDir, token: int, whole: RunDir) -> bool:
    """Pictures for which there was no room are left out, with an event; those that are there are whole."""
    mine, theirs = pictures(run), pictures(whole)
    skipped = {f"step-{step:08d}" for step, kind in events(run, token) if kind == "samples_skipped"}
    missing = {Path(name).parts[0] for name in theirs.keys() - mine.keys()}
    return (
        tensors(run) == tensors(whole)
        and series(run, token) == series(whole, 0)
        and missing <= skipped
        and all(theirs[name] == content for name, content in mine.items())
    )
