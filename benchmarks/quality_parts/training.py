"""Train a recipe for so many CPU-seconds in this process, and say how good it was on the way.

CPU-seconds are `time.process_time()`: of all threads of this process, so that what else runs on the machine hardly
counts. Evaluation is not in them; reading, drawing noise, the optimiser and the average are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch.nn.functional as F
from quality_parts.recipes import Recipe
from shoestring_trainer.config import DataConfig, Evaluate
from shoestring_trainer.data import DataSet
from shoestring_trainer.diffusion import Denoiser
from shoestring_trainer.masking import Keep
from shoestring_trainer.model import Captions
from shoestring_trainer.step import Training, build
from shoestring_trainer.val_loss import ValLoss
from torch import Tensor, nn

EVALUATE = Evaluate(every_steps=1, n_images=256)
WARM_STEPS, TIMED_STEPS = 2, 8


@dataclass(frozen=True)
class Point:
    """One evaluation on the way: CPU-seconds of training before it, images seen, the losses."""

    cpu_s: float
    step: int
    images: int
    losses: dict[str, float]


@dataclass(frozen=True)
class Trained:
    """A finished training: its curve, and the denoiser with its last averages."""

    training: Training
    denoiser: Denoiser
    points: list[Point]

    def record(self) -> dict:
        """What is kept of it: plain values."""
        config, last = self.training.config, self.points[-1]
        return {
            "name": config.name, "seed": config.seed, "steps": last.step, "images": last.images,
            "cpu_s": last.cpu_s, "parameters": sum(p.numel() for p in self.training.net.parameters()),
            "points": [asdict(point) for point in self.points],
        }  # fmt: skip


class Padded(nn.Module):
    """A network whose captions are padded with zeros to `tokens`; the padding counts as words (the public code)."""

    def __init__(self, net: nn.Module, tokens: int) -> None:
        super().__init__()
        self.net, self.tokens = net, tokens

    def forward(self, x: Tensor, c_noise: Tensor, captions: Captions, keep: Keep | None = None) -> Tensor:
        """As `DiT.forward`."""
        states = F.pad(captions.states, (0, 0, 0, self.tokens - captions.states.shape[1]))  # (B, tokens, Dc)
        return self.net(x, c_noise, Captions(states), keep)


def prepared(recipe: Recipe, data: DataConfig, seed: int, steps: Sequence[int]) -> Training:
    """The training at step 0, with padded captions where the recipe has them."""
    training = build(recipe.job(data, seed, steps))
    return replace(training, denoiser=with_padding(recipe, training.denoiser))


def with_padding(recipe: Recipe, denoiser: Denoiser) -> Denoiser:
    """The denoiser as the recipe uses it: captions padded, or left as they are."""
    if recipe.caption_tokens is None:
        return denoiser
    return replace(denoiser, net=Padded(denoiser.net, recipe.caption_tokens))


def step_seconds(recipe: Recipe, data: DataConfig, seed: int) -> list[float]:
    """CPU-seconds of a step in each stage, measured on a few."""
    n = WARM_STEPS + TIMED_STEPS
    training = prepared(recipe, data, seed, [n] * len(recipe.stages))
    found = []
    for index in range(len(recipe.stages)):
        for step in range(index * n, index * n + WARM_STEPS):
            training.update(step)
        began = time.process_time()
        for step in range(index * n + WARM_STEPS, (index + 1) * n):
            training.update(step)
        found.append((time.process_time() - began) / TIMED_STEPS)
    return found


def steps_for(recipe: Recipe, seconds: Sequence[float], budget_s: float) -> list[int]:
    """How many steps of each stage `budget_s` CPU-seconds buy, in the recipe's shares."""
    shares = [stage["share"] for stage in recipe.stages]
    total = budget_s / sum(share * s for share, s in zip(shares, seconds, strict=True))
    return [max(1, round(share * total)) for share in shares]


def train(
    recipe: Recipe, data: Path, seed: int, budget_s: float, evaluations: int = 10, tick: Callable[[Point], None] = print
) -> Trained:
    """Train for about `budget_s` CPU-seconds, evaluated so many times, the last at the end."""
    described = DataSet.open(data).data_config()
    steps = steps_for(recipe, step_seconds(recipe, described, seed), budget_s)
    training = prepared(recipe, described, seed, steps)
    total, main = sum(steps), training.mixtures[0].main
    val = ValLoss(main, EVALUATE, training.accelerator.device)
    at = sorted({round(total * (i + 1) / evaluations) for i in range(evaluations)} - {0})
    points, spent = [], 0.0
    began = time.process_time()
    for step in range(total):
        training.update(step)
        if step + 1 in at:
            spent += time.process_time() - began
            losses = val(with_padding(recipe, training.evaluator()).denoise)
            points.append(Point(spent, step + 1, (step + 1) * training.config.batch_size, losses))
            tick(points[-1])
            began = time.process_time()
    return Trained(training, with_padding(recipe, training.evaluator()), points)
