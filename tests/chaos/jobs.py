"""The runs of a storm: two trainers, their configs, and what each run must come to when nobody disturbs it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from shoestring import actions
from shoestring.actions import Submission
from shoestring.db import Database
from shoestring.executors.local import TRAINER, Launch
from shoestring_trainer import config as c
from shoestring_trainer.journal import read
from shoestring_trainer.presets import PRESETS
from shoestring_trainer.run_dir import RunDir

FAST = Path(__file__).with_name("fast_trainer.py")
EXACT = ("train/", "val/", "eval/", "progress/")  # perf/, cost/ and system/ are of the wall clock
FAST_DATA = c.DataConfig(
    path="/nowhere", name="none", digest="0", space="pixels", shape=(3, 16, 16), size_px=16, n_train=8, caption_dim=4,
    caption_tokens=2.0,
)  # fmt: skip

Point = tuple[str, int]  # (metric, step)


@dataclass(frozen=True)
class Trainer:
    """Which trainer the workers start: `fast` (hashes, a pause a step) or `real` (a nano network on `data`)."""

    kind: str
    data: c.DataConfig = FAST_DATA
    steps: int = 45
    pause_s: float = 0.03
    seeds: int = 6  # distinct runs; every further one repeats one of them under its own name
    usd_per_hour: float = 1.0
    crash: tuple[str, ...] = ()  # words for crash.py, which then starts the trainer

    def command(self, launch: Launch) -> list[str]:
        """The command line of an attempt."""
        worker = ["--token", str(launch.token), "--supervised", "--lease-s", str(launch.lease_s)]
        pause = ["--pause-s", str(self.pause_s)] if self.kind == "fast" else []
        alone = self.alone(launch.run_dir)
        if self.crash:
            script = [word for word in alone[1:] if word != "-m"]
            alone = [sys.executable, str(FAST.with_name("crash.py")), *self.crash, "--", *script]
        return [*alone, *worker, *pause]

    def config(self, seed: int) -> c.TrainConfig:
        """The job of this seed."""
        every = 6 if self.kind == "fast" else 5
        mask = c.NoMask(kind="none")
        return c.TrainConfig(
            name=f"storm-{seed}", seed=seed, data=self.data, model=PRESETS["nano"].model_copy(update={"depth": 2}),
            objective=c.Edm(kind="edm"), optimizer=c.AdamW(kind="adamw"), batch_size=4,
            stages=(c.Stage(steps=self.steps, mask=mask, lr=1e-3, planned_usd_per_step=1e-5),),
            evaluate=c.Evaluate(every_steps=10, n_images=4), checkpoints=c.Checkpoints(every_steps=every, keep_last=2),
            price=c.Price(hardware="test", usd_per_hour=self.usd_per_hour, source="test"),
        )  # fmt: skip

    def submit(self, db: Database, runs_dir: Path, first: int, n: int, max_usd: float | None = None) -> list[int]:
        """Queue runs number `first` to `first + n - 1`; return their ids."""
        numbered = range(first, first + n)
        jobs = [
            Submission(
                f"r{i}", "storm", "storm", i % self.seeds, f"storm-{i}", self.config(i % self.seeds), max_usd=max_usd
            )
            for i in numbered
        ]
        return [one.run_id for one in actions.submit(db, jobs, runs_dir=runs_dir)]

    def reference(self, folder: Path, seed: int) -> Outcome:
        """Train this seed's job alone, undisturbed, and say what came of it."""
        run_dir = RunDir(folder / f"{self.kind}-{seed}")
        run_dir.write_config(self.config(seed))
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        subprocess.run(self.alone(run_dir.root), check=True, env=env, stdout=subprocess.DEVNULL, timeout=600)
        return outcome(run_dir, token=0)

    def alone(self, root: Path) -> list[str]:
        """The command line of a run that nobody supervises."""
        if self.kind == "fast":
            return [sys.executable, str(FAST), str(root)]
        return [sys.executable, "-m", TRAINER, str(root)]


@dataclass(frozen=True)
class Outcome:
    """What a finished run left: its exact metrics and the sha256 of its final weights, average and optimiser."""

    metrics: dict[Point, float]
    weights: str


def outcome(run_dir: RunDir, token: int) -> Outcome:
    """Read a finished run's folder. The journal is that of the attempt `token`."""
    lines = read(run_dir.journal(token))
    metrics = {(key, line["step"]): value for line in lines for key, value in line.get("metrics", {}).items()}
    return Outcome({point: v for point, v in metrics.items() if point[0].startswith(EXACT)}, weights(run_dir))


def weights(run_dir: RunDir) -> str:
    """One hash of everything but `state.json` in the newest checkpoint, read from the files and not the manifest."""
    folder = run_dir.published()[0]
    files = sorted(set(json.loads((folder / "MANIFEST.json").read_bytes())["files"]) - {"state.json"})
    together = hashlib.sha256()
    for name in files:
        together.update((folder / name).read_bytes())
    return f"step {int(folder.name[5:13])} {together.hexdigest()}"
