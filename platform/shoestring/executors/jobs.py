"""What an engine's job is told, and the word it leaves: two small files in the attempt's folder.

job.json    in: everything the job needs, the database's address too; readable by its owner only, gone with the job
exit.json   out: the last act of a job that had taken the run
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from shoestring_trainer.run_dir import RunDir, fsync_dir, write_atomic

from shoestring.errors import UsageError


@dataclass(frozen=True)
class JobFile:
    """One attempt as its job is told of it. Neither argv nor environment says any of this."""

    engine: str
    run_id: int
    token: int
    nonce: str  # of the claim
    owner: str  # the dispatcher that holds the lease until the job has taken the run
    lease_s: float
    threads: int  # for each process of the trainer
    run_dir: str
    root: str  # the project's folder
    state: str  # its `.shoestring` folder
    database: str = field(repr=False)  # with its password

    @property
    def path(self) -> Path:
        return job_path(Path(self.run_dir), self.token)

    def write(self) -> None:
        """Write the file, readable by this user only from its first byte on; synced and renamed."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(f".{self.path.name}.{os.getpid()}.partial")
        partial.unlink(missing_ok=True)
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(json.dumps(asdict(self), indent=1).encode())
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, self.path)
        fsync_dir(self.path.parent)


def job_path(run_dir: Path, token: int) -> Path:
    """Where the job file of an attempt lies."""
    return RunDir(run_dir).attempt(token) / "job.json"


def read_job(path: Path) -> JobFile | None:
    """The job file at `path`; None where there is none: the attempt is over. Raises UsageError for a broken one."""
    try:
        return JobFile(**json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise UsageError(f"{path} is no job file: {error}", "job files are written by: shoestring dispatch") from error


def write_exit(run_dir: Path, token: int, job: str, state: str) -> None:
    """Say that job number `job` is over, and to which state its run went ("" when that is not known)."""
    write_atomic(exit_path(run_dir, token), json.dumps({"token": token, "job": job, "state": state}).encode())


def exit_path(run_dir: Path, token: int) -> Path:
    """Where an attempt's job says that it is over."""
    return RunDir(run_dir).attempt(token) / "exit.json"
