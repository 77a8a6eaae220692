"""A run folder as something to draw from: its newest good checkpoint's averaged weights, or none at all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from shoestring_trainer import checkpoint as checkpoints
from shoestring_trainer import grids
from shoestring_trainer.config import Samples, TrainConfig
from shoestring_trainer.data import DataSet
from shoestring_trainer.diffusion import Denoiser
from shoestring_trainer.failures import BadCheckpoint
from shoestring_trainer.mixture import Mixture
from shoestring_trainer.run_dir import RunDir
from shoestring_trainer.step import fresh_net
from shoestring_trainer.train import read_config


@dataclass(frozen=True)
class Restored:
    """A denoiser with the data set it was trained on; `step` 0 is untrained."""

    config: TrainConfig
    data: DataSet
    denoiser: Denoiser
    step: int
    device: torch.device

    def meta(self, samples: Samples) -> dict[str, Any]:
        """What `meta.json` says of pictures drawn with it."""
        return grids.meta(self.step, self.config.planned_usd_at(self.step), samples)


def restore(root: Path, untrained: bool = False, raw: bool = False, checkpoint: Path | None = None) -> Restored:
    """Open the run in folder `root` for reading; nothing in it is changed, so it may be training meanwhile.

    The averaged weights, or the trained ones themselves (`raw`), of its newest good checkpoint or of the one named.
    Raises BadConfig, BadData, BadCheckpoint (no good checkpoint).
    """
    run_dir = RunDir(root)
    config = read_config(run_dir)
    net, step = fresh_net(config), 0
    if not untrained:
        loaded = checkpoints.read(checkpoint) if checkpoint else newest_good(run_dir)
        try:
            net.load_state_dict(loaded.weights if raw else loaded.ema)
        except RuntimeError as error:
            raise BadCheckpoint(f"{loaded.path} does not fit this config's model: {error}") from error
        step = loaded.step
    device = torch.device("cuda" if config.compute.device == "cuda" and torch.cuda.is_available() else "cpu")
    net = net.to(device).eval().requires_grad_(False)
    data = Mixture(config.data_at(stage_before(config, step)), config.seed).main
    return Restored(config, data, Denoiser(net, config.objective), step, device)


def stage_before(config: TrainConfig, step: int) -> int:
    """The stage whose update made `step`; the first one of untrained weights."""
    return config.stage_at(min(max(0, step - 1), config.n_steps - 1))[0]


def newest_good(run_dir: RunDir) -> checkpoints.Loaded:
    """Read the newest checkpoint that verifies; changes nothing. Raises BadCheckpoint."""
    why = "none was published yet; train first, or ask for --untrained"
    for path in run_dir.published():
        try:
            return checkpoints.read(path)
        except BadCheckpoint as error:
            why = str(error)
    raise BadCheckpoint(f"no checkpoint to read in {run_dir.checkpoints}: {why}")
