"""Slurm's commands and words: what was asked, what came back, and whether it was an answer at all."""

from __future__ import annotations

import os
import re
import subprocess
from typing import NamedTuple

WAITING = frozenset(
    {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT"}
)
AT_WORK = frozenset({"RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"})
ENDED = frozenset(
    ("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED",
     "REVOKED", "TIMEOUT")
)  # fmt: skip
# Reasons to wait that no time will end: the request itself is what Slurm cannot give.
IMPOSSIBLE = frozenset(
    ("PartitionNodeLimit", "PartitionTimeLimit", "PartitionConfig", "BadConstraints", "AccountNotAllowed",
     "QOSNotAllowed", "InvalidAccount", "InvalidQOS", "QOSMaxCpuPerJobLimit", "QOSMaxGRESPerJob", "QOSMaxMemoryPerJob",
     "QOSMaxNodePerJobLimit", "QOSMaxWallDurationPerJobLimit", "AssocMaxCpuPerJobLimit", "AssocMaxGRESPerJob",
     "AssocMaxMemPerJob", "AssocMaxNodePerJobLimit", "AssocMaxWallDurationPerJobLimit")
)  # fmt: skip
# How Slurm words that it did not hear the question; every other refusal is an answer.
NOT_HEARD = re.compile(
    r"unable to contact|timed out|not responding|standby|connection refused|zero bytes|temporarily|submit limit"
    r"|authentication|munge|credential",
    re.I,
)
OURS = ("SBATCH_", "SQUEUE_", "SCANCEL_", "SINFO_", "SHOESTRING_")  # they would change answers, or are secrets


class Silent(Exception):
    """Slurm did not answer. Nothing is known, so nothing changes."""


class Refused(Exception):
    """Slurm answered no."""


class Seen(NamedTuple):
    """One line of `squeue`."""

    id: str
    state: str
    reason: str
    name: str
    folder: str


class Node(NamedTuple):
    """What one node of the partition has."""

    gpus: int
    cpus: int
    memory_gb: float


def call(argv: list[str], seconds: float) -> str:
    """What a command of Slurm prints. Raises Silent after `seconds`, Refused."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    try:
        done = subprocess.run(
            argv, capture_output=True, timeout=seconds, env={**env, "LC_ALL": "C"}, stdin=subprocess.DEVNULL,
            encoding="utf-8", errors="surrogateescape", check=False,
        )  # fmt: skip
    except (subprocess.TimeoutExpired, OSError) as error:
        raise Silent(f"{argv[0]}: {error}") from error
    if done.returncode == 0:
        return done.stdout
    said = " ".join(done.stderr.split()) or f"{argv[0]} ended with code {done.returncode}"
    raise (Silent if NOT_HEARD.search(said) else Refused)(said)


def queue(seconds: float) -> dict[str, Seen]:
    """Every job of this user that Slurm knows, ended ones too, by id. Raises Silent."""
    argv = ["squeue", "--noheader", "--states=all", f"--user={os.getuid()}", "--format=%i|%T|%r|%j|%Z"]
    try:
        rows = [Seen(*line.split("|", 4)) for line in call(argv, seconds).splitlines()]
    except (Refused, TypeError) as error:  # the same question is never refused: what came back is no answer
        raise Silent(str(error)) from error
    return {seen.id: seen for seen in rows if seen.id.isdigit()}


def nodes(partition: str, seconds: float) -> list[Node]:
    """What each node of a partition ("": of all) has; none where there is no such partition. Raises Silent."""
    where = [f"--partition={partition}"] if partition else []
    try:
        lines = call(["sinfo", "--noheader", "--Node", *where, "--format=%c|%m|%G"], seconds).splitlines()
        rows = [line.split("|", 2) for line in lines]
        return [Node(count_gpus(gres), int(cpus), int(mib) * 2**20 / 1e9) for cpus, mib, gres in rows]
    except (Refused, ValueError) as error:
        if "invalid partition" in str(error).lower():
            return []
        raise Silent(f"sinfo: {error}") from error


def count_gpus(gres: str) -> int:
    """GPUs in what `sinfo` prints: `gpu:a100:4(S:0-1),shard:8` has 4, `(null)` none."""
    return sum(int(n) for n in re.findall(r"(?:^|,)gpu(?::[^:,()]+)?:(\d+)", gres))
