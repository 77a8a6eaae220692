"""Trainings that are killed and gone on with, against the same ones left alone."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from shoestring.plan import plan_file
from shoestring_trainer.run_dir import RunDir

N_STEPS, EVERY, KILLS = 120, 20, 2
LIMIT_S = 240.0
SPEC = """\
version: 1
project: same
data: procedural-16
hardware: here
defaults:
  batch_size: 32
  until: {steps: %d}
  lr: 1e-3
  evaluate: {every_share: 0.5, n_images: 16}
  checkpoints: {every_share: %r}
  stages: [{mask: {kind: random, ratio: 0.5}}]
experiments:
  nano-fp32: {model: {preset: nano}, compute: {precision: fp32}}
  nano-bf16: {model: {preset: nano}, compute: {precision: bf16}}
  experts-fp32: {model: {preset: nano, dim: 128, depth: 4, experts: {count: 8}}, compute: {precision: fp32}}
  experts-bf16: {model: {preset: nano, dim: 128, depth: 4, experts: {count: 8}}, compute: {precision: bf16}}
  hourglass-bf16: {model: {preset: hourglass}, stages: [{mask: {kind: none}}], compute: {precision: bf16}}
  muon-bf16: {model: {preset: nano, experts: {count: 4}}, optimizer: {kind: muon}, compute: {precision: bf16}}
  compiled-bf16: {model: {preset: nano, experts: {count: 4}}, compute: {precision: bf16, compile: true}}
"""
PRICE = (
    "{version: 1, prices: {here: {usd_per_hour: 2, local: true, device: %s, source: a benchmark, date: 2026-11-29}}}"
)


def check(folder: Path, device: str) -> list[dict[str, Any]]:
    """Train each kind twice, side by side with the others: alone, and killed `KILLS` times. A row for each."""
    runs = planned(folder / "same", device)
    with ThreadPoolExecutor(len(runs)) as pool:
        rows = list(pool.map(lambda pair: one(folder / "same", *pair), runs.items()))
    for row in rows:
        verdict = "the same weights" if row["same"] else f"OTHER weights ({row['why']})"
        print(f"same: {row['run']}: killed {row['kills']} times, {verdict}", flush=True)
    return rows


def planned(root: Path, device: str) -> dict[str, dict[str, Any]]:
    """Build the data; the configs by experiment."""
    build = [sys.executable, "-m", "shoestring_trainer.prepare.procedural", str(root / "data" / "procedural-16")]
    subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
    (root / "prices.yaml").write_text(PRICE % device)
    (root / "experiments.yaml").write_text(SPEC % (N_STEPS, EVERY / N_STEPS))
    runs = plan_file(root / "experiments.yaml").runs
    return {run.request.experiment: run.config.model_dump(mode="json") for run in runs}


def one(root: Path, name: str, config: dict[str, Any]) -> dict[str, Any]:
    """Train one config undisturbed and disturbed; compare what they end with."""
    row = {"run": name, "kills": 0, "same": False, "why": ""}
    try:
        alone, disturbed = (prepared(root / f"{name}-{how}", config) for how in ("alone", "killed"))
        trained(alone, 1)
        for attempt in range(1, KILLS + 1):
            row["kills"] += trained(disturbed, attempt, kill_at=(2 * attempt - 1) * EVERY)
        trained(disturbed, KILLS + 1)
        row |= {"alone": weights_sha256(alone), "killed": weights_sha256(disturbed)}
        row["same"] = row["alone"] == row["killed"] and row["kills"] == KILLS
        row["why"] = "" if row["same"] else "sha256 differs" if row["kills"] == KILLS else "not killed in time"
    except (OSError, RuntimeError, IndexError) as error:
        row["why"] = f"{type(error).__name__}: {error}"
    return row


def prepared(folder: Path, config: dict[str, Any]) -> RunDir:
    """Make a run's folder."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    return RunDir(folder)


def trained(run_dir: RunDir, token: int, kill_at: int | None = None) -> bool:
    """Train in a process of its own, to the end or until a checkpoint of step `kill_at` stands; whether it was killed.

    Each has its own compiler's cache: what is compiled twice must compute the same. Raises RuntimeError.
    """
    cache = str(run_dir.root / f"compiled-{token}")
    command = [sys.executable, "-m", "shoestring_trainer.train", str(run_dir.root), "--token", str(token)]
    log = open(run_dir.root / "log.txt", "a+", encoding="utf-8")  # noqa: SIM115
    with (
        log,
        subprocess.Popen(
            command, stdout=log, stderr=log, env=os.environ | {"OMP_NUM_THREADS": "1", "TORCHINDUCTOR_CACHE_DIR": cache}
        ) as process,
    ):
        began = time.monotonic()
        while process.poll() is None:
            if time.monotonic() - began > LIMIT_S:
                process.kill()
                raise RuntimeError(f"{run_dir.root.name} took more than {LIMIT_S:g} s")
            if kill_at is not None and any(newest.name >= f"step-{kill_at:08d}" for newest in run_dir.published()[:1]):
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.002)
        code = process.wait()
        if code not in (0, -signal.SIGKILL):
            log.seek(0)
            raise RuntimeError(" | ".join(log.read().splitlines()[-3:]))
        return code == -signal.SIGKILL


def weights_sha256(run_dir: RunDir) -> str:
    """Of weights, average and optimiser in the newest checkpoint. Raises RuntimeError when it is not the last one."""
    newest = run_dir.published()[0]
    if not newest.name.startswith(f"step-{N_STEPS:08d}"):
        raise RuntimeError(f"ended with {newest.name}")
    digest = hashlib.sha256()
    for path in sorted(newest.glob("*.safetensors")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
