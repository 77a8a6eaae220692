"""Slurm: one batch job for each attempt, asked about in one `squeue`.

A job is told only the path of its file (`jobs`); the batch script is constant, the environment empty. What Slurm says
is a hint: the job itself takes the run over, under its token, so one that Slurm starts twice does nothing twice.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from shoestring_trainer.config import Compute
from shoestring_trainer.run_dir import RunDir, write_atomic

from shoestring.errors import UsageError
from shoestring.executors import slurm_commands
from shoestring.executors.jobs import JobFile, exit_path
from shoestring.executors.local import Launch
from shoestring.executors.slurm_commands import AT_WORK, ENDED, WAITING, Node, Refused, Seen, Silent, call
from shoestring.home import Home

SCRIPT = b"""#!/bin/sh
# One attempt of a run. $1: the Python that submitted it. $2: the file that says the rest.
exec "$1" -P -m shoestring.cli.main attempt "$2"
"""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
TIME = re.compile(r"([0-9]{1,4}-)?[0-9]{1,6}(:[0-9]{2}){0,2}")
NODES_S = 60.0  # how long a look at the nodes is good for


@dataclass(frozen=True)
class SlurmOptions:
    """What every job asks of Slurm, or more where its run does. Raises UsageError for what is no plain name."""

    partition: str = ""
    account: str = ""
    qos: str = ""
    time_limit: str = ""  # as Slurm writes it: minutes, h:m:s, d-h
    cpus: int = 1  # for each process of a run
    memory_gb: float = 0.0  # for the whole job, 1 GB = 10⁹ bytes; 0: what the partition gives
    warn_s: int = 120  # a job is told to checkpoint this long before its time limit

    def __post_init__(self) -> None:
        for name in ("partition", "account", "qos"):
            value = getattr(self, name)
            if value and not NAME.fullmatch(value):
                allowed = "letters, digits, '.', '_' and '-', at most 64, beginning with a letter or digit"
                raise UsageError(f"--{name} {value!r} is no name that Slurm uses", f"allowed: {allowed}")
        if self.time_limit and not TIME.fullmatch(self.time_limit):
            raise UsageError(
                f"--time {self.time_limit!r} is no time limit", "minutes, h:mm:ss or days-hours: 90, 1:30:00, 2-12"
            )
        if not 1 <= self.cpus <= 4096:
            raise UsageError(f"--cpus {self.cpus} is out of range", "1 to 4096 for each process of a run")
        if not 0 <= self.memory_gb <= 1e5:
            raise UsageError(f"--memory-gb {self.memory_gb} is out of range", "0 (the partition's own) to 100000")


@dataclass(frozen=True)
class Job:
    """A Slurm job that carries one attempt."""

    id: str
    run_dir: str
    token: int

    def __str__(self) -> str:
        return f"Slurm job {self.id}"


class SlurmExecutor:
    """Submit, find, watch and cancel the jobs of attempts. `database` is the address that jobs are told."""

    name = "slurm"

    def __init__(
        self,
        home: Home,
        database: str,
        options: SlurmOptions = SlurmOptions(),
        *,
        confirm_s: float = 30.0,
        command_s: float = 30.0,
    ) -> None:
        self.home, self.database, self.options = home, database, options
        self.confirm_s, self.command_s = confirm_s, command_s
        self.reasons: dict[str, str] = {}  # job → why it waits, in Slurm's word, as of the last look
        self._nodes: list[Node] = []
        self._nodes_at = 0.0  # monotonic seconds
        self._missing_since: dict[Job, float] = {}  # monotonic seconds
        self._cancelled: set[Job] = set()

    def check(self, compute: Compute) -> list[str]:
        """Say in words why the partition cannot run `compute`; empty when it can, or when Slurm does not answer."""
        if missing := [name for name in ("sbatch", "squeue", "scancel", "sinfo") if not shutil.which(name)]:
            return [f"{', '.join(missing)} not found: run the dispatcher where Slurm's commands are installed"]
        try:
            nodes = self.nodes()
        except Silent:
            return []
        where = f"Slurm's partition {self.options.partition}" if self.options.partition else "Slurm"
        if not nodes:
            return [f"{where} has no node; `sinfo` lists the partitions"]
        gpus, cpus = self._gpus(compute), self.options.cpus * compute.processes
        if any(node.gpus >= gpus and node.cpus >= cpus for node in nodes):
            return []
        most = f"{max(node.gpus for node in nodes)} GPUs and {max(node.cpus for node in nodes)} cores"
        return [f"{where} has no node with {gpus} GPUs and {cpus} cores; its nodes have at most {most}"]

    def nodes(self) -> list[Node]:
        """What each node of the partition has, as of the last minute. Raises Silent."""
        if self._nodes and time.monotonic() - self._nodes_at < NODES_S:
            return self._nodes
        self._nodes = slurm_commands.nodes(self.options.partition, self.command_s)
        self._nodes_at = time.monotonic()
        return self._nodes

    def submit(self, launch: Launch) -> Job:
        """Make the attempt's job, once: one that Slurm already has under that name is returned instead.

        Raises Silent when it cannot be known whether it has, Refused with Slurm's own words.
        """
        job = self._file(launch)
        job.write()
        if found := self.find(launch):
            return found
        script = job.path.with_name("job.sh")
        write_atomic(script, SCRIPT)
        said = call([*self._sbatch(launch), str(script), sys.executable, str(job.path)], self.command_s)
        return Job(said.strip().split(";")[0], str(launch.run_dir), launch.token)

    def find(self, launch: Launch) -> Job | None:
        """The job that Slurm has for this attempt, a living one first; None without one. Raises Silent."""
        folder, name = str(job_folder(launch)), job_name(launch)
        mine = [seen for seen in self._queue().values() if (seen.name, seen.folder) == (name, folder)]
        first = min(mine, key=lambda seen: (seen.state in ENDED, int(seen.id)), default=None)
        return Job(first.id, str(launch.run_dir), launch.token) if first else None

    def poll(self, handles: list[Job]) -> dict[Job, str]:
        """Look at all jobs in one `squeue`: PENDING, RUNNING, GONE or UNKNOWN.

        GONE: the job said so itself (exit.json), Slurm confirms a cancellation of ours, or two looks at least
        `confirm_s` apart found it ended or missing. No answer, or one look only, is UNKNOWN.
        """
        try:
            queue = self._queue() if handles else {}
        except Silent:
            queue = None
        return {job: self._state(job, queue) for job in handles}

    def cancel(self, handle: Job, grace_s: float) -> None:
        """Ask the attempt to checkpoint and stop; after `grace_s` have Slurm end the job. 0: at once."""
        deadline = time.monotonic() + grace_s
        if grace_s > 0:
            self.withdraw(handle)
            self._scancel(handle, "--batch", "--signal=USR2")
        while time.monotonic() < deadline:
            if self.poll([handle])[handle] == "GONE":
                return
            time.sleep(min(1.0, grace_s / 10))
        self._scancel(handle)
        self._cancelled.add(handle)

    def withdraw(self, handle: Job) -> None:
        """Cancel a job that has not started; one that has goes on."""
        self._scancel(handle, "--state=PENDING")
        self._cancelled.add(handle)

    def logs(self, handle: Job, offset: int = 0) -> bytes:
        """The output of job and trainer from byte `offset` on; nothing before the job has begun."""
        try:
            with open(RunDir(Path(handle.run_dir)).log(handle.token), "rb") as file:
                file.seek(offset)
                return file.read()
        except FileNotFoundError:
            return b""

    def waiting_under(self, folder: Path) -> list[Job]:
        """Jobs of ours that have not started, for runs in folders under `folder`. Raises Silent."""
        found = []
        for seen in self._queue().values():
            match = re.fullmatch(r"run-\d+-t(\d+)", seen.name)
            run_dir = Path(seen.folder).parent.parent
            if match and seen.state in WAITING and run_dir.is_relative_to(folder):
                found.append(Job(seen.id, str(run_dir), int(match[1])))
        return found

    def _state(self, job: Job, queue: dict[str, Seen] | None) -> str:
        if exit_path(Path(job.run_dir), job.token).exists():
            return "GONE"
        if queue is None:
            return "UNKNOWN"
        state = queue[job.id].state if job.id in queue else "missing"
        if state in WAITING or state in AT_WORK:
            self._missing_since.pop(job, None)
            return "PENDING" if state in WAITING else "RUNNING"
        if state not in ENDED and state != "missing":
            return "UNKNOWN"
        if job in self._cancelled:
            return "GONE"
        now = time.monotonic()
        return "GONE" if now - self._missing_since.setdefault(job, now) >= self.confirm_s else "UNKNOWN"

    def _queue(self) -> dict[str, Seen]:
        """One look at every job. Raises Silent."""
        queue = slurm_commands.queue(self.command_s)
        self.reasons = {seen.id: seen.reason for seen in queue.values() if seen.state in WAITING}
        return queue

    def _file(self, launch: Launch) -> JobFile:
        return JobFile(
            engine=self.name,
            run_id=launch.run_id,
            token=launch.token,
            nonce=launch.nonce,
            owner=launch.owner,
            lease_s=launch.lease_s,
            threads=self._cpus(launch) // launch.compute.processes,
            run_dir=str(launch.run_dir),
            root=str(self.home.root),
            state=str(self.home.state),
            database=self.database,
        )

    def _sbatch(self, launch: Launch) -> list[str]:
        options, folder = self.options, job_folder(launch)
        output = str(RunDir(launch.run_dir).log(launch.token)).replace("%", "%%")
        argv = ["sbatch", "--parsable", "--no-requeue", "--export=NONE", f"--job-name={job_name(launch)}"]
        argv += [f"--chdir={folder}", f"--output={output}", "--open-mode=append", "--nodes=1", "--ntasks=1"]
        argv += [f"--cpus-per-task={self._cpus(launch)}", f"--signal=B:USR2@{options.warn_s}"]
        if gpus := self._gpus(launch.compute):
            argv.append(f"--gres=gpu:{gpus}")
        if memory_gb := max(options.memory_gb, launch.memory_gb):
            argv.append(f"--mem={round(memory_gb * 1e9 / 2**20)}M")
        named = {"partition": options.partition, "account": options.account, "qos": options.qos}
        named["time"] = options.time_limit
        return [*argv, *(f"--{name}={value}" for name, value in named.items() if value)]

    def _cpus(self, launch: Launch) -> int:
        return max(launch.cpus, self.options.cpus * launch.compute.processes)

    def _gpus(self, compute: Compute) -> int:
        return compute.processes if compute.device == "cuda" else 0

    def _scancel(self, job: Job, *how: str) -> None:
        """Cancel or signal; what is gone already, or does not answer, is left to the next look."""
        with contextlib.suppress(Silent, Refused):
            call(["scancel", *how, job.id], self.command_s)


def job_name(launch: Launch) -> str:
    """The name under which an attempt's job is looked for before another is made."""
    return f"run-{launch.run_id}-t{launch.token}"


def job_folder(launch: Launch) -> Path:
    """Where an attempt's job works: it tells equal names of two projects apart."""
    return RunDir(launch.run_dir).attempt(launch.token)
