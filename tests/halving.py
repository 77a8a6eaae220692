"""A project of sweeps in `tmp_path`, and a worker that trains as a real one does, on curves that are known."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from shoestring import queries, runs, sweep
from shoestring.calibration import Calibration
from shoestring.cost import Costs
from shoestring.db import Database
from shoestring.home import Home
from shoestring.plan import plan_request
from shoestring.prices import read_prices
from shoestring.records import MICRO
from shoestring.resolve import Facts, SweepRequest, resolve_sweeps
from shoestring.rungs import REASON, gate
from shoestring.spec import spec_from_text
from shoestring.tail import Point
from shoestring_trainer.config import DataConfig, TrainConfig
from shoestring_trainer.run_dir import Result

SPEC = """
version: 1
project: toy
data: dots
experiments:
  deferred:
    model: {preset: nano}
    until: {usd: 0.018}
    lr: 1e-3
    evaluate: {every_share: 0.05}
    stages: [{mask: {kind: random, ratio: 0.75, place: deferred}}]
sweeps:
  small:
    base: deferred
    search: {stages.0.mask.ratio: {low: 0.0, high: 0.9}}
    objectives: {val/loss: minimize, cost/usd: minimize}
    trials: 9
    seed: 7
    rungs: {usd: [0.002, 0.006, 0.018]}
"""
DATA = DataConfig(
    path="/nowhere", name="dots", digest="d" * 64, space="pixels", shape=(3, 16, 16), size_px=16, n_train=64,
    caption_dim=8, caption_tokens=4.0,
)  # fmt: skip


def request_of(text: str = SPEC, **changes: Any) -> SweepRequest:
    found = resolve_sweeps(spec_from_text(text, Path("/nowhere")), Facts(DATA, "code"))[0]
    return replace(found, **changes)


class Worker:
    """Trains whatever is due, through the same fenced writes as a real one; `dearer` is actual over planned dollars.

    The loss falls with the dollars to (ratio − 0.4)², so the order of trials is the same at every rung.
    """

    def __init__(self, db: Database, dearer: float = 1.0) -> None:
        self.db, self.dearer, self.n = db, dearer, itertools.count()
        self.trained: list[tuple[int, int, int]] = []  # (run, from step, to step)

    def __call__(self, run_ids: Sequence[int] = ()) -> None:
        lease = runs.claim(self.db, "worker", f"claim {next(self.n)}")
        assert lease, f"nothing to train, though {run_ids} are in flight"
        config, run = TrainConfig.model_validate(lease.run.config), lease.run
        first, closing = run.checkpoint_step, float(run.plan["closing_usd"])
        runs.start(self.db, lease, first)
        at = gate(run.plan, queries.promotions(self.db, [run.id]).get(run.id, 0))
        ratio = run.config["stages"][0]["mask"]["ratio"]
        spent, step, outcome = 0.0, first, "succeeded"
        while step < run.n_steps:
            step = min(run.n_steps, (step // config.evaluate.every_steps + 1) * config.evaluate.every_steps)
            usd = config.planned_usd_at(step)
            loss = (ratio - 0.4) ** 2 + 0.001 / usd
            runs.record(self.db, lease, [Point("val/loss", step, loss, 1.0, 1.0, usd, 1.0)])
            spent = (usd - config.planned_usd_at(first)) * self.dearer
            beat = runs.beat(self.db, lease, round(spent * MICRO), closing_micro=round(closing * MICRO))
            if at and at.reached({"val/loss": loss, "progress/usd": usd}):
                runs.rest(self.db, lease, REASON)
                outcome = "stopped"
            if beat.want == "pause":
                outcome = "stopped"
            if outcome == "stopped":
                runs.stopping(self.db, lease, "budget" if beat.budget_spent else REASON)
                runs.add_checkpoint(self.db, lease, step, "/nowhere", 1)
                break
        self.trained.append((run.id, first, step))
        why = "" if outcome == "succeeded" else "stopped_by_request"
        runs.finish(self.db, lease, Result(lease.token, outcome, why, "", step), round(spent * MICRO))  # type: ignore[arg-type]


def bench_of(home: Home, work: Any = None, **changes: Any) -> sweep.Bench:
    db = Database(home.db_url)
    costs = Costs("this-machine", read_prices()["this-machine"], Calibration("test"), 1e10)
    made = sweep.Bench(home, db, lambda request: plan_request(request, costs), work or Worker(db), {})
    return replace(made, **changes)


def table(bench: sweep.Bench, name: str = "small") -> list[tuple[int, dict, str, tuple[float, ...]]]:
    """What our database says of the newest sweep of that name."""
    (*_, newest) = (s for s in queries.sweeps(bench.db) if s.name == name)
    return [(t.number, t.params, t.state, t.values) for t in queries.trials(bench.db, newest.id)]
