"""Parts of what is asked for: names and amounts, where a run ends, how often things are done, stages."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError
from shoestring_trainer.config import MAX_STEPS, Frozen, LogNormal, Mask, Sampler

NAME = r"^[a-z0-9][a-z0-9._-]{0,63}$"
Name = Annotated[str, StringConstraints(pattern=NAME)]
Usd = Annotated[float, Field(gt=0, le=1e9)]
Steps = Annotated[int, Field(ge=1, le=MAX_STEPS)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]

UNTIL = ("usd", "steps", "images", "hours", "flops")
UNTIL_LATER = ("hours", "flops", "val_loss")  # came later: what does not write them keeps its hash
CADENCES = ("every_usd", "every_steps", "every_share")


def _exactly_one(values: Frozen, names: tuple[str, ...]) -> None:
    given = [name for name in names if getattr(values, name) is not None]
    if len(given) != 1:
        have = " and ".join(given) or "none of them"
        hint = f"write exactly one of {', '.join(names)}"
        raise PydanticCustomError("not_exactly_one", f"{have} {'are' if given else 'is'} given", {"hint": hint})


class Until(Frozen):
    """Where a run ends: exactly one limit, which becomes whole steps when it is planned, and `val_loss` if wanted."""

    usd: Usd | None = Field(default=None, description="planned dollars, overheads included")
    steps: Steps | None = Field(default=None, description="optimiser updates")
    images: int | None = Field(
        default=None, ge=1, le=10**15, description="training samples; rounded down to whole steps"
    )
    hours: float | None = Field(default=None, gt=0, le=1e6, description="planned hours on the wall, overheads included")
    flops: float | None = Field(
        default=None, gt=0, le=1e30, description="training FLOPs, forward and backward; rounded down to whole steps"
    )
    val_loss: float | None = Field(
        default=None, gt=0, le=1e9, description="ends at the first evaluation whose `val/loss` is at most this"
    )

    @model_validator(mode="after")
    def _one(self) -> Until:
        _exactly_one(self, UNTIL)
        return self


class Cadence(Frozen):
    """How often: every so many planned dollars, steps, or this share of the run."""

    every_usd: Usd | None = None
    every_steps: Steps | None = None
    every_share: float | None = Field(default=None, gt=0, le=1, description="1 = at the end only")

    @model_validator(mode="after")
    def _one(self) -> Cadence:
        _exactly_one(self, CADENCES)
        return self


class EvaluateRequest(Cadence):
    """`val/loss` on fixed noise, every token present."""

    n_images: int = Field(default=128, ge=1, le=1_000_000)
    sigmas: tuple[Annotated[float, Field(gt=0, le=1000)], ...] = Field(default=(0.2, 0.5, 1.0, 2.0, 5.0), min_length=1)


class SamplesRequest(Cadence):
    """A seeded grid of pictures, one per prompt."""

    prompts: tuple[Annotated[str, StringConstraints(min_length=1, max_length=500)], ...] = Field(
        min_length=1, max_length=64, description="a list, or a text file under the project with one prompt a line"
    )
    sampler: Sampler = "dpmpp2m"
    n_steps: int = Field(default=10, ge=1, le=1000)
    guidance: float = Field(default=3.0, ge=0, le=100)
    guidance_interval: tuple[float, float] | None = Field(
        default=None, description="noise levels σ, low and high, between which guidance acts; everywhere without it"
    )
    seed: Seed = 0
    seeds: tuple[Seed, ...] | None = Field(default=None, description="one for each prompt, instead of `seed`")


class CheckpointsRequest(Cadence):
    """Published checkpoints; the last `keep_last` are kept."""

    keep_last: int = Field(default=2, ge=1, le=100)


class StageRequest(Frozen):
    """Consecutive steps with one mask; `share` of what `until` counts: dollars, hours, steps, images or FLOPs."""

    share: float | None = Field(default=None, gt=0, le=1, description="all shares sum to 1; a single stage needs none")
    mask: Mask
    data: Name | None = Field(default=None, description="another resolution of the file's `data`, for this stage")
    lr: float = Field(gt=0, le=10)
    warmup_steps: int = Field(default=0, ge=0, le=MAX_STEPS)
    cosine_to: float = Field(default=1.0, gt=0, le=1)
    grad_clip: float = Field(default=0.25, gt=0, le=1e9)
    noise: LogNormal | None = Field(
        default=None, description="ln σ ~ N(p_mean, p_std²); default −0.6, 1.2 for edm and 0, 1 for flow"
    )

    def bare(self) -> StageRequest:
        """The stage without what changes neither seconds nor dollars."""
        usual = {"lr": 1.0, "warmup_steps": 0, "cosine_to": 1.0, "grad_clip": 0.25, "noise": None}
        return self.model_copy(update=usual)


USUAL_NOISE = {"edm": LogNormal(), "flow": LogNormal(p_mean=0.0, p_std=1.0)}  # the papers' own
