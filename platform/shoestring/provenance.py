"""What a run was made from: code, uncommitted changes, packages, data and hardware. Quick, and works without git."""

from __future__ import annotations

import csv
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from importlib import metadata, util
from pathlib import Path
from typing import Any

import psutil

PATCH_BYTES = 1 << 20  # an uncommitted patch is kept up to this size


def collect(root: Path, data_digest: str = "") -> dict[str, Any]:
    """Describe what a run submitted from `root` is made of; every value is JSON.

    Keys: git_commit, git_dirty, git_patch, git_patch_truncated, code_digest, lock_hash, data_digest, python, hardware.
    """
    return {
        **git_state(root),
        "code_digest": code_digest(),
        "lock_hash": lock_hash(root),
        "data_digest": data_digest,
        "python": platform.python_version(),
        "hardware": hardware(),
    }


def git_state(root: Path) -> dict[str, Any]:
    """Commit and uncommitted patch of the repository round `root`; empty strings where there is none."""
    commit = _git(root, "rev-parse", "HEAD").decode().strip()
    patch = _git(root, "diff", "HEAD", "--no-color", "--no-ext-diff") if commit else b""
    return {
        "git_commit": commit,
        "git_dirty": bool(patch),
        "git_patch": patch[:PATCH_BYTES].decode("utf-8", errors="replace"),
        "git_patch_truncated": len(patch) > PATCH_BYTES,
    }


@functools.cache
def code_digest() -> str:
    """Sha256 over the trainer's sources: what decides a run's numbers besides its config."""
    spec = util.find_spec("shoestring_trainer")
    assert spec and spec.submodule_search_locations
    folder = Path(next(iter(spec.submodule_search_locations)))
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        total.update(path.relative_to(folder).as_posix().encode() + b"\0")
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


@functools.cache
def lock_hash(root: Path) -> str:
    """Sha256 of `constraints.txt` (when there is one) and of every installed package with its version."""
    total = hashlib.sha256()
    lock = root / "constraints.txt"
    if lock.is_file():
        total.update(lock.read_bytes())
    total.update("\n".join(installed()).encode())
    return total.hexdigest()


def installed() -> list[str]:
    """Every installed distribution as `name-version`, sorted; read from folder names, opening none of them."""
    found: set[str] = set()
    for entry in sys.path:
        try:
            names = os.listdir(entry or ".")
        except OSError:
            continue
        found.update(name.removesuffix(".dist-info").lower() for name in names if name.endswith(".dist-info"))
    return sorted(found) or sorted(f"{d.name}-{d.version}".lower() for d in metadata.distributions())


@functools.cache
def hardware() -> dict[str, Any]:
    """Processor, cores, memory and GPUs of this machine."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count() or 1,
        "ram_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "gpus": _gpus(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def hardware_name(facts: dict[str, Any] | None = None) -> str:
    """One line for a table: the GPUs, or the processor and its cores."""
    facts = facts or hardware()
    gpus = facts["gpus"]
    return f"{len(gpus)} × {gpus[0]['name']}" if gpus else f"{facts['cpu']}, {facts['cores']} cores"


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _gpus() -> list[dict[str, Any]]:
    if not shutil.which("nvidia-smi"):
        return []
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"]
    try:
        text = subprocess.run(query, capture_output=True, timeout=10, check=True, text=True).stdout
        rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines()) if row]
        return [
            {"name": name, "memory_gb": round(float(mib) * 2**20 / 1e9, 1), "driver": version}
            for name, mib, version in rows
        ]
    except (OSError, subprocess.SubprocessError, ValueError):
        return []


def _git(root: Path, *args: str) -> bytes:
    try:
        done = subprocess.run(["git", "-C", str(root), *args], capture_output=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return b""
    return done.stdout if done.returncode == 0 else b""
