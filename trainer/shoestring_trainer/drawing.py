"""The contract of a run that draws: pictures for typed prompts, from one checkpoint of a run that was trained.

A run's `config.json` is a `TrainConfig` or, told apart by `kind`, a `DrawConfig`. The steps of a drawing are its
pictures. Each is drawn alone, so it is a function of checkpoint, prompt, place and seed, and the same after any crash.

samples/step-00001234/meta.json        what is drawn and how, written first; 1234 is the checkpoint's step
                      000.png, …       as they are drawn, each whole or not at all; at the end grid.png
attempts/t0003/metrics.jsonl           a line for each picture, once its file is durable

Importing this module pulls no torch.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from unicodedata import category

from pydantic import Field, model_validator

from shoestring_trainer.config import Compute, Frozen, Price, Samples, TrainConfig
from shoestring_trainer.run_dir import RunDir, checkpoint_id

MAX_PROMPTS, MAX_CHARACTERS = 16, 300


class DrawnFrom(Frozen):
    """A published checkpoint of a run that has ended."""

    run_dir: str = Field(description="absolute folder of the run")
    checkpoint: str = Field(pattern=r"^step-\d{8,18}\.t\d{1,18}$", description="a folder under its checkpoints/")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="of its MANIFEST.json, which has those of its files")

    @property
    def path(self) -> Path:
        return RunDir(Path(self.run_dir)).checkpoints / self.checkpoint

    @property
    def step(self) -> int:
        """Updates that the checkpoint's weights have seen."""
        return checkpoint_id(self.path)[0]


class DrawConfig(Frozen):
    """Pictures to draw, complete: `config.json` of a drawing's folder."""

    kind: Literal["drawing"]
    version: Literal[1] = 1
    name: str
    source: DrawnFrom
    samples: Samples
    compute: Compute = Compute()
    price: Price
    planned_usd_per_picture: float = Field(default=0.0, ge=0, description="starting included")

    @property
    def n_steps(self) -> int:
        """Pictures."""
        return len(self.samples.prompts)

    def planned_usd_at(self, step: int) -> float:
        """Planned dollars once `step` pictures are drawn."""
        return step * self.planned_usd_per_picture

    @model_validator(mode="after")
    def _can_be_drawn(self) -> DrawConfig:
        if problem := fault_of(self.samples.prompts):
            raise ValueError(problem)
        if self.compute.processes > 1:
            raise ValueError(f"compute.processes {self.compute.processes}: pictures are drawn by one process")
        return self


def fault_of(prompts: tuple[str, ...]) -> str:
    """Say what is wrong with typed prompts; "" when they can be drawn."""
    if not 1 <= len(prompts) <= MAX_PROMPTS:
        return f"{len(prompts)} prompts: 1 to {MAX_PROMPTS} can be drawn at once"
    for number, prompt in enumerate(prompts, 1):
        if not prompt.strip():
            return f"prompt {number} is empty"
        if len((prompt + "x").splitlines()) > 1:
            return f"prompt {number} has a line break: each is one line"
        if bad := next((c for c in prompt if category(c) in ("Cc", "Cs")), None):
            return f"prompt {number} has {bad!a} in it, which is no text"
        if len(prompt) > MAX_CHARACTERS:
            return f"prompt {number} has {len(prompt)} characters: at most {MAX_CHARACTERS}"
    return ""


def config_class(values: object) -> type[TrainConfig] | type[DrawConfig]:
    """Which of the two a stored config is, by its `kind`."""
    return DrawConfig if isinstance(values, dict) and values.get("kind") == "drawing" else TrainConfig


def read_either(run_dir: RunDir) -> TrainConfig | DrawConfig:
    """Read `config.json` of any run. Raises FileNotFoundError, pydantic.ValidationError."""
    content = run_dir.config_path.read_bytes()
    try:
        values = json.loads(content)
    except (ValueError, RecursionError):
        values = None  # whose faults the model tells
    return config_class(values).model_validate_json(content)


def manifest_sha256(checkpoint: Path) -> str:
    """The digest that names a checkpoint's content. Raises OSError when it is gone."""
    return hashlib.sha256((checkpoint / "MANIFEST.json").read_bytes()).hexdigest()


# ── what is there already ───────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Kept:
    """What an attempt goes on from: how many pictures, and the bytes of the journal that tells of them."""

    n: int
    journal: Path | None
    offset: int


def kept(run_dir: RunDir) -> Kept:
    """The pictures, from the first one on, that are in the folder and in the newest journal: neither hole nor double.

    One that a crash kept out of the journal is drawn once more, to the same bits.
    """
    journals = list(run_dir.root.glob("attempts/t*/metrics.jsonl"))
    folders = sorted(run_dir.samples.glob("step-*"))
    if not journals or not folders:
        return Kept(0, None, 0)
    newest = max(journals, key=lambda path: int(path.parent.name.removeprefix("t")))
    n = offset = 0
    for line in newest.read_bytes().splitlines(keepends=True):
        whole = line.endswith(b"\n") and line.startswith(b'{"step": %d,' % (n + 1))
        if not whole or not picture(folders[0], n).is_file():
            break
        n, offset = n + 1, offset + len(line)
    return Kept(n, newest, offset)


def picture(folder: Path, index: int) -> Path:
    """The file of one picture of a grid."""
    return folder / f"{index:03d}.png"
