"""A project filled through the same writes as by a worker: runs queued, trained, failed, swept, with small pictures."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from shoestring import actions, plan, runs
from shoestring.actions import Submission, submit
from shoestring.db import Database
from shoestring.home import Home
from shoestring.tail import Point
from shoestring_trainer.config import TrainConfig
from shoestring_trainer.prepare.procedural import procedural_set
from shoestring_trainer.run_dir import Result, RunDir

SWEEP = """
version: 1
project: tiny
data: procedural-16
experiments:
  dense:
    model: {preset: nano}
    until: {usd: 0.001}
    stages: [{lr: 1e-3, mask: {kind: random, ratio: 0.5}}]
sweeps:
  masks:
    base: dense
    search: {stages.0.mask.ratio: {low: 0.0, high: 0.9}, model.experts.count: {choices: [1, 4]}}
    objectives: {val/loss: minimize, cost/usd: minimize}
    budget: {max_usd: 0.1}
"""
PROMPTS = ("a red circle", "<b>a blue square</b>")
RATE, STEPS, USD = 0.1, 40, 0.02


def config(name: str, seed: int, ratio: float) -> TrainConfig:
    mask = {"kind": "random", "ratio": ratio} if ratio else {"kind": "none"}
    return TrainConfig.model_validate({
        "name": name, "seed": seed, "batch_size": 16, "objective": {"kind": "edm"}, "optimizer": {"kind": "adamw"},
        "data": {"path": "data/tiny", "name": "tiny", "digest": "ab" * 32, "space": "pixels", "shape": (3, 8, 8),
                 "size_px": 8, "n_train": 10, "caption_dim": 8, "caption_tokens": 4.0},
        "model": {"dim": 32, "depth": 2, "mixer_dim": 32},
        "stages": [{"steps": STEPS, "mask": mask, "lr": 1e-3, "planned_usd_per_step": USD / STEPS}],
        "evaluate": {"every_steps": 10}, "samples": {"every_steps": 20, "prompts": PROMPTS},
        "checkpoints": {"every_steps": 20},
        "price": {"hardware": "this-machine", "usd_per_hour": RATE, "source": "by hand"},
    })  # fmt: skip


class Project:
    """A database and run folders, filled through the same writes as by a worker."""

    def __init__(self, home: Home) -> None:
        self.home, self.db = home, Database(home.db_url)
        self.worker = runs.new_worker_id()
        runs.register(self.db, self.worker, "2 cores", RATE)

    def queue(self, experiment: str, seed: int = 0, ratio: float = 0.75, **more: Any) -> int:
        made = config(f"{experiment}/s{seed}", seed, ratio)
        one = Submission(
            name=made.name, experiment=experiment, project="tiny", seed=seed, spec_hash=uuid.uuid4().hex * 2,
            config=made, spec={"stages": [{"mask": made.stages[0].mask.model_dump()}], "seed": seed},
            plan={"parameters": 1000, "usd": {"p10": 0.018, "p50": USD, "p90": 0.022}}, planned_usd=USD, **more,
        )  # fmt: skip
        return submit(self.db, [one], runs_dir=self.home.runs, now=time.time() - 60)[0].run_id

    def train(self, run_id: int, loss: float = 0.1, fails: str = "") -> None:
        lease = runs.claim(self.db, self.worker, uuid.uuid4().hex)
        assert lease is not None and lease.run_id == run_id
        folder, end = RunDir(Path(lease.run.run_dir)), STEPS // 2 if fails else STEPS
        folder.attempt(lease.token).mkdir(parents=True)
        folder.log(lease.token).write_text(f"step 10 train/loss {loss}\n{fails or 'finished'}\n")
        runs.start(self.db, lease, 0)
        points = [
            Point(key, step, loss + 1 / step, step * 16.0, step * 1e9, step * USD / STEPS, step * 2.0)
            for step in range(10, end + 1, 10)
            for key in ("val/loss", "train/loss", "perf/images_per_s")
        ]
        runs.record(self.db, lease, points)
        self.pictures(folder, end)
        runs.add_checkpoint(self.db, lease, end, str(folder.checkpoint(end, lease.token)), 1_000_000)
        result = Result(lease.token, "failed" if fails else "succeeded", "nan" if fails else "", fails, end)
        runs.finish(self.db, lease, result, round(end * USD / STEPS * 1e6), jitter=0.0)

    def pictures(self, folder: RunDir, step: int) -> None:
        place = folder.sample_step(step)
        place.mkdir(parents=True)
        for i in range(len(PROMPTS)):
            Image.new("RGB", (8, 8), "red").save(place / f"{i:03d}.png")
        (place / "meta.json").write_text(json.dumps({"step": step, "usd": step * USD / STEPS, "prompts": PROMPTS}))

    def sweep(self, folder: Path, trials: Sequence[tuple[float, int, float]], rungs: str = "") -> int:
        """A sweep whose trials, (mask ratio, experts, val/loss) each, have all ended; its files go to `folder`."""
        procedural_set(copies=1).write(folder / "data" / "procedural-16")
        (folder / "experiments.yaml").write_text(SWEEP + rungs)
        asked = plan.survey(folder / "experiments.yaml", Home(root=folder, state=self.home.state)).sweeps[0]
        sweep_id = actions.create_sweep(self.db, asked).id
        for number, (ratio, experts, loss) in enumerate(trials):
            params = {"stages.0.mask.ratio": ratio, "model.experts.count": experts}
            run_id = self.queue(f"t{number}", kind="trial", sweep_id=sweep_id)
            actions.propose_trial(self.db, sweep_id, number, params, run_id)
            self.train(run_id)
            actions.finish_trial(self.db, sweep_id, number, "complete", (loss, 0.02 + 0.001 * number))
        return sweep_id
