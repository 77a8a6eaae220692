"""Checkpoints: a sealed folder of safetensors and JSON that either verifies or does not exist. No pickle anywhere.

step-00000040.t3/weights.safetensors    the network being trained
                 ema.safetensors        its moving average
                 optimizer.safetensors  AdamW's moments and counts
                 state.json             step, images, wall seconds, open averages, software
                 MANIFEST.json          written last: size and sha256 of each, the journal's offset
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from shoestring_trainer import sealed
from shoestring_trainer.disk import require_room
from shoestring_trainer.failures import BadCheckpoint
from shoestring_trainer.run_dir import RunDir

TENSOR_FILES = ("weights.safetensors", "ema.safetensors", "optimizer.safetensors")
FILES = (*TENSOR_FILES, sealed.STATE)
OTHER_BYTES = 1 << 18  # headers, state.json, MANIFEST.json and the ends of blocks, at most about this


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

    Older published checkpoints beyond `keep_last` are removed afterwards. Raises DiskFull before a byte is written
    where there is no room, OSError and SafetensorError when there proves to be none.
    """
    states = [part.state_dict() for part in parts]
    n_bytes = sum(value.nbytes for state_ in states for value in state_.values()) + OTHER_BYTES

    def write(folder: Path) -> None:
        require_room(run_dir.root, n_bytes)
        for name, tensors in zip(TENSOR_FILES, states, strict=True):
            save_file({key: value.detach().cpu().contiguous() for key, value in tensors.items()}, folder / name)

    return sealed.seal(run_dir, step, token, write, state, keep_last)


def load_newest(run_dir: RunDir, accept: Callable[[Loaded], None] = lambda _: None) -> Loaded | None:
    """Load the newest checkpoint that verifies and that `accept` does not refuse; None when none was ever published.

    Raises BadCheckpoint when some had been published and none is good.
    """

    def accepted(path: Path) -> Loaded:
        loaded = read(path)
        accept(loaded)
        return loaded

    return sealed.newest(run_dir, accepted)


def read(path: Path) -> Loaded:
    """Read one published checkpoint and verify every byte of it. Raises BadCheckpoint."""
    one = sealed.unseal(path, FILES)
    try:
        weights, ema, optimizer = (load(one.content[name]) for name in TENSOR_FILES)
        return Loaded(path, one.step, one.token, weights, ema, optimizer, one.state, one.manifest)
    except (ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise BadCheckpoint(f"{path.name}: {type(error).__name__}: {error}") from error
