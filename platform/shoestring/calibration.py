"""How fast this machine is: measured seconds of each shape of step, kept per machine, and a fit for the rest."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from importlib import metadata
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np
from shoestring_trainer.config import Compute, DataConfig, Mask, ModelConfig, NoMask, Optimizer, TrainConfig
from shoestring_trainer.flops import TRAIN_PER_FORWARD, calibration_key, dispatch_flops, forward_flops, parameters
from shoestring_trainer.run_dir import write_atomic

from shoestring.errors import EnvironmentProblem
from shoestring.experience import Experience

CALIBRATION_VERSION = 1
MIN_SPREAD = 0.04  # what a machine varies by from day to day, measured or not
FIT_SPREAD = 0.10  # a fitted shape is never better known than this


@dataclass(frozen=True)
class Work:
    """One kind of step: what decides its seconds."""

    model: ModelConfig
    data: DataConfig
    batch_size: int
    mask: Mask
    compute: Compute
    optimizer: Optimizer

    @cached_property
    def key(self) -> str:
        return calibration_key(
            self.model, self.data.shape, self.batch_size, self.mask, self.compute, self.optimizer.kind
        )

    @cached_property
    def model_key(self) -> str:
        """Names what evaluating, sampling and saving cost: the model on this data and device, whatever the mask."""
        return calibration_key(self.model, self.data.shape, 1, NoMask(kind="none"), self.compute, self.optimizer.kind)

    @cached_property
    def forward_parts(self) -> dict[str, float]:
        """FLOPs of one image's forward pass under this mask, by component."""
        data = self.data
        return forward_flops(self.model, data.shape, data.caption_tokens, self.mask, data.caption_dim)

    @property
    def forward_flops(self) -> float:
        """FLOPs of one image's forward pass under this mask."""
        return sum(self.forward_parts.values())

    @property
    def flops(self) -> float:
        """FLOPs of one step, forward and backward."""
        return self.batch_size * TRAIN_PER_FORWARD * self.forward_flops

    @property
    def dispatch_flops(self) -> float:
        """What an image would take more, forward and backward, if experts were reached by one-hot products."""
        return TRAIN_PER_FORWARD * dispatch_flops(self.model, self.data.shape, self.mask)

    @cached_property
    def parameters(self) -> int:
        return parameters(self.model, self.data.shape[0], self.data.caption_dim)

    @property
    def kind(self) -> tuple[Any, ...]:
        """Works of one kind may be compared by FLOPs: same device, processes, precision, optimiser and so on."""
        c = self.compute
        return (c.device, c.processes, c.precision, c.compile, c.recompute, self.optimizer.kind)


def works(config: TrainConfig) -> list[Work]:
    """The work of each stage of a job."""
    return [
        Work(config.model_at(i), config.data_at(i), config.batch_size, stage.mask, config.compute, config.optimizer)
        for i, stage in enumerate(config.stages)
    ]


@dataclass(frozen=True)
class Measured:
    """One measured shape; `spread` is a relative standard deviation, the wandering of the machine's speed included."""

    s_per_step: float
    spread: float
    flops: float
    parameters: int
    kind: tuple[Any, ...]


@dataclass(frozen=True)
class Overheads:
    """Seconds that are no steps. Per forward FLOP where the work grows with the model."""

    startup_s: float
    s_per_val_flop: float
    s_per_sample_flop: float
    s_per_sample_image: float  # decoding and writing a picture, however small the model
    s_per_checkpoint: float

    def scaled(self, pace: float) -> Overheads:
        """On a machine that takes `pace` times as long."""
        return Overheads(**{name: pace * seconds for name, seconds in asdict(self).items()})


@dataclass(frozen=True)
class Calibration:
    """What was measured on one machine."""

    machine: str
    shapes: dict[str, Measured] = field(default_factory=dict)
    overheads: dict[str, Overheads] = field(default_factory=dict)  # by Work.model_key
    measured_at: str = ""
    experience: Experience = field(default_factory=Experience)

    def overheads_of(self, work: Work) -> Overheads | None:
        """Of this model where it was measured, else the mean over models, else None."""
        known = list(self.overheads.values())
        if work.model_key in self.overheads or not known:
            return self.overheads.get(work.model_key)
        return Overheads(**{f.name: fmean(getattr(one, f.name) for one in known) for f in fields(Overheads)})


@dataclass(frozen=True)
class Fit:
    """Seconds a step ≈ a + b·FLOPs + c·parameters (the optimiser's part), none below zero; `spread` is relative."""

    coefficients: tuple[float, float, float]
    spread: float

    def seconds(self, work: Work) -> float:
        return sum(c * f for c, f in zip(self.coefficients, _features(work.flops, work.parameters), strict=True))


