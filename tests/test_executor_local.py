"""Trainers as processes of this machine: started once, pulsed, asked to stop, killed with everything they started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from shoestring.executors import EXECUTORS
from shoestring.executors.local import Handle, Launch, LocalExecutor, argv
from shoestring_trainer.config import Compute

STUBBORN = """
import pathlib, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
pathlib.Path("child").write_text(str(child.pid))
print("stubborn", flush=True)
time.sleep(60)
"""
POLITE = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
print("ready", flush=True)
while sys.stdin.buffer.raw.read(1): print("pulse", flush=True)
print("alone", flush=True)
"""


def launch(folder: Path, token: int = 1, **compute: object) -> Launch:
    return Launch(folder, token, lease_s=60, compute=Compute(**compute))


def script(code: str, folder: Path) -> Callable[[Launch], list[str]]:
    return lambda _: [sys.executable, "-c", f"import os; os.chdir({str(folder)!r})\n{code}"]


def wait_for(truth: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not truth():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_the_command_line_fits_the_device_and_the_number_of_processes(tmp_path: Path) -> None:
    one, ranks, gpus = (
        argv(launch(tmp_path, token=3, **compute))
        for compute in ({}, {"processes": 2}, {"processes": 4, "device": "cuda"})
    )
    assert one[1:4] == ["-m", "shoestring_trainer.train", str(tmp_path)]
    assert one[4:] == ["--token", "3", "--supervised", "--lease-s", "60"]
    assert ranks[1:6] == ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    assert gpus[2] == "accelerate.commands.launch" and "--multi_gpu" in gpus
    assert ranks[-8:] == gpus[-8:] == ["-m", *one[2:]]


def test_what_this_machine_lacks_is_said_in_words(tmp_path: Path) -> None:
    executor = EXECUTORS["local"]()
    assert executor.check(Compute()) == []
    assert "cores" in executor.check(Compute(processes=1024))[0]
    if sys.platform != "darwin":
        assert "Apple" in executor.check(Compute(device="mps"))[0]


def test_a_trainer_is_started_once_pulsed_and_asked_to_stop(tmp_path: Path) -> None:
    executor = LocalExecutor(script(POLITE, tmp_path))
    handle = executor.submit(launch(tmp_path))
    assert executor.submit(launch(tmp_path)) == handle
    wait_for(lambda: b"ready" in executor.logs(handle))
    assert executor.poll([handle]) == {handle: "RUNNING"}
    assert os.getsid(handle.pid) == handle.pid != os.getsid(0)
    executor.pulse(handle)
    wait_for(lambda: b"pulse" in executor.logs(handle))
    executor.cancel(handle, grace_s=20)
    assert executor.poll([handle]) == {handle: "GONE"}
    assert executor.exit_code(handle) == 143
    assert executor.logs(handle, offset=len(b"ready\n")).startswith(b"pulse")
    executor.forget(handle)


def test_a_trainer_that_does_not_stop_is_killed_with_its_ranks(tmp_path: Path) -> None:
    executor = LocalExecutor(script(STUBBORN, tmp_path))
    handle = executor.submit(launch(tmp_path))
    wait_for(lambda: b"stubborn" in executor.logs(handle))
    rank = int((tmp_path / "child").read_text())
    executor.cancel(handle, grace_s=0.2)
    assert executor.exit_code(handle) == -signal.SIGKILL
    wait_for(lambda: not alive(rank))


def test_a_trainer_left_by_a_dead_worker_is_ended_by_the_next(tmp_path: Path) -> None:
    LocalExecutor(script(STUBBORN, tmp_path)).submit(launch(tmp_path))  # this worker forgets its child
    wait_for((tmp_path / "child").exists)
    ended = LocalExecutor().end_leftovers(tmp_path)
    assert [handle.token for handle in ended] == [1]
    wait_for(lambda: not alive(ended[0].pid))
    assert LocalExecutor().end_leftovers(tmp_path) == []


def test_a_process_that_took_over_the_pid_is_never_touched(tmp_path: Path) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        first = LocalExecutor(script("pass", tmp_path)).submit(launch(tmp_path))
        stale = Handle(stranger.pid, first.created - 1000, first.boot, first.run_dir, first.token)
        executor = LocalExecutor()
        assert executor.poll([stale]) == {stale: "GONE"}
        executor.cancel(stale, grace_s=0)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.parametrize("broken", ["", "[]", '{"pid": 1}'])
def test_an_unreadable_process_file_ends_nothing(tmp_path: Path, broken: str) -> None:
    path = tmp_path / "attempts" / "t0001" / "process.json"
    path.parent.mkdir(parents=True)
    path.write_text(broken)
    assert LocalExecutor().end_leftovers(tmp_path) == []
