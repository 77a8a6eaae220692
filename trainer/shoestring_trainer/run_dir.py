"""The run folder: where the platform and the trainer meet. Paths and small atomic files, no torch.

config.json                            in: TrainConfig, or the DrawConfig of `drawing`
attempts/t0003/metrics.jsonl           out: the journal of the attempt with token 3 (whole series up to its end)
attempts/t0003/log.txt                 out: stdout and stderr of that attempt
attempts/t0003/stop.json               in: why the trainer is asked to stop, before it is
attempts/t0003/result.json             out: how it ended
checkpoints/step-00001234.t3/          out: published checkpoints (a MANIFEST.json makes one)
samples/step-00001234/{000.png,…,grid.png,meta.json}
"""

from __future__ import annotations

import errno
import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from shoestring_trainer.config import Frozen, TrainConfig

Outcome = Literal["succeeded", "stopped", "failed"]
# stopped_by_request (SIGTERM/SIGINT), parent_gone (no pulse or EOF), nan, out_of_memory, bad_config, bad_data,
# bad_checkpoint, disk_full, error. "" when succeeded.
EXIT_TRY_AGAIN, EXIT_STOPPED = 75, 143
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # disk full, quota spent, no file may be that large
_CHECKPOINT = re.compile(r"^step-(\d{8,})\.t(\d+)$")


@dataclass(frozen=True)
class Result:
    """How an attempt ended; the process's exit code is advisory, this is not."""

    token: int
    outcome: Outcome
    failure_class: str
    detail: str
    step: int


@dataclass(frozen=True)
class RunDir:
    """Names of everything in one run's folder."""

    root: Path

    @property
    def config_path(self) -> Path:
        return self.root / "config.json"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def samples(self) -> Path:
        return self.root / "samples"

    def attempt(self, token: int) -> Path:
        return self.root / "attempts" / f"t{token:04d}"

    def journal(self, token: int) -> Path:
        return self.attempt(token) / "metrics.jsonl"

    def log(self, token: int) -> Path:
        return self.attempt(token) / "log.txt"

    def result_path(self, token: int) -> Path:
        return self.attempt(token) / "result.json"

    def checkpoint(self, step: int, token: int) -> Path:
        return self.checkpoints / f"step-{step:08d}.t{token}"

    def sample_step(self, step: int) -> Path:
        return self.samples / f"step-{step:08d}"

    def read_config(self) -> TrainConfig:
        """Read `config.json`. Raises FileNotFoundError, pydantic.ValidationError."""
        return TrainConfig.model_validate_json(self.config_path.read_bytes())

    def write_config(self, config: Frozen) -> None:
        write_atomic(self.config_path, config.model_dump_json(indent=1).encode())

    def read_result(self, token: int) -> Result | None:
        """The attempt's result, or None when it left none (killed)."""
        try:
            return Result(**json.loads(self.result_path(token).read_bytes()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def write_result(self, result: Result) -> None:
        write_atomic(self.result_path(result.token), json.dumps(asdict(result)).encode())

    def ask_to_stop(self, token: int, reason: str) -> None:
        """Leave word why the attempt's trainer is about to be signalled."""
        write_atomic(self.attempt(token) / "stop.json", json.dumps({"reason": reason}).encode())

    def asked_to_stop(self, token: int) -> str:
        """Why the attempt's trainer was signalled; "" where nobody said."""
        try:
            return str(json.loads((self.attempt(token) / "stop.json").read_bytes())["reason"])
        except (OSError, ValueError, TypeError, KeyError):
            return ""

    def renamed(self) -> list[Path]:
        """Folders with a checkpoint's name, newest step (then token) first; damaged ones too."""
        if not self.checkpoints.is_dir():
            return []
        return sorted(
            (p for p in self.checkpoints.iterdir() if _CHECKPOINT.match(p.name)), key=checkpoint_id, reverse=True
        )

    def published(self) -> list[Path]:
        """Those that carry a MANIFEST; not yet verified."""
        return [path for path in self.renamed() if (path / "MANIFEST.json").exists()]


def checkpoint_id(path: Path) -> tuple[int, int]:
    """(step, token) of a checkpoint folder's name. Raises ValueError."""
    match = _CHECKPOINT.match(path.name)
    if not match:
        raise ValueError(f"{path.name} is not a checkpoint folder's name")
    return int(match[1]), int(match[2])


def fsync_dir(path: Path) -> None:
    """Make a rename or a new entry in `path` durable."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_atomic(path: Path, content: bytes) -> None:
    """Write to a temporary name beside `path`, sync, rename, sync the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)  # a full disk: give the space back
        raise
    fsync_dir(path.parent)