def fit(calibration: Calibration, kind: tuple[Any, ...]) -> Fit | None:
    """Fit the measured shapes of one kind by least squares of relative errors, or None when there is none."""
    points = [m for m in calibration.shapes.values() if m.kind == kind]
    if not points:
        return None
    best: tuple[float, tuple[float, float, float]] | None = None
    n_features = min(3, len(points))
    for size in range(1, n_features + 1):
        for chosen in itertools.combinations(range(3), size):
            if 1 not in chosen:
                continue  # FLOPs always count
            solved = _least_squares(points, chosen)
            if solved and (best is None or solved[0] < best[0] * 0.95):  # one more term must earn its place
                best = solved
    if best is None:
        return None
    freedom = max(1, len(points) - sum(c > 0 for c in best[1]))
    residual = math.sqrt(best[0] / freedom)
    wandering = median(point.spread for point in points)  # of the machine's speed, which all points share
    return Fit(best[1], max(FIT_SPREAD if len(points) > 1 else 3 * FIT_SPREAD, math.hypot(1.3 * residual, wandering)))


def _features(flops: float, n_parameters: int) -> tuple[float, float, float]:
    return (1.0, flops, float(n_parameters))


def _least_squares(
    points: Sequence[Measured], chosen: tuple[int, ...]
) -> tuple[float, tuple[float, float, float]] | None:
    """(sum of squared relative errors, coefficients), or None when singular or below zero."""
    scale = [max(_features(p.flops, p.parameters)[i] for p in points) for i in chosen]
    rows = [
        [_features(p.flops, p.parameters)[i] / s / p.s_per_step for i, s in zip(chosen, scale, strict=True)]
        for p in points
    ]
    matrix = np.array(rows)
    solved, _, rank, _ = np.linalg.lstsq(matrix, np.ones(len(rows)), rcond=1e-9)
    if rank < len(chosen) or solved.min() < 0:
        return None
    error = float(np.square(1 - matrix @ solved).sum())
    full = [0.0, 0.0, 0.0]
    for i, coefficient, s in zip(chosen, solved, scale, strict=True):
        full[i] = float(coefficient) / s
    return error, (full[0], full[1], full[2])


# ── on disk ─────────────────────────────────────────────────────────────────────────────────────


def machine(hardware: dict[str, Any]) -> str:
    """Name this machine for its calibration: processor, cores and the torch version."""
    try:
        torch = metadata.version("torch")
    except metadata.PackageNotFoundError:
        torch = "none"
    gpus = ", ".join(str(gpu.get("name", gpu)) for gpu in hardware.get("gpus") or [])
    return f"{hardware['cpu']}, {usable_cores()} cores{', ' + gpus if gpus else ''}, torch {torch}"


def usable_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def calibration_file(folder: Path, name: str) -> Path:
    return folder / f"{hashlib.sha256(name.encode()).hexdigest()[:12]}.json"


def read_calibration(folder: Path, name: str) -> Calibration:
    """The stored calibration of the machine called `name`; an empty one when nothing was measured.

    Raises EnvironmentProblem for a damaged file.
    """
    path = calibration_file(folder, name)
    try:
        stored = json.loads(path.read_bytes())
        shapes = {key: Measured(**{**m, "kind": tuple(m["kind"])}) for key, m in stored["shapes"].items()}
        overheads = {key: Overheads(**o) for key, o in stored["overheads"].items()}
        experience = Experience(tuple(map(float, stored.get("experience", {}).get("ratios", ()))))
        return Calibration(name, shapes, overheads, stored["measured_at"], experience)
    except FileNotFoundError:
        return Calibration(name)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise EnvironmentProblem(
            f"{path} is no calibration ({error.__class__.__name__})", "delete it and run `shoestring calibrate`"
        ) from None


def write_calibration(folder: Path, calibration: Calibration) -> Path:
    """Store a calibration; returns its file."""
    path = calibration_file(folder, calibration.machine)
    stored = {"version": CALIBRATION_VERSION, **asdict(calibration)}
    write_atomic(path, json.dumps(stored, indent=1).encode())
    return path


def merged(old: Calibration, new: Calibration) -> Calibration:
    """`new` over `old`: shapes measured again replace, others stay; what runs taught about `old` is forgotten."""
    return Calibration(new.machine, old.shapes | new.shapes, old.overheads | new.overheads, new.measured_at)


def distinct_works(configs: Iterable[TrainConfig]) -> dict[str, Work]:
    """Every different kind of step in `configs`, by key, in order of appearance."""
    found: dict[str, Work] = {}
    for config in configs:
        for work in works(config):
            found.setdefault(work.key, work)
    return found
