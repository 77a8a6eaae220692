"""What a network is made of and which tokens it sees: the parts of the contract that FLOPs depend on. No torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Frozen(BaseModel):
    """A value: immutable, and a field it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


# ── masks ───────────────────────────────────────────────────────────────────────────────────────
# `kind` has no default on purpose: dumping without defaults would drop it, and two masks would hash alike.


class NoMask(Frozen):
    """Every token is trained on."""

    kind: Literal["none"]

    def tokens_kept(self, n_tokens: int) -> int:
        """How many of `n_tokens` are kept: all."""
        return n_tokens


class RandomMask(Frozen):
    """A uniform random subset of the tokens is kept, per image (MicroDiT §3).

    `place` says where the others leave: `deferred` after the patch-mixer, `naive` before it.
    """

    kind: Literal["random"]
    ratio: float = Field(ge=0.0, lt=1.0, description="fraction of tokens dropped")
    place: Literal["deferred", "naive"] = "deferred"

    def tokens_kept(self, n_tokens: int) -> int:
        """int(T·(1−r)), at least 1; the only place where this is rounded."""
        return max(1, int(n_tokens * (1.0 - self.ratio) + 1e-9))


Mask = Annotated[NoMask | RandomMask, Field(discriminator="kind")]


# ── model ───────────────────────────────────────────────────────────────────────────────────────


class Experts(Frozen):
    """Expert-choice mixture of experts in every `every`-th block (never the last backbone block)."""

    count: int = Field(ge=1, le=256)
    capacity: float = Field(default=2.0, gt=0, le=64)
    every: int = Field(default=2, ge=1)


class ModelConfig(Frozen):
    """The masked DiT's shape (MicroDiT §3; recipe table 'Architecture')."""

    dim: int = Field(ge=8, le=16384)
    depth: int = Field(ge=1, le=256)
    head_dim: int = Field(default=32, ge=4, le=512)
    multiple_of: int = Field(default=64, ge=1, le=4096, description="FFN widths are rounded up to this")
    patch: int = Field(default=1, ge=1, le=64)
    mixer_depth: int = Field(default=2, ge=0, le=64)
    mixer_dim: int = Field(ge=8, le=16384)
    qkv_ratio: tuple[float, float] = (0.5, 1.0)
    mlp_ratio: tuple[float, float] = (0.5, 4.0)
    experts: Experts | None = None
    pos_scale: float = Field(default=1.0, gt=0)
    merge: int = Field(default=1, ge=1, le=8, description="side of the square of tokens that the backbone sees as one")
    tail_depth: int = Field(default=0, ge=0, le=64, description="blocks as the mixer's after a backbone that merges")
    conv: bool = Field(default=False, description="every block begins with a 3×3 convolution of each channel")
    mixer_attention: bool = Field(default=True, description="tokens in the mixer and the tail attend to each other")

    @property
    def whole_grid(self) -> bool:
        """Whether it needs every token of an image, so that no mask fits it."""
        return self.merge > 1 or self.conv

    @model_validator(mode="after")
    def _merged_is_split(self) -> ModelConfig:
        if (self.merge > 1) != (self.tail_depth > 0):
            raise ValueError(
                f"merge {self.merge} with tail_depth {self.tail_depth}: what the backbone merges, blocks after it see "
                "whole again; give both (merge: 2, tail_depth: 2) or neither"
            )
        if not self.mixer_attention and not (self.conv and self.merge > 1):
            raise ValueError(
                "mixer_attention false: without it tokens meet in convolutions and in the merged backbone only; give "
                "conv: true and merge: 2, or leave it out"
            )
        if self.merge > 1 and not self.mixer_depth:
            raise ValueError(f"merge {self.merge} needs a mixer before it; mixer_depth is 0")
        return self

    @model_validator(mode="after")
    def _heads_divide_widths(self) -> ModelConfig:
        for name in ("dim", "mixer_dim"):
            width = getattr(self, name)
            if width % self.head_dim:
                raise ValueError(
                    f"{name} {width} is not a multiple of head_dim {self.head_dim}; "
                    f"use {width // self.head_dim * self.head_dim or self.head_dim}"
                )
        for name in ("qkv_ratio", "mlp_ratio"):
            low, high = getattr(self, name)
            if not 0 < low <= 16 or not 0 < high <= 16:
                raise ValueError(f"{name} {(low, high)}: both ends must be in (0, 16]")
        return self
