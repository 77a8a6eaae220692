"""A drawing, before anything runs: typed prompts and a finished run become a priced, frozen DrawConfig."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from shoestring_trainer.config import Compute, Samples, TrainConfig
from shoestring_trainer.drawing import DrawConfig, DrawnFrom, fault_of, manifest_sha256
from shoestring_trainer.flops import forward_flops, forwards_per_picture
from shoestring_trainer.run_dir import RunDir

from shoestring.calibration import works
from shoestring.cost import Costs, How, full_work
from shoestring.errors import Conflict, EnvironmentProblem, UsageError
from shoestring.home import Home
from shoestring.plan import costs_of
from shoestring.prices import read_prices
from shoestring.provenance import code_digest
from shoestring.ranges import Range
from shoestring.records import DRAWING, Run

ENDED = ("succeeded", "failed", "cancelled")


@dataclass(frozen=True)
class Order:
    """What to draw and how; solver and guidance interval are those of the run's own samples."""

    prompts: tuple[str, ...]
    seed: int = 0
    n_steps: int = 20
    guidance: float = 3.0


@dataclass(frozen=True)
class DrawPlan:
    """A drawing, priced. `run` is the one that it draws from, `config` what the trainer gets."""

    run: Run
    config: DrawConfig
    spec_hash: str
    seconds: Range
    usd: Range
    flop: float
    how: How
    note: str  # the calibration in words

    @property
    def spec(self) -> dict[str, Any]:
        """What was asked for."""
        samples = self.config.samples.model_dump(mode="json", include={"prompts", "seed", "n_steps", "guidance"})
        source = self.config.source
        return {"drawing": {"run": self.run.id, "name": self.run.name, "checkpoint": source.checkpoint, **samples}}

    def as_json(self) -> dict[str, Any]:
        """Everything but the config, which is stored beside it."""
        told = {"seconds": asdict(self.seconds), "usd": asdict(self.usd), "flop": self.flop, "how": self.how}
        price = self.config.price
        return {**told, "note": self.note, "hardware": price.hardware, "usd_per_hour": price.usd_per_hour}


def trained(run: Run) -> Run:
    """The run, when it has weights of its own. Raises Conflict for a drawing."""
    if run.kind == DRAWING:
        raise Conflict(f"run {run.id} is a drawing: it has no weights", f"name the run that it draws from: {_of(run)}")
    return run


def plan_drawing(home: Home, run: Run, order: Order) -> DrawPlan:
    """Price pictures of the newest checkpoint of a run that has ended.

    Raises UsageError for what cannot be drawn, Conflict for a run without a checkpoint or whose checkpoints still
    change, EnvironmentProblem for one that cannot be read.
    """
    trained(run)
    prompts = tuple(prompt.strip() for prompt in order.prompts)
    if problem := fault_of(prompts):
        raise UsageError(problem, 'one line each: --prompt "a red apple"')
    source = _source(run)
    try:
        config = TrainConfig.model_validate(run.config)
    except ValidationError as error:
        why = run.unreadable or f"{error.error_count()} faults in its config"
        raise EnvironmentProblem(f"run {run.id} cannot be read: {why}", "submit its experiment again") from None
    samples = _samples(config, order, prompts)
    costs = _costs(home, config)
    estimate = costs.drawing(config, source.step, samples)
    seconds = Range(estimate.low, 1.0, estimate.high).times(estimate.value)
    usd = seconds.times(costs.row.usd_per_hour / 3600)
    draw = DrawConfig(
        kind="drawing",
        name=f"drawing/{run.name.replace('/', '-')}",
        source=source,
        samples=samples,
        compute=Compute(device=costs.row.device),
        price=costs.price,
        planned_usd_per_picture=usd.p50 / len(prompts),
    )
    full = full_work(works(config))
    parts = forward_flops(full.model, full.data.shape, full.data.caption_tokens, full.mask, full.data.caption_dim)
    flop = len(prompts) * forwards_per_picture(samples.sampler, samples.n_steps, samples.guidance) * sum(parts.values())
    note = "fitted to this machine's calibration" if estimate.how == "fitted" else costs.assumption("fp32")
    return DrawPlan(run, draw, _hash(run, draw), seconds, usd, flop, estimate.how, note)


def _source(run: Run) -> DrawnFrom:
    """The newest checkpoint, named by its content. Raises Conflict."""
    published = RunDir(Path(run.run_dir)).published()
    if not published and run.state in ENDED:
        raise Conflict(f"run {run.id} has no checkpoint", f"it is {run.state}: shoestring retry {run.id}")
    if not published:
        raise Conflict(f"run {run.id} has no checkpoint yet", f"train it first: shoestring work (it is {run.state})")
    if run.state not in ENDED:
        hint = f"wait for its end, or draw at once: shoestring sample {run.id} --prompt …"
        raise Conflict(f"run {run.id} is {run.state}: its checkpoints still change", hint)
    newest = published[0].resolve()
    try:
        return DrawnFrom(run_dir=str(newest.parents[1]), checkpoint=newest.name, sha256=manifest_sha256(newest))
    except OSError as error:
        raise Conflict(f"{newest} cannot be read: {error.strerror}", f"shoestring status {run.id}") from error


def _samples(config: TrainConfig, order: Order, prompts: tuple[str, ...]) -> Samples:
    """The run's own samples with what was typed instead. Raises UsageError."""
    own: Mapping[str, Any] = config.samples.model_dump() if config.samples else {}
    typed = {"prompts": prompts, "seed": order.seed, "n_steps": order.n_steps, "guidance": order.guidance}
    try:
        return Samples.model_validate({**own, **typed, "seeds": None, "every_steps": 1})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0]).removeprefix("n_")
        what = f"{name} {first['input']}: {first['msg']}"
        raise UsageError(what, "shoestring sample --help says the limits") from None


def _costs(home: Home, config: TrainConfig) -> Costs:
    """The price row of the run; where the catalogue has none, this machine's. Raises UsageError."""
    rows = read_prices(home.root)
    local = next((name for name, row in rows.items() if row.local), None)
    name = config.price.hardware if config.price.hardware in rows else local
    if name is None:
        what = f"no price row is called {config.price.hardware!r}, and none is this machine's"
        raise UsageError(what, "add one to prices.yaml: shoestring prices shows them")
    return costs_of(home, name, rows[name])


def _hash(run: Run, config: DrawConfig) -> str:
    """Names a drawing: equal for the same checkpoint, prompts, seed and way of drawing."""
    source, samples = config.source, config.samples.model_dump(mode="json")
    facts = [DRAWING, run.spec_hash, run.generation, source.checkpoint, source.sha256, samples, code_digest()]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _of(run: Run) -> str:
    asked = run.spec.get("drawing")
    return f"run {asked.get('run')}" if isinstance(asked, dict) else f"run {run.parent_id}"
