"""The contract: everything a training job is, and nothing else describes it.

The platform builds a `TrainConfig`, the database stores it as JSON, the trainer reads it back from
`config.json`. Importing this module pulls no torch.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from shoestring_trainer.network import Experts as Experts
from shoestring_trainer.network import Frozen, Mask, ModelConfig, RandomMask
from shoestring_trainer.network import NoMask as NoMask

CONFIG_VERSION: Literal[1] = 1
MAX_STEPS = 10**9


# ── data ────────────────────────────────────────────────────────────────────────────────────────


Side = Annotated[int, Field(ge=1, le=1 << 16)]


class Source(Frozen):
    """One of several encoded sets that are drawn from together."""

    path: str
    name: str
    digest: str
    n_train: int = Field(ge=1)
    weight: float = Field(default=1.0, gt=0, description="its share of the images is this over the sum of all")
    origin: Literal["real", "synthetic"] = "real"


class DataConfig(Frozen):
    """One encoded data set: a folder with `manifest.json`; these facts are copied from the manifest.

    With `sources` it stands for all of them: path, validation and prompts are the first one's, `digest` covers all,
    `n_train` and `caption_tokens` are of all together. They share shape, space and encoders.
    """

    path: str = Field(description="absolute folder of the encoded set")
    name: str
    digest: str = Field(description="sha256 of pixels, captions and encoders")
    space: Literal["latents", "pixels"]
    shape: tuple[Side, Side, Side] = Field(description="C, H, W of one training sample")
    size_px: int = Field(ge=4, description="pixels of the longer side once decoded")
    n_train: int = Field(ge=1)
    caption_dim: int = Field(ge=1)
    caption_tokens: float = Field(gt=0, description="mean true caption length, in tokens")
    sources: tuple[Source, ...] = Field(default=(), description="empty: the one set itself")


# ── objective, optimiser, stages ────────────────────────────────────────────────────────────────


class Edm(Frozen):
    """EDM preconditioning and loss weight (arXiv 2206.00364, table 1)."""

    kind: Literal["edm"]
    sigma_data: float = Field(default=0.9, gt=0)


class Flow(Frozen):
    """Flow matching on straight paths (arXiv 2209.03003): x_t = (1 − t)·x0 + t·noise, the network predicts noise − x0.

    t = σ/(1 + σ), so a stage's `noise` is the logit-normal t of arXiv 2403.03206: ln σ = logit t ~ N(p_mean, p_std²),
    (0, 1) there. Its time shift by resolution s is p_mean + ln s, and at sampling σ·s.
    """

    kind: Literal["flow"]
    shift: float = Field(default=1.0, gt=0, le=100, description="time shift: noise levels in training and sampling × s")


Objective = Annotated[Edm | Flow, Field(discriminator="kind")]


class LogNormal(Frozen):
    """ln σ ~ N(p_mean, p_std²): the noise levels trained on."""

    p_mean: float = -0.6
    p_std: float = Field(default=1.2, gt=0)
    spread: bool = Field(default=False, description="one level from each of as many equal parts as the batch is large")


class AdamW(Frozen):
    """Decoupled weight decay Adam; the learning rate belongs to the stage."""

    kind: Literal["adamw"]
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = Field(default=1e-8, gt=0)
    weight_decay: float = Field(default=0.1, ge=0)
    decay: Literal["matrices", "all"] = Field(
        default="matrices", description="`all` is the paper's: norms and biases too"
    )


class Muon(Frozen):
    """Momentum made orthogonal for the matrices of the blocks (kellerjordan.github.io/posts/muon), AdamW for the rest.

    Updates are scaled to AdamW's size (arXiv 2502.16982, equation 4), so that one learning rate serves both.
    """

    kind: Literal["muon"]
    momentum: float = Field(default=0.95, ge=0, lt=1)
    newton_schulz_steps: int = Field(default=5, ge=1, le=20)
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = Field(default=1e-8, gt=0)
    weight_decay: float = Field(default=0.1, ge=0)


Optimizer = Annotated[AdamW | Muon, Field(discriminator="kind")]


class Stage(Frozen):
    """Consecutive steps with the same mask; K is constant within it, so its cost is exact."""

    steps: int = Field(ge=1, le=MAX_STEPS)
    mask: Mask
    data: DataConfig | None = Field(default=None, description="another resolution; the run's own set without it")
    lr: float = Field(gt=0, le=10)
    warmup_steps: int = Field(default=0, ge=0, le=MAX_STEPS)
    cosine_to: float = Field(default=1.0, gt=0, le=1, description="lr at the end / lr; 1 = constant")
    grad_clip: float = Field(default=0.25, gt=0)
    noise: LogNormal = LogNormal()
    planned_usd_per_step: float = Field(
        default=0.0, ge=0, description="this stage's share of the run's planned dollars, overheads spread over steps"
    )


# ── what happens along the way ──────────────────────────────────────────────────────────────────


class Evaluate(Frozen):
    """`val/loss`: error of the predicted clean sample at fixed noise levels, every token present, EMA weights."""

    every_steps: int = Field(ge=1, le=MAX_STEPS)
    n_images: int = Field(default=128, ge=1)
    sigmas: tuple[float, ...] = (0.2, 0.5, 1.0, 2.0, 5.0)


Sampler = Literal["heun", "dpmpp2m", "euler"]


class Samples(Frozen):
    """A seeded grid of `prompts`, drawn with EMA weights."""

    every_steps: int = Field(ge=1, le=MAX_STEPS)
    prompts: tuple[str, ...] = Field(min_length=1, max_length=64)
    sampler: Sampler = "dpmpp2m"
    n_steps: int = Field(default=10, ge=1, le=1000)
    guidance: float = Field(default=3.0, ge=0, le=100)
    guidance_interval: tuple[float, float] | None = Field(
        default=None, description="σ from low to high where guidance acts (arXiv 2404.07724); everywhere without it"
    )
    seed: int = Field(default=0, ge=0, lt=2**63)
    seeds: tuple[int, ...] | None = Field(default=None, description="one for each prompt, instead of `seed`")

    @model_validator(mode="after")
    def _fits(self) -> Samples:
        if self.guidance_interval and not 0 <= self.guidance_interval[0] < self.guidance_interval[1]:
            raise ValueError(f"guidance_interval {self.guidance_interval}: low must be below high, and not below 0")
        if self.seeds is not None and len(self.seeds) != len(self.prompts):
            raise ValueError(f"{len(self.seeds)} seeds for {len(self.prompts)} prompts: give one seed a prompt")
        return self

    def alone(self, index: int) -> Samples:
        """One of the prompts, with its own seed where each has one."""
        seeds = self.seeds and (self.seeds[index],)
        return self.model_copy(update={"prompts": (self.prompts[index],), "seeds": seeds})


class Checkpoints(Frozen):
    """Published every so many steps and at the end; the last `keep_last` are kept."""

    every_steps: int = Field(ge=1, le=MAX_STEPS)
    keep_last: int = Field(default=2, ge=1, le=100)


class Compute(Frozen):
    """Where and how the steps are computed."""

    device: Literal["cpu", "cuda", "mps"] = "cpu"
    processes: int = Field(default=1, ge=1, le=1024)
    precision: Literal["fp32", "bf16"] = "fp32"
    compile: bool | Literal["aot_eager"] = Field(
        default=False, description="by inductor; aot_eager makes the same graphs and no code: to see that there is one"
    )
    accumulate: int = Field(default=1, ge=1, le=4096, description="parts a process cuts its batch into, one at a time")
    recompute: bool = Field(default=False, description="blocks compute their activations again instead of keeping them")


class Price(Frozen):
    """The price row this run is charged under."""

    hardware: str
    usd_per_hour: float = Field(ge=0)
    source: str


class Start(Frozen):
    """Continue another run's checkpoint: weights, EMA, optimiser and step counter carry on.

    `stages` of the new run must begin with the stages already trained.
    """

    checkpoint: str = Field(description="absolute folder of a published checkpoint")
    step: int = Field(ge=1)


class TrainConfig(Frozen):
    """One training job, complete: `config.json` of a run folder."""

    version: Literal[1] = CONFIG_VERSION
    name: str
    seed: int = Field(ge=0, lt=2**63)
    data: DataConfig
    model: ModelConfig
    objective: Objective
    optimizer: Optimizer
    batch_size: int = Field(ge=1, le=1_000_000, description="global batch, all processes together")
    caption_dropout: float = Field(default=0.1, ge=0, lt=1)
    ema_decay: float = Field(default=0.999, ge=0, lt=1)
    stages: tuple[Stage, ...] = Field(min_length=1, max_length=64)
    evaluate: Evaluate
    samples: Samples | None = None
    checkpoints: Checkpoints
    compute: Compute = Compute()
    price: Price
    start: Start | None = None
    until_val_loss: float | None = Field(
        default=None, gt=0, description="ends at the first evaluation whose `val/loss` is at most this"
    )

    @property
    def n_steps(self) -> int:
        """Optimiser updates from step 0, all stages."""
        return sum(stage.steps for stage in self.stages)

    @property
    def n_tokens(self) -> int:
        """T: tokens an image of the run's own set has before masking."""
        return self._tokens(self.data)

    def n_tokens_at(self, index: int) -> int:
        """T in stage `index`."""
        return self._tokens(self.data_at(index))

    def data_at(self, index: int) -> DataConfig:
        """The set that stage `index` trains on."""
        return self.stages[index].data or self.data

    def model_at(self, index: int) -> ModelConfig:
        """The model in stage `index`: positions are stretched by as much as the sides grew, as MicroDiT's."""
        growth = self.data_at(index).shape[1] / self.data.shape[1]
        return self.model.model_copy(update={"pos_scale": self.model.pos_scale * growth})

    def _tokens(self, data: DataConfig) -> int:
        _, height, width = data.shape
        return (height // self.model.patch) * (width // self.model.patch)

    def stage_at(self, step: int) -> tuple[int, Stage, int]:
        """(index, stage, first step of it) for the update that makes `step` → `step` + 1."""
        first = 0
        for index, stage in enumerate(self.stages):
            if step < first + stage.steps:
                return index, stage, first
            first += stage.steps
        raise IndexError(f"step {step} is past the last step {first - 1}")

    def planned_usd_at(self, step: int) -> float:
        """Planned dollars once `step` updates are done: the x-axis of comparisons at equal dollars."""
        usd, first = 0.0, 0
        for stage in self.stages:
            usd += stage.planned_usd_per_step * min(max(step - first, 0), stage.steps)
            first += stage.steps
        return usd

    @model_validator(mode="after")
    def _pieces_fit(self) -> TrainConfig:
        patch, square = self.model.patch, self.model.patch * self.model.merge
        for data in (self.data, *(stage.data for stage in self.stages if stage.data)):
            _, height, width = data.shape
            if height % square or width % square:
                what = f"model.patch {patch}" + (f" × model.merge {self.model.merge}" if square > patch else "")
                raise ValueError(f"{what} does not divide the sample's {height}×{width}")
        parts = self.compute.processes * self.compute.accumulate
        if self.batch_size % parts:
            raise ValueError(
                f"batch_size {self.batch_size} is not divisible by {parts} "
                f"(compute.processes {self.compute.processes} × compute.accumulate {self.compute.accumulate})"
            )
        for index, stage in enumerate(self.stages):
            n_tokens = self.n_tokens_at(index)
            if isinstance(stage.mask, RandomMask) and n_tokens * (1 - stage.mask.ratio) < 1 - 1e-9:
                raise ValueError(f"stages.{index}.mask.ratio {stage.mask.ratio} keeps no token of {n_tokens}")
            if self.model.whole_grid and isinstance(stage.mask, RandomMask):
                raise ValueError(
                    f"stages.{index}.mask drops tokens, and a model with merge or conv needs the whole grid; "
                    "use mask: {kind: none}"
                )
            if problem := _another_kind(self.data, self.data_at(index)):
                raise ValueError(f"stages.{index}.data: {problem}")
        if self.compute.precision == "bf16" and self.compute.device == "mps":
            raise ValueError("compute.precision bf16 is not offered on mps; use fp32")
        return self


def _another_kind(data: DataConfig, other: DataConfig) -> str:
    """Why `other` is no other resolution of `data`; "" when it is one."""
    for what in ("space", "caption_dim"):
        if getattr(data, what) != getattr(other, what):
            return f"{other.name} has {what} {getattr(other, what)}, {data.name} has {getattr(data, what)}"
    (channels, height, width), (c, h, w) = data.shape, other.shape
    if c != channels or h * width != w * height:
        return f"{other.name} has shape {c}×{h}×{w}, no multiple of {data.name}'s {channels}×{height}×{width}"
    return ""
