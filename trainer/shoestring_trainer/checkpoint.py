"""Checkpoints: a folder of safetensors and JSON that either verifies or does not exist. No pickle anywhere.

    step-00000040.t3/weights.safetensors    the network being trained
                     ema.safetensors        its moving average
                     optimizer.safetensors  AdamW's moments and counts
                     state.json             step, images, wall seconds, open averages, software
                     MANIFEST.json          written last: size and sha256 of each, the journal's offset

Written under a temporary name, each file and folder synced, renamed, the parent synced. One that does not verify is
set aside as `….corrupt` and the one before it is used.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from shoestring_trainer.failures import BadCheckpoint
from shoestring_trainer.run_dir import RunDir, checkpoint_id, fsync_dir

TENSOR_FILES = ("weights.safetensors", "ema.safetensors", "optimizer.safetensors")
FILES = (*TENSOR_FILES, "state.json")
MANIFEST_VERSION = 1


class HasState(Protocol):
    """A network, an EMA, an optimiser: anything whose state is a flat dict of tensors."""

    def state_dict(self) -> Mapping[str, Tensor]: ...


@dataclass(frozen=True)
class Loaded:
    """A checkpoint that verified, in memory. Its `manifest` names the attempt (token) and its journal's offset."""

    path: Path
    step: int
    token: int
    weights: dict[str, Tensor]
    ema: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    state: dict[str, Any]
    manifest: dict[str, Any]

    @property
    def journal_offset(self) -> int:
        return int(self.manifest["journal_offset"])


def save(
    run_dir: RunDir,
    step: int,
    token: int,
    parts: tuple[HasState, HasState, HasState],
    state: dict[str, Any],
    keep_last: int,
) -> Path:
    """Publish (network, EMA, optimiser) and `state` (with `journal_offset`, `config_sha256`); return the folder.

    Older published checkpoints beyond `keep_last` are removed afterwards. Raises OSError (a full disk among them).
    """
    final = run_dir.checkpoint(step, token)
    partial = final.with_name(f".{final.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        _write(partial, step, token, parts, state)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)  # a full disk: give the space back
        raise
    os.rename(partial, final)
    fsync_dir(final.parent)
    for old in run_dir.published()[keep_last:]:
        remove(old)
    return final


def _write(
    partial: Path, step: int, token: int, parts: tuple[HasState, HasState, HasState], state: dict[str, Any]
) -> None:
    for name, part in zip(TENSOR_FILES, parts, strict=True):
        save_file({key: value.detach().cpu().contiguous() for key, value in part.state_dict().items()}, partial / name)
    (partial / "state.json").write_text(json.dumps(state, indent=1, allow_nan=False))
    files = {}
    for name in FILES:
        files[name] = {"size": (partial / name).stat().st_size, "sha256": _sync_and_hash(partial / name)}
    manifest = {
        "version": MANIFEST_VERSION,
        "step": step,
        "token": token,
        "config_sha256": state["config_sha256"],
        "journal_offset": state["journal_offset"],
        "files": files,
    }
    (partial / "MANIFEST.json").write_text(json.dumps(manifest, indent=1))
    _sync_and_hash(partial / "MANIFEST.json")
    fsync_dir(partial)


def load_newest(run_dir: RunDir, accept: Callable[[Loaded], None] = lambda _: None) -> Loaded | None:
    """Load the newest checkpoint that verifies and that `accept` does not refuse; None when none was ever published.

    A bad one is renamed to `….corrupt`. Raises BadCheckpoint when some had been published and none is good: starting
    again from step 0 in silence would throw away what was paid for.
    """
    why = ""
    for path in run_dir.published():
        try:
            loaded = read(path)
            accept(loaded)
        except BadCheckpoint as error:
            why = why or str(error)
            print(f"checkpoint set aside: {error}", flush=True)
            _set_aside(path)
            continue
        return loaded
    corrupt = sorted(run_dir.checkpoints.glob("*.corrupt")) if run_dir.checkpoints.is_dir() else []
    if corrupt:
        raise BadCheckpoint(
            f"none of the {len(corrupt)} published checkpoints in {run_dir.checkpoints} verifies"
            f"{': ' + why if why else ''}; delete that folder to train again from step 0"
        )
    return None


def read(path: Path) -> Loaded:
    """Read one published checkpoint and verify every byte of it. Raises BadCheckpoint."""
    try:
        manifest = json.loads((path / "MANIFEST.json").read_bytes())
        step, token = checkpoint_id(path)
        if (manifest["version"], manifest["step"], manifest["token"]) != (MANIFEST_VERSION, step, token):
            raise BadCheckpoint(f"{path.name}: its MANIFEST.json belongs to another checkpoint")
        if set(manifest["files"]) != set(FILES):
            raise BadCheckpoint(f"{path.name}: MANIFEST.json names {sorted(manifest['files'])}, allowed {list(FILES)}")
        content = {name: _verified(path / name, facts) for name, facts in manifest["files"].items()}
        weights, ema, optimizer = (load(content[name]) for name in TENSOR_FILES)
        return Loaded(path, step, token, weights, ema, optimizer, json.loads(content["state.json"]), manifest)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise BadCheckpoint(f"{path.name}: {type(error).__name__}: {error}") from error


def remove(path: Path) -> None:
    """Delete a checkpoint so that no half of it is ever taken for one: unpublish first."""
    hidden = path.with_name(f".{path.name}.removed")
    shutil.rmtree(hidden, ignore_errors=True)
    os.rename(path, hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def sweep_partials(run_dir: RunDir, token: int) -> None:
    """Delete what earlier attempts left half written or half deleted."""
    if run_dir.checkpoints.is_dir():
        for path in run_dir.checkpoints.glob(".step-*"):
            if path.suffix == ".removed" or not path.name.endswith(f".t{token}.partial"):
                shutil.rmtree(path, ignore_errors=True)


def _verified(path: Path, facts: dict[str, Any]) -> bytes:
    if path.stat().st_size != facts["size"]:
        raise BadCheckpoint(f"{path.parent.name}/{path.name} is {path.stat().st_size} bytes, not {facts['size']}")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != facts["sha256"]:
        raise BadCheckpoint(f"{path.parent.name}/{path.name} does not have the sha256 of its MANIFEST.json")
    return content


def _sync_and_hash(path: Path) -> str:
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        return hashlib.file_digest(file, "sha256").hexdigest()


def _set_aside(path: Path) -> None:
    target = path.with_name(f"{path.name}.corrupt")
    shutil.rmtree(target, ignore_errors=True)
    os.rename(path, target)
    fsync_dir(path.parent)
