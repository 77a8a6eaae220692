"""Going on where an attempt left off: what crosses from one attempt to the next, and how it is put back."""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from shoestring_trainer import checkpoint, sealed
from shoestring_trainer.checkpoint import Loaded
from shoestring_trainer.config import TrainConfig
from shoestring_trainer.failures import BadCheckpoint
from shoestring_trainer.journal import Journal
from shoestring_trainer.run_dir import RunDir
from shoestring_trainer.step import Training, Update


@dataclass(frozen=True)
class Window:
    """Sums since the last train point; part of the checkpoint, so that means over a stop come out the same."""

    n: int = 0
    loss: float = 0.0
    grad_norm: float = 0.0

    def add(self, update: Update) -> Window:
        return Window(self.n + 1, self.loss + update.loss, self.grad_norm + update.grad_norm)


@dataclass(frozen=True)
class Progress:
    """Where a run stands: updates done, wall seconds paid for in attempts that count, the open window."""

    step: int = 0
    seconds: float = 0.0
    window: Window = Window()


def state_of(progress: Progress, training: Training, journal_offset: int) -> dict[str, Any]:
    """Make `state.json` of a checkpoint."""
    config = training.config
    return {
        "step": progress.step,
        "images": progress.step * config.batch_size,
        "epoch": progress.step * config.batch_size // training.mixtures[0].n_train,
        "wall_seconds": progress.seconds,
        "window": asdict(progress.window),
        "journal_offset": journal_offset,
        "config_sha256": config_sha256(config),
        "software": software(training),
    }


def begin(run_dir: RunDir, token: int, training: Training) -> tuple[Progress, Journal | None]:
    """Put weights, average, optimiser, progress and journal back: own checkpoint, else `config.start`, else step 0.

    The journal is None on ranks other than the first. Raises BadCheckpoint.
    """
    with training.accelerator.main_process_first():
        main = training.accelerator.is_main_process
        if main:
            sealed.sweep_partials(run_dir, token)
        loaded = checkpoint.load_newest(run_dir, accept=lambda it: _whole_journal(run_dir, it))
    path = run_dir.journal(token)
    if loaded:
        return _resume(run_dir, path, loaded, training)
    journal = Journal.start_from(path, path, 0) if main else None
    if training.config.start is None:
        return Progress(), journal
    return _continue_other(training), journal


def config_sha256(config: TrainConfig) -> str:
    """Hash what decides the numbers of a run; its name, its price and where files lie do not."""
    facts = config.model_dump(
        mode="json", exclude={"name": True, "price": True, "data": {"path"}, "start": {"checkpoint"}}
    )
    if facts["until_val_loss"] is None:  # came later: checkpoints of before keep their hash
        del facts["until_val_loss"]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def software(training: Training) -> dict[str, Any]:
    """What a bitwise equal resume needs to be equal."""
    device = training.accelerator.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "device": f"{device.type} {name}",
        "processes": training.accelerator.num_processes,
    }


def _resume(run_dir: RunDir, path: Path, loaded: Loaded, training: Training) -> tuple[Progress, Journal | None]:
    if loaded.manifest["config_sha256"] != config_sha256(training.config):
        raise BadCheckpoint(
            f"{loaded.path.name} was made by another config than {run_dir.config_path.name} of this folder; "
            f"put that config back, or use a new folder"
        )
    _put_back(loaded, training)
    state = loaded.state
    progress = Progress(loaded.step, state["wall_seconds"], Window(**state["window"]))
    print(f"resumed from {loaded.path.name}", flush=True)
    if not training.accelerator.is_main_process:
        return progress, None
    journal = Journal.start_from(path, run_dir.journal(loaded.token), loaded.journal_offset)
    journal.event(loaded.step, "checkpoint", path=str(loaded.path.relative_to(run_dir.root)))
    before, now = state["software"], software(training)
    if before != now:
        changed = [f"{key} was {before.get(key)}, now {now[key]}" for key in now if before.get(key) != now[key]]
        journal.event(loaded.step, "resumed_inexact", detail=f"at step {loaded.step}: {'; '.join(changed)}")
    return progress, journal


def _continue_other(training: Training) -> Progress:
    """Carry on another run's weights, average, optimiser and step; money and averages start anew."""
    start = training.config.start
    assert start is not None
    loaded = checkpoint.read(Path(start.checkpoint))
    if loaded.step != start.step:
        raise BadCheckpoint(f"start.checkpoint {loaded.path} is at step {loaded.step}, start.step says {start.step}")
    _put_back(loaded, training)
    print(f"continues {loaded.path}", flush=True)
    return replace(Progress(), step=loaded.step)


def _put_back(loaded: Loaded, training: Training) -> None:
    try:
        training.net.load_state_dict(loaded.weights)
        training.ema.load_state_dict(loaded.ema)
        training.optimizer.load_state_dict(loaded.optimizer)
    except (RuntimeError, KeyError) as error:
        raise BadCheckpoint(f"{loaded.path} does not fit this config's model: {error}") from error


def _whole_journal(run_dir: RunDir, loaded: Loaded) -> None:
    path = run_dir.journal(loaded.token)
    size = path.stat().st_size if path.exists() else 0
    if size < loaded.journal_offset:
        raise BadCheckpoint(f"{loaded.path.name} needs {loaded.journal_offset} bytes of {path}, which has {size}")
