"""The two recipes that `benchmarks/quality.py` compares, and how a recipe becomes a training job of so many steps.

Both train on the same latents and captions. `PAPER` is MicroDiT's (arXiv 2407.15811, its table 1 and public code) at a
size that two cores can train; only its learning rate and batch were chosen here.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shoestring_trainer.config import DataConfig, TrainConfig


@dataclass(frozen=True)
class Recipe:
    """What a training job is made from: `settings` by dotted path, `stages` with their share of the steps.

    `caption_tokens`: captions are padded with zeros to so many tokens, which are attended to and averaged, as the
    public code does; None: captions keep their true length.
    """

    name: str
    settings: Mapping[str, Any]
    stages: Sequence[Mapping[str, Any]]
    caption_tokens: int | None = None

    def changed(self, changes: Mapping[str, Any]) -> Recipe:
        """The same recipe with some settings replaced; `stages.0.lr` and `caption_tokens` are settings too."""
        own: dict[str, Any] = dict(self.settings)
        stages = [copy.deepcopy(dict(stage)) for stage in self.stages]
        caption_tokens = self.caption_tokens
        for path, value in changes.items():
            head, _, rest = path.partition(".")
            if path == "caption_tokens":
                caption_tokens = value
            elif path == "stages":
                stages = [dict(stage) for stage in value]
            elif head == "stages":
                number, _, field = rest.partition(".")
                for stage in stages if number == "*" else [stages[int(number)]]:
                    stage[field] = value
            else:
                own[path] = value
        return Recipe(self.name, own, stages, caption_tokens)

    def job(self, data: DataConfig, seed: int, steps: Sequence[int]) -> TrainConfig:
        """The training job with so many steps in each stage; warm-ups are shares of their stage."""
        stages = []
        for stage, n in zip(self.stages, steps, strict=True):
            fields = {k: v for k, v in stage.items() if k not in ("share", "warmup")}
            stages.append({**fields, "steps": n, "warmup_steps": min(n, round(stage.get("warmup", 0) * n))})
        total = sum(steps)
        values: dict[str, Any] = {
            "name": self.name, "seed": seed, "data": data.model_dump(), "stages": stages,
            "evaluate": {"every_steps": total}, "checkpoints": {"every_steps": total},
            "price": {"hardware": "this-machine", "usd_per_hour": 0.0, "source": "none: CPU-seconds are compared"},
        }  # fmt: skip
        for path, value in self.settings.items():
            _put(values, path, value)
        return TrainConfig.model_validate(values)


def parsed(change: str) -> tuple[str, Any]:
    """Cut PATH=JSON; what is no JSON is a word."""
    path, _, text = change.partition("=")
    try:
        return path, json.loads(text)
    except json.JSONDecodeError:
        return path, text


def _put(values: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
    values[last] = value


EXPERTS = {"count": 8, "capacity": 2.0, "every": 2}
PAPER = Recipe(
    "paper",
    {
        "model.dim": 192, "model.depth": 6, "model.head_dim": 32, "model.multiple_of": 64, "model.patch": 1,
        "model.mixer_depth": 2, "model.mixer_dim": 128, "model.experts": EXPERTS,
        "objective": {"kind": "edm", "sigma_data": 0.9},
        "optimizer": {"kind": "adamw", "betas": [0.9, 0.999], "weight_decay": 0.1, "decay": "all"},
        "batch_size": 16, "caption_dropout": 0.1, "ema_decay": 0.999,
    },
    [  # stages 1 and 2: 250,000 and 30,000 of the paper's steps
        {
            "share": 250 / 280, "mask": {"kind": "random", "ratio": 0.75, "place": "deferred"}, "lr": 1e-3,
            "warmup": 0.01, "cosine_to": 0.33, "grad_clip": 0.25, "noise": {"p_mean": -0.6, "p_std": 1.2},
        },
        {
            "share": 30 / 280, "mask": {"kind": "none"}, "lr": 3.3e-4,
            "cosine_to": 1.0, "grad_clip": 0.25, "noise": {"p_mean": -0.6, "p_std": 1.2},
        },
    ],
    caption_tokens=77,
)  # fmt: skip
OURS = Recipe(
    "ours",
    {
        **PAPER.settings,
        "model.experts": None, "model.merge": 2, "model.tail_depth": 2, "model.conv": True,
        "model.mixer_attention": False,
        "objective": {"kind": "edm", "sigma_data": 1.0},
        "optimizer": {"kind": "adamw", "betas": [0.9, 0.999], "weight_decay": 0.1, "decay": "matrices"},
        "ema_decay": 0.998,
    },
    [
        {
            "share": 1.0, "mask": {"kind": "none"}, "lr": 2e-3, "warmup": 0.02, "cosine_to": 0.02, "grad_clip": 1.0,
            "noise": {"p_mean": 0.0, "p_std": 1.0, "spread": True},
        },
    ],
)  # fmt: skip
RECIPES = {recipe.name: recipe for recipe in (PAPER, OURS)}
