"""What was asked for: one fully defaulted request per experiment, matrix point and seed, and its identity."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeVar

from pydantic import Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError
from shoestring_trainer.config import (
    AdamW,
    Checkpoints,
    Compute,
    DataConfig,
    Edm,
    Evaluate,
    Frozen,
    ModelConfig,
    Objective,
    Optimizer,
    Price,
    Samples,
    Stage,
    TrainConfig,
)

from shoestring.dotted import put
from shoestring.errors import UsageError
from shoestring.json_text import CANONICAL
from shoestring.request_parts import (
    CADENCES,
    UNTIL_LATER,
    USUAL_NOISE,
    Cadence,
    CheckpointsRequest,
    EvaluateRequest,
    Name,
    SamplesRequest,
    Seed,
    StageRequest,
    Steps,
    Until,
    Usd,
)
from shoestring.resources import ANY_MACHINE, Resources

Beside = TypeVar("Beside", Evaluate, Samples, Checkpoints)
# What changes how a run is shown or scheduled, not what it computes.
PRESENTATION = {"name", "experiment", "tags", "notes", "priority", "max_usd", "queue", "resources"}
_COSTS_NOTHING: dict[str, Any] = {
    "name": "", "experiment": "", "tags": (), "notes": "", "priority": 0, "max_usd": None, "queue": "default",
    "resources": ANY_MACHINE, "seed": 0, "code_digest": "", "caption_dropout": 0.0, "ema_decay": 0.0,
}  # fmt: skip


class Recipe(Frozen):
    """What is computed, apart from data, hardware, code and seed."""

    model: ModelConfig
    until: Until
    stages: tuple[StageRequest, ...] = Field(min_length=1, max_length=64)
    batch_size: int = Field(default=16, ge=1, le=1_000_000)
    objective: Objective = Edm(kind="edm")
    optimizer: Optimizer = AdamW(kind="adamw")
    caption_dropout: float = Field(default=0.1, ge=0, lt=1)
    ema_decay: float = Field(default=0.999, ge=0, lt=1)
    evaluate: EvaluateRequest = EvaluateRequest(every_share=0.1)
    samples: SamplesRequest | None = None
    checkpoints: CheckpointsRequest = CheckpointsRequest(every_share=0.25)
    compute: Compute = Compute()

    @model_validator(mode="after")
    def _shares_sum_to_one(self) -> Recipe:
        shares = [stage.share for stage in self.stages]
        if shares == [None]:
            return self
        if None in shares:
            missing = f"stages.{shares.index(None)}"
            raise PydanticCustomError("bad_shares", f"{missing} has no `share`", {"hint": "give every stage a share"})
        total = sum(share for share in shares if share is not None)
        if abs(total - 1) > 1e-6:
            raise PydanticCustomError(
                "bad_shares", f"stages: the shares sum to {total:g}, not 1", {"hint": "make them sum to 1"}
            )
        return self

    @model_validator(mode="after")
    def _until_is_enough(self) -> Recipe:
        steps = self.until.steps
        if self.until.images is not None:
            steps = self.until.images // self.batch_size
        if steps is not None and steps < len(self.stages):
            field = "steps" if self.until.steps else "images"
            message = f"until.{field} {getattr(self.until, field)} is {steps} steps for {len(self.stages)} stage(s)"
            raise PydanticCustomError("invalid_value", "{message}", {"message": message, "hint": "ask for more"})
        return self

    @property
    def shares(self) -> tuple[float, ...]:
        return tuple(1.0 if stage.share is None else stage.share for stage in self.stages)


class Every(Frozen):
    """Cadences in whole steps."""

    evaluate: Steps = 1
    samples: Steps = 1
    checkpoints: Steps = 1


class Request(Recipe):
    """One run as it was asked for, before it is priced. Frozen and complete."""

    name: str  # "deferred-75/s0"
    experiment: Name
    project: Name
    data: DataConfig
    stage_sets: tuple[DataConfig, ...] = ()  # those that stages name
    seed: Seed
    hardware: Name
    code_digest: str
    tags: tuple[str, ...] = ()
    notes: str = ""
    priority: int = 0
    max_usd: Usd | None = None
    queue: Name = "default"
    resources: Resources = ANY_MACHINE

    @model_validator(mode="after")
    def _makes_a_config(self) -> Request:
        try:
            self.probe()
        except ValidationError as error:
            message = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
            part = "samples: " if error.title == "Samples" else ""
            raise PydanticCustomError("does_not_fit", "{message}", {"message": part + message}) from None
        return self

    def probe(self) -> TrainConfig:
        """The training job with one step a stage and no price: what every step of it is like."""
        n = len(self.stages)
        return self.to_config([1] * n, [0.0] * n, Every(), _NO_PRICE)

    def bare(self) -> Request:
        """The request without what changes neither seconds nor dollars: those that are equal then cost the same."""
        return self.model_copy(update={**_COSTS_NOTHING, "stages": tuple(stage.bare() for stage in self.stages)})

    def to_config(self, steps: Sequence[int], usd_per_step: Sequence[float], every: Every, price: Price) -> TrainConfig:
        """The training job with these steps, planned dollars and cadences frozen in."""
        stages = [
            Stage(
                steps=n,
                planned_usd_per_step=usd,
                noise=stage.noise or USUAL_NOISE[self.objective.kind],
                data=next((one for one in self.stage_sets if one.name == stage.data), None),
                **{field: getattr(stage, field) for field in _STAGE},
            )
            for stage, n, usd in zip(self.stages, steps, usd_per_step, strict=True)
        ]
        return TrainConfig(
            name=self.name,
            seed=self.seed,
            data=self.data,
            model=self.model,
            objective=self.objective,
            optimizer=self.optimizer,
            batch_size=self.batch_size,
            caption_dropout=self.caption_dropout,
            ema_decay=self.ema_decay,
            stages=tuple(stages),
            evaluate=_in_steps(Evaluate, self.evaluate, every.evaluate),
            samples=_in_steps(Samples, self.samples, every.samples) if self.samples else None,
            checkpoints=_in_steps(Checkpoints, self.checkpoints, every.checkpoints),
            compute=self.compute,
            price=price,
            until_val_loss=self.until.val_loss,
        )

    def identity(self) -> dict[str, Any]:
        """What makes two requests the same: everything computed, with data by digest; no names, tags, priorities."""
        return json.loads(self._canonical())

    @property
    def spec_hash(self) -> str:
        """Sha256 of the identity's canonical JSON."""
        return hashlib.sha256(self._canonical().encode()).hexdigest()

    def _canonical(self) -> str:
        apart = PRESENTATION | {"until", "data", "stage_sets"}
        texts = {name: CANONICAL.part(value) for name, value in vars(self).items() if name not in apart}
        sets = ",".join(map(_content, self.stage_sets))
        texts |= {"until": _limit(self.until), "data": _content(self.data), "stage_sets": f"[{sets}]"}
        return CANONICAL.mapping(texts)

    def with_param(self, path: str, value: Any) -> Request:
        """The request with the value at a dotted path replaced, validated again. Raises UsageError.

        A part on the way that is null becomes a mapping: `model.experts.count` works on a model without experts.
        """
        return self.with_params({path: value})

    def with_params(self, params: dict[str, Any]) -> Request:
        """`with_param` for several paths at once, validated together."""
        values = self.model_dump()
        for path, value in params.items():
            put(values, path, value)
        try:
            return Request.model_validate(values, strict=True)
        except ValidationError as error:
            from shoestring.faults import explain
            from shoestring.yaml_source import shown

            problem = error.errors(include_url=False)[0]
            code, message, hint = explain(problem)
            where = ".".join(str(p) for p in problem["loc"])
            what = f"{where}: {message}" if where else message
            given = ", ".join(f"{path} = {shown(value)}" for path, value in params.items())
            raise UsageError(f"{given}: {what}", hint, code=code) from None

    def called(self, name: str, **changes: Any) -> Request:
        """The same request under another run name; `experiment`, `tags`, `notes`, `priority` may change too."""
        return self.model_copy(update={"name": name, **changes})


_STAGE = sorted(set(StageRequest.model_fields) - {"share", "noise", "data"})  # what a stage is trained with as written
_NO_PRICE = Price(hardware="none", usd_per_hour=0.0, source="a check of the fields")


@lru_cache(maxsize=1024)
def _content(data: DataConfig) -> str:
    """What a set holds, as canonical JSON: neither where it lies nor what it is called."""
    where = {"path", "name"}
    content = data.model_dump(mode="json", exclude={"path": True, "name": True, "sources": {"__all__": where}})
    return CANONICAL.encode(content)


@lru_cache(maxsize=1024)
def _limit(until: Until) -> str:
    """Where a run ends, as canonical JSON: without the ways to say it that came later and are not used."""
    said = until.model_dump(mode="json")
    return CANONICAL.encode({key: value for key, value in said.items() if key not in UNTIL_LATER or value is not None})


@lru_cache(maxsize=1024)
def _in_steps(kind: type[Beside], asked: Cadence, every_steps: int) -> Beside:
    """What the trainer gets of a thing that is done every so many steps; the same for all who ask the same."""
    return kind(every_steps=every_steps, **asked.model_dump(exclude=set(CADENCES)))
