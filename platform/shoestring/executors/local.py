"""The trainer as a process of this machine: its own session, stdin as a pulse, output to the attempt's log.

A trainer never outlives its worker for long: it asks the kernel to be signalled when its parent dies, reads EOF on
stdin when the pipe's other end is gone, and stops when no pulse came for one lease (a worker that is only stopped).
`process.json` beside the log names the process, so that the next worker can end one that was left over all the same.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from shoestring_trainer.config import Compute
from shoestring_trainer.run_dir import RunDir, write_atomic

TRAINER = "shoestring_trainer.train"


@dataclass(frozen=True)
class Launch:
    """One attempt to start: the run folder with its config.json, the fencing token, where to compute.

    An engine's job takes the run over by itself, so it is also told which run it is and who made the claim; the engine
    is asked for what the run needs.
    """

    run_dir: Path
    token: int
    lease_s: int
    compute: Compute
    run_id: int = 0
    nonce: str = ""
    owner: str = ""
    cpus: int = 1
    memory_gb: float = 0.0


@dataclass(frozen=True)
class Handle:
    """A process, identified beyond the reuse of its pid."""

    pid: int
    created: float  # unix seconds, as the kernel tells it
    boot: str
    run_dir: str
    token: int

    def __str__(self) -> str:
        return f"{self.boot}:{self.pid}:{self.created:.2f}"


class LocalExecutor:
    """Start, pulse, watch and stop trainers on this machine."""

    name = "local"

    def __init__(self, command: Callable[[Launch], list[str]] | None = None) -> None:
        self._command = command or argv
        self._children: dict[Handle, subprocess.Popen[bytes]] = {}

    def check(self, compute: Compute) -> list[str]:
        """Say in words why this machine cannot run `compute`; empty when it can."""
        problems = []
        if compute.device == "cuda" and not shutil.which("nvidia-smi"):
            problems.append("compute.device is cuda, and this machine has no NVIDIA driver (nvidia-smi not found)")
        if compute.device == "mps" and sys.platform != "darwin":
            problems.append("compute.device is mps, which only Apple machines have")
        cores = os.cpu_count() or 1
        if compute.device == "cpu" and compute.processes > cores:
            problems.append(f"compute.processes {compute.processes} is more than this machine's {cores} cores")
        return problems

    def submit(self, launch: Launch) -> Handle:
        """Start the trainer of an attempt, once: a second call with the same token returns the first one's handle.

        Call it from a thread that lives as long as the worker: the kernel ties the child to the *thread*.
        """
        folder = RunDir(launch.run_dir)
        for handle in self._children:
            if (handle.run_dir, handle.token) == (str(launch.run_dir), launch.token):
                return handle
        log = folder.log(launch.token)
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "ab") as output:
            child = subprocess.Popen(
                self._command(launch),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=environment(launch.compute),
            )
        assert child.stdin is not None
        os.set_blocking(child.stdin.fileno(), False)
        try:
            created = psutil.Process(child.pid).create_time()
        except psutil.NoSuchProcess:
            created = time.time()
        handle = Handle(child.pid, created, boot_id(), str(launch.run_dir), launch.token)
        self._children[handle] = child
        try:
            write_atomic(folder.attempt(launch.token) / "process.json", json.dumps(asdict(handle)).encode())
        except OSError:  # a full disk: nobody would know of it
            self.cancel(handle, grace_s=0)
            self.forget(handle)
            raise
        return handle

    def pulse(self, handle: Handle) -> None:
        """Tell the trainer that its worker is alive: one byte on its stdin."""
        child = self._children.get(handle)
        if child and child.stdin:
            with contextlib.suppress(BrokenPipeError, BlockingIOError, ValueError):
                os.write(child.stdin.fileno(), b".")

    def poll(self, handles: list[Handle]) -> dict[Handle, str]:
        """Look at all `handles` at once: RUNNING, or GONE (a local process is never PENDING nor UNKNOWN)."""
        return {handle: "RUNNING" if self._alive(handle) else "GONE" for handle in handles}

    def wait(self, handle: Handle, seconds: float) -> bool:
        """Wait until the trainer has ended, at most `seconds`; say whether it has."""
        child = self._children.get(handle)
        if child is None:
            return not self._alive(handle)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=seconds)
        return child.poll() is not None

    def exit_code(self, handle: Handle) -> int | None:
        """The exit code of a trainer this executor started (negative: the signal), None while it runs."""
        child = self._children.get(handle)
        return child.poll() if child else None

    def cancel(self, handle: Handle, grace_s: float) -> None:
        """Ask the trainer to checkpoint and stop (TERM); after `grace_s` kill its processes. 0: kill at once."""
        if grace_s > 0 and self._alive(handle):
            _signal_group(handle.pid, signal.SIGTERM)
            deadline = time.monotonic() + grace_s
            while self._alive(handle) and time.monotonic() < deadline:
                self.pulse(handle)
                time.sleep(0.05)
        if self._alive(handle):
            family = _family(handle.pid)  # torchrun puts each rank into a session of its own
            _signal_group(handle.pid, signal.SIGKILL)
            for process in family:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            if child := self._children.get(handle):
                child.wait(timeout=10)
                family = family[:-1]  # the child itself: only Popen may reap it, or its exit code is lost
            psutil.wait_procs(family, timeout=10)

    def terminate(self, handle: Handle) -> None:
        """Ask the trainer to checkpoint and stop, and return at once."""
        if self._alive(handle):
            _signal_group(handle.pid, signal.SIGTERM)

    def logs(self, handle: Handle, offset: int = 0) -> bytes:
        """The attempt's output from byte `offset` on."""
        with open(RunDir(Path(handle.run_dir)).log(handle.token), "rb") as file:
            file.seek(offset)
            return file.read()

    def forget(self, handle: Handle) -> None:
        """Close the pulse of a trainer that has ended."""
        child = self._children.pop(handle, None)
        if child and child.stdin:
            child.stdin.close()

    def end_leftovers(self, run_dir: Path) -> list[Handle]:
        """Kill trainers that an earlier worker of this machine left in `run_dir`; return them."""
        ended = []
        for path in sorted(run_dir.glob("attempts/*/process.json")):
            try:
                handle = Handle(**json.loads(path.read_bytes()))
            except (ValueError, TypeError):
                continue
            if handle not in self._children and self._alive(handle):
                self.cancel(handle, grace_s=0)
                ended.append(handle)
        return ended

    def _alive(self, handle: Handle) -> bool:
        child = self._children.get(handle)
        if child:
            return child.poll() is None
        if handle.boot != boot_id():
            return False
        try:
            process = psutil.Process(handle.pid)
            same = abs(process.create_time() - handle.created) < 0.5
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False


