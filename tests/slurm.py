"""A real Slurm cluster of two nodes on loopback, in a folder of its own: munged, slurmctld and two slurmd.

Debian: apt-get install --no-install-recommends slurmctld slurmd slurm-client munge. Started as root or not; nothing
outside the folder is read or written, so one that is there already is not disturbed.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

import pytest

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo")
HOW = "Slurm is not installed: apt-get install --no-install-recommends slurmctld slurmd slurm-client munge"
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"

CONF = """
ClusterName=loop
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
SlurmdTimeout=15
KillWait=15
GresTypes=gpu
SchedulerParameters=bf_interval=1,sched_min_interval=100000
MpiDefault=none
SwitchType=switch/none
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 RealMemory=4000 Gres=gpu:2
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 RealMemory=4000 Gres=gpu:2
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
PartitionName=brief Nodes=n1 MaxTime=1 State=UP
"""
GRES = "NodeName=n[1-2] Name=gpu Count=2 File={folder}/fakegpu[0-1]\n"  # counted only


class Slurm:
    """`with Slurm() as slurm`: SLURM_CONF is `slurm.conf` until the end."""

    def __enter__(self) -> Slurm:
        if missing := [name for name in NEEDED if not shutil.which(name, path=PATH)]:
            pytest.skip(f"{HOW} ({', '.join(missing)} not found)")
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # a short path: a socket's has at most 107 bytes
        self.conf = self.folder / "slurm.conf"
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._before = {name: os.environ.get(name) for name in ("SLURM_CONF", "PATH")}
        os.environ |= {"SLURM_CONF": str(self.conf), "PATH": PATH}
        try:
            self._start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if "slurmctld" in self.daemons and kind is None:
            with contextlib.suppress(subprocess.SubprocessError):
                self.end_all_jobs()
        for name, signum in (("n1", 15), ("n2", 15), ("slurmctld", 15), ("munged", 15)):
            if daemon := self.daemons.get(name):
                daemon.send_signal(signum)
                try:
                    daemon.wait(timeout=10)
                except subprocess.TimeoutExpired:
                    daemon.kill()
                    daemon.wait()
        for name, value_before in self._before.items():
            os.environ.pop(name) if value_before is None else os.environ.update({name: value_before})
        shutil.rmtree(self.folder, ignore_errors=True)

    def call(self, *argv: str) -> str:
        """What a command of Slurm prints. Raises CalledProcessError."""
        return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=30).stdout

    def jobs(self, folder: Path) -> list[tuple[str, str]]:
        """(name, state) of every job under `folder` that Slurm remembers, oldest first."""
        lines = self.call("squeue", "--noheader", "--states=all", "--sort=i", "--format=%j|%T|%Z").splitlines()
        rows = [line.split("|", 2) for line in lines]
        return [(name, state) for name, state, place in rows if Path(place).is_relative_to(folder)]

    def end_all_jobs(self) -> None:
        """Cancel everything and wait until the nodes are free."""
        self.call("scancel", f"--user={os.getuid()}", "--signal=KILL", "--full")
        self.call("scancel", f"--user={os.getuid()}")
        wait_for(lambda: not self.call("squeue", "--noheader"), 30)

    @contextlib.contextmanager
    def silent(self) -> Iterator[None]:
        """The controller hears nothing: every command about jobs waits in vain."""
        self.daemons["slurmctld"].send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.daemons["slurmctld"].send_signal(signal.SIGCONT)

    @contextlib.contextmanager
    def busy(self, free: int = 0) -> Iterator[None]:
        """All cores but `free` of the first node's are taken: what is submitted has to wait."""
        for node, cores in (("n1", 2 - free), ("n2", 2)):
            argv = ("sbatch", "--parsable", f"--nodelist={node}", f"--cpus-per-task={cores}", "--output=/dev/null")
            self.call(*argv, "--wrap=sleep 600", "--job-name=taken", f"--chdir={self.folder}")
        wait_for(lambda: self.jobs(self.folder).count(("taken", "RUNNING")) == 2, 20)
        try:
            yield
        finally:
            self.call("scancel", "--name=taken")
            wait_for(lambda: ("taken", "RUNNING") not in self.jobs(self.folder), 20)

    def _start(self) -> None:
        host, user = socket.gethostname().split(".")[0], pwd.getpwuid(os.getuid()).pw_name
        for name in ("state", "spool.n1", "spool.n2"):
            (self.folder / name).mkdir()
        for number in (0, 1):
            (self.folder / f"fakegpu{number}").touch()
        self.folder.chmod(0o755)
        filled = {"folder": self.folder, "host": host, "user": user, "ports": free_ports(3)}
        self.conf.write_text(CONF.format(**filled))
        (self.folder / "gres.conf").write_text(GRES.format(**filled))
        (self.folder / "cgroup.conf").write_text("CgroupAutomount=no\n")
        self._munge()
        conf = str(self.conf)
        self._daemon("slurmctld", "slurmctld", "-D", "-f", conf)
        for node in ("n1", "n2"):
            self._daemon(node, "slurmd", "-D", "-N", node, "-f", conf)
        try:
            wait_for(self._ready, 40)
        except AssertionError:
            logs = "\n".join(path.read_text()[-2000:] for path in sorted(self.folder.glob("*.log")))
            raise AssertionError(f"Slurm did not start:\n{logs}") from None

    def _munge(self) -> None:
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o600)
        places = {"key-file": key} | {
            f"{name}": self.folder / f"munge.{end}"
            for name, end in (("pid-file", "pid"), ("log-file", "log"), ("seed-file", "seed"), ("socket", "socket"))
        }
        words = [f"--{name}={path}" for name, path in places.items()]
        self._daemon("munged", "munged", "--foreground", "--force", "--num-threads=2", *words)
        wait_for(places["socket"].exists, 10)

    def _daemon(self, name: str, *argv: str) -> None:
        with open(self.folder / f"{name}.out.log", "wb") as log:
            self.daemons[name] = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def _ready(self) -> bool:
        done = subprocess.run(
            ["sinfo", "--noheader", "--Node", "--partition=main", "--format=%T"], capture_output=True, text=True
        )
        return done.stdout.split() == ["idle", "idle"]


def free_ports(n: int) -> list[int]:
    """Ports that nobody uses now."""
    sockets = [socket.socket() for _ in range(n)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def wait_for(truth: Callable[[], object], seconds: float = 120) -> None:
    """Wait until it is true."""
    deadline = time.monotonic() + seconds
    while not truth():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain"
        time.sleep(0.1)
