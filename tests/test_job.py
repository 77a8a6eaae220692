"""What an engine is told and what its job does first: words checked, the job file private, a job too many harmless."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from chaos.jobs import FAST_DATA, Trainer
from shoestring import runs
from shoestring.db import Database
from shoestring.errors import UsageError
from shoestring.executors.jobs import JobFile, read_job
from shoestring.executors.local import boot_id
from shoestring.executors.slurm import SlurmOptions
from shoestring.executors.slurm_commands import count_gpus
from shoestring.home import Home
from shoestring_trainer.run_dir import RunDir

SHOESTRING = [sys.executable, "-m", "shoestring.cli.main"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"partition": "gpu; rm -rf ~"}, "--partition 'gpu; rm -rf ~' is no name"),
        ({"account": "--wrap=id"}, "--account '--wrap=id' is no name"),
        ({"qos": "a\n#SBATCH -N 9"}, "is no name"),
        ({"partition": "é" * 3}, "is no name"),
        ({"account": "x" * 65}, "is no name"),
        ({"time_limit": "soon"}, "--time 'soon' is no time limit"),
        ({"time_limit": "1:00 --gres=gpu:8"}, "is no time limit"),
        ({"cpus": 0}, "--cpus 0 is out of range"),
        ({"memory_gb": -1.0}, "out of range"),
        ({"memory_gb": float("nan")}, "out of range"),
    ],
)
def test_what_is_no_plain_name_never_reaches_slurm(options: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError) as error:
        SlurmOptions(**options)  # type: ignore[arg-type]
    assert says in error.value.message and error.value.hint


@pytest.mark.parametrize("limit", ["90", "1:30:00", "2-12", "2-12:30", "90:30"])
def test_slurms_own_ways_to_write_a_time_limit_are_taken(limit: str) -> None:
    assert SlurmOptions(partition="gpu-a100.large", time_limit=limit).time_limit == limit


def test_the_command_refuses_a_hostile_partition_and_an_unknown_engine_without_a_traceback(tmp_path: Path) -> None:
    for words, says in ((["slurm", "--partition", "gpu; rm -rf ~"], "is no name"), (["condor"], "no engine 'condor'")):
        done = subprocess.run([*SHOESTRING, "dispatch", *words], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 2 and says in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("gres", "n"),
    [("(null)", 0), ("gpu:2", 2), ("gpu:a100:4(S:0-1)", 4), ("gpu:a100:4,gpu:h100:2,shard:64", 6), ("mygpu:3", 0)],
)
def test_gpus_are_counted_as_sinfo_writes_them(gres: str, n: int) -> None:
    assert count_gpus(gres) == n


def claimed(home: Home, db: Database) -> tuple[runs.Lease, JobFile]:
    Trainer("real", FAST_DATA, steps=5).submit(db, home.runs, 0, 1)
    lease = runs.claim(db, "slurm@a:b:1:2:c", "n")
    assert lease is not None
    file = JobFile(
        engine="slurm", run_id=lease.run_id, token=lease.token, nonce="n", owner=lease.worker_id, lease_s=60.0,
        threads=1, run_dir=lease.run.run_dir, root=str(home.root), state=str(home.state), database=str(db.url),
    )  # fmt: skip
    file.write()
    return lease, file


def everything(db: Database) -> list[object]:
    with db.read() as conn:
        names = ("runs", "attempts", "events", "metrics", "checkpoints", "workers")
        return [conn.exec_driver_sql(f"SELECT * FROM {name}").all() for name in names]


def test_a_job_file_is_its_owners_alone_and_its_password_is_not_shown(home: Home, sqlite: Database) -> None:
    _, file = claimed(home, sqlite)
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert read_job(file.path) == file and "sqlite" not in repr(file)
    file.path.write_text("{}")
    with pytest.raises(UsageError, match="no job file"):
        read_job(file.path)


@pytest.mark.parametrize("how", ["a twin has begun", "the run was taken back", "the attempt is over"])
def test_a_job_too_many_ends_well_and_changes_nothing(how: str, home: Home, sqlite: Database) -> None:
    lease, file = claimed(home, sqlite)
    trainer = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        if how == "a twin has begun":
            runs.start(sqlite, lease, 0)
            process = {"pid": trainer.pid, "created": psutil.Process(trainer.pid).create_time(), "boot": boot_id()}
            process |= {"run_dir": file.run_dir, "token": file.token}
            file.path.with_name("process.json").write_text(json.dumps(process))
        elif how == "the run was taken back":
            runs.release(sqlite, lease)
        else:
            file.path.unlink()
        before = everything(sqlite)
        done = subprocess.run([*SHOESTRING, "attempt", str(file.path)], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and "nothing to do" in done.stdout, done.stderr
        assert everything(sqlite) == before
        assert trainer.poll() is None
        assert not RunDir(Path(file.run_dir)).config_path.exists()
    finally:
        trainer.kill()
        trainer.wait()
