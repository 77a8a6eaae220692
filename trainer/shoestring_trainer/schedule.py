"""What happens at which step: the learning rate, and when a run reports, evaluates, samples and saves. No torch.

Steps are counted as updates done: "at step s" means after s updates. Each thing happens every so many steps and at
the end: s // every times, once more where the end is no multiple (the planner counts the same).
"""

from __future__ import annotations

import math

from shoestring_trainer.config import TrainConfig

POINTS_A_RUN = 100


def lr_at(config: TrainConfig, step: int) -> float:
    """Give the learning rate of the update `step` → `step` + 1: linear warm-up, then cosine to `cosine_to`·lr."""
    _, stage, first = config.stage_at(step)
    done = step - first
    if done < stage.warmup_steps:
        return stage.lr * (done + 1) / stage.warmup_steps
    span = max(1, stage.steps - stage.warmup_steps)
    phase = 0.5 * (1 + math.cos(math.pi * (done - stage.warmup_steps) / span))  # 1 → 0
    return stage.lr * (stage.cosine_to + (1 - stage.cosine_to) * phase)


def first_step(config: TrainConfig) -> int:
    """Give the step this run begins at: 0, or where another run's checkpoint left off."""
    return config.start.step if config.start else 0


def reports_every(config: TrainConfig) -> int:
    """Give the steps between two train points: about `POINTS_A_RUN` points a run."""
    return max(1, (config.n_steps - first_step(config)) // POINTS_A_RUN)


def reports_at(config: TrainConfig, step: int) -> bool:
    return step == config.n_steps or step % reports_every(config) == 0


def evaluates_at(config: TrainConfig, step: int) -> bool:
    """Whether `val/loss` is measured after `step` updates (step 0 is known without a forward pass)."""
    return step == config.n_steps or step % config.evaluate.every_steps == 0


def samples_at(config: TrainConfig, step: int) -> bool:
    return config.samples is not None and (step == config.n_steps or step % config.samples.every_steps == 0)


def checkpoints_at(config: TrainConfig, step: int) -> bool:
    return step == config.n_steps or step % config.checkpoints.every_steps == 0
