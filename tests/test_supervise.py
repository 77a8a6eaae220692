"""When to stop: signals, and a parent that falls silent or dies."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest
from shoestring_trainer.supervise import Stop


def wait_for_reason(stop: Stop, within_s: float) -> str:
    deadline = time.monotonic() + within_s
    while not stop.reason and time.monotonic() < deadline:
        time.sleep(0.005)
    return stop.reason


@pytest.fixture
def pipe():
    read_end, write_end = os.pipe()
    yield read_end, write_end
    for fd in (read_end, write_end):
        with contextlib.suppress(OSError):
            os.close(fd)


def test_a_pulse_keeps_it_going_and_silence_for_a_lease_stops_it(pipe):
    stop = Stop()
    stop.on_silence(pipe[0], lease_s=0.4)
    for _ in range(6):
        os.write(pipe[1], b".")
        time.sleep(0.1)
    assert stop.reason == ""  # 0.6 s, more than one lease
    assert wait_for_reason(stop, 5) == "parent_gone"


def test_the_end_of_the_pipe_stops_it_at_once(pipe):
    stop = Stop()
    stop.on_silence(pipe[0], lease_s=60)
    os.close(pipe[1])
    assert wait_for_reason(stop, 5) == "parent_gone"


def test_the_first_reason_stays():
    stop = Stop()
    stop.request("stopped_by_request")
    stop.request("parent_gone")
    assert stop.reason == "stopped_by_request"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_are_requests_to_stop(number):
    before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        stop = Stop()
        stop.on_signals()
        for _ in range(2):
            os.kill(os.getpid(), number)
        assert wait_for_reason(stop, 5) == "stopped_by_request"
    finally:
        for n, handler in before.items():
            signal.signal(n, handler)


CHILD = """
import time
from shoestring_trainer.supervise import Stop
stop = Stop()
stop.on_signals()
stop.on_orphaned()
print("ready", flush=True)
deadline = time.monotonic() + 20
while not stop.reason and time.monotonic() < deadline:
    time.sleep(0.01)
print(stop.reason, flush=True)
"""
PARENT = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', sys.argv[1]]); time.sleep(60)"


# Only Linux tells a child of its parent's death (PR_SET_PDEATHSIG); elsewhere the end of stdin does, tested above.
if sys.platform == "linux":

    def test_a_trainer_learns_that_its_parent_was_killed():
        parent = subprocess.Popen([sys.executable, "-c", PARENT, CHILD], stdout=subprocess.PIPE)
        assert parent.stdout.readline() == b"ready\n"
        parent.kill()
        assert parent.stdout.readline() == b"parent_gone\n"
        parent.wait()
