"""Sealed folders under `checkpoints/`: published whole or not at all, verified byte by byte. No torch here.

Written under a temporary name, each file and folder synced, `MANIFEST.json` last with the size and sha256 of each,
renamed, the parent synced. One that does not verify is set aside as `….corrupt` and the one before it is used.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from shoestring_trainer.failures import BadCheckpoint
from shoestring_trainer.run_dir import RunDir, checkpoint_id, fsync_dir

T = TypeVar("T")
MANIFEST_VERSION = 1
STATE = "state.json"


@dataclass(frozen=True)
class Sealed:
    """A folder that verified, in memory. Its `manifest` names the attempt (token) and its journal's offset."""

    path: Path
    step: int
    token: int
    content: dict[str, bytes]
    manifest: dict[str, Any]

    @property
    def state(self) -> dict[str, Any]:
        return json.loads(self.content[STATE])


def seal(
    run_dir: RunDir, step: int, token: int, write: Callable[[Path], None], state: dict[str, Any], keep_last: int
) -> Path:
    """Publish what `write` puts into a folder, and `state` (with `journal_offset`, `config_sha256`); return the folder.

    Older published folders beyond `keep_last` are removed afterwards. Raises OSError (a full disk among them).
    """
    final = run_dir.checkpoint(step, token)
    partial = final.with_name(f".{final.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        write(partial)
        (partial / STATE).write_text(json.dumps(state, indent=1, allow_nan=False))
        _manifest(partial, step, token, state)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)  # a full disk: give the space back
        raise
    os.rename(partial, final)
    fsync_dir(final.parent)
    for old in run_dir.published()[keep_last:]:
        remove(old)
    return final


def _manifest(partial: Path, step: int, token: int, state: dict[str, Any]) -> None:
    files = {}
    for file in sorted(partial.iterdir()):
        files[file.name] = {"size": file.stat().st_size, "sha256": sync_and_hash(file)}
    (partial / "MANIFEST.json").write_text(json.dumps(_says(step, token, state, files), indent=1))
    sync_and_hash(partial / "MANIFEST.json")
    fsync_dir(partial)


def _says(step: int, token: int, state: dict[str, Any], files: dict[str, Any]) -> dict[str, Any]:
    """What a manifest says: nothing that the folder's name and its files do not say too, so each vouches for it."""
    return {
        "version": MANIFEST_VERSION,
        "step": step,
        "token": token,
        "config_sha256": state["config_sha256"],
        "journal_offset": state["journal_offset"],
        "files": files,
    }


def unseal(path: Path, names: tuple[str, ...]) -> Sealed:
    """Read one published folder of the files `names` and verify every byte of it. Raises BadCheckpoint."""
    try:
        manifest = json.loads((path / "MANIFEST.json").read_bytes())
        step, token = checkpoint_id(path)
        if (manifest["version"], manifest["step"], manifest["token"]) != (MANIFEST_VERSION, step, token):
            raise BadCheckpoint(f"{path.name}: its MANIFEST.json belongs to another checkpoint")
        if set(manifest["files"]) != set(names):
            raise BadCheckpoint(f"{path.name}: MANIFEST.json names {sorted(manifest['files'])}, allowed {list(names)}")
        content = {name: _verified(path / name, facts) for name, facts in manifest["files"].items()}
        if manifest != _says(step, token, json.loads(content[STATE]), manifest["files"]):
            raise BadCheckpoint(f"{path.name}: its MANIFEST.json says something else than its {STATE}")
        return Sealed(path, step, token, content, manifest)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadCheckpoint(f"{path.name}: {type(error).__name__}: {error}") from error


def newest(run_dir: RunDir, read: Callable[[Path], T]) -> T | None:
    """What `read` makes of the newest published folder that it does not refuse; None when none was ever published.

    A bad one is renamed to `….corrupt`. Raises BadCheckpoint when some had been published and none is good: starting
    again from step 0 in silence would throw away what was paid for.
    """
    why = ""
    for path in run_dir.renamed():
        try:
            return read(path)
        except BadCheckpoint as error:
            why = why or str(error)
            print(f"checkpoint set aside: {error}", flush=True)
            _set_aside(path)
    corrupt = sorted(run_dir.checkpoints.glob("*.corrupt")) if run_dir.checkpoints.is_dir() else []
    if corrupt:
        raise BadCheckpoint(
            f"none of the {len(corrupt)} published checkpoints in {run_dir.checkpoints} verifies"
            f"{': ' + why if why else ''}; delete that folder to train again from step 0"
        )
    return None


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


def sync_and_hash(path: Path) -> str:
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        return hashlib.file_digest(file, "sha256").hexdigest()


def _set_aside(path: Path) -> None:
    target = path.with_name(f"{path.name}.corrupt")
    shutil.rmtree(target, ignore_errors=True)
    os.rename(path, target)
    fsync_dir(path.parent)