def argv(launch: Launch) -> list[str]:
    """The command line of an attempt; a list, never a shell string."""
    trainer = [TRAINER, str(launch.run_dir), "--token", str(launch.token)]
    return started([*trainer, "--supervised", "--lease-s", str(launch.lease_s)], launch.compute)


def started(module: list[str], compute: Compute) -> list[str]:
    """`python -m MODULE …` as many times as there are processes, each knowing the others, by device.

    `accelerate launch --cpu --num_processes n` silently runs one process, so CPU ranks come from torchrun.
    """
    n = compute.processes
    if n == 1:
        return [sys.executable, "-m", *module]
    if compute.device == "cuda":
        start = ["accelerate.commands.launch", "--num_processes", str(n), "--num_machines", "1", "--multi_gpu"]
        return [sys.executable, "-m", *start, "--mixed_precision", "no", "--dynamo_backend", "no", "-m", *module]
    start = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(n)]
    return [sys.executable, "-m", *start, "-m", *module]


def boot_id() -> str:
    """What tells this boot of this machine from every other."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return f"{psutil.boot_time():.0f}"


def environment(compute: Compute) -> dict[str, str]:
    """This process's environment, and for several processes on one machine how many threads each may have."""
    env = {**os.environ, "PYTHONUNBUFFERED": "1", "TOKENIZERS_PARALLELISM": "false"}
    if compute.processes > 1:
        env["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // compute.processes))
    return env


def _signal_group(pid: int, signum: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signum)


def _family(pid: int) -> list[psutil.Process]:
    try:
        parent = psutil.Process(pid)
        return [*parent.children(recursive=True), parent]
    except psutil.NoSuchProcess:
        return []
