"""Seconds and memory of training steps of the paper's and the demo's shapes, on random sets."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from gpu_parts.same import PRICE
from shoestring.plan import plan_file
from shoestring_trainer.prepare.encoded_set import EncodedSet, Item

N_IMAGES, N_CAPTIONS = 512, 64
SETS = {  # C, H, W; caption tokens and width
    "paper-256": ((4, 32, 32), (77, 1024)),
    "paper-512": ((4, 64, 64), (77, 1024)),
    "demo-32": ((8, 8, 8), (9, 384)),
}
PAPER, TINY, OURS = (f"model: {{preset: {name}}}" for name in ("microdit-xl-2", "microdit-tiny-2", "hourglass"))
MASKED, WHOLE = "stages: [{mask: {kind: random, ratio: 0.75}}]", "stages: [{mask: {kind: none}}]"
SHAPES = {  # of one GPU; the paper's four stages first
    "xl-256-masked": ("paper-256", f"{{{PAPER}, batch_size: 256, {MASKED}}}"),
    "xl-256-whole": ("paper-256", f"{{{PAPER}, batch_size: 128, {WHOLE}}}"),
    "xl-512-masked": ("paper-512", f"{{{PAPER}, batch_size: 64, {MASKED}}}"),
    "xl-512-whole": ("paper-512", f"{{{PAPER}, batch_size: 32, {WHOLE}}}"),
    "xl-256-recomputed": ("paper-256", f"{{{PAPER}, batch_size: 256, {WHOLE}, compute: {{recompute: true}}}}"),
    "tiny-256-masked": ("paper-256", f"{{{TINY}, batch_size: 256, {MASKED}}}"),
    "tiny-256-fp32": ("paper-256", f"{{{TINY}, batch_size: 64, {MASKED}, compute: {{precision: fp32}}}}"),
    "tiny-256-compiled": ("paper-256", f"{{{TINY}, batch_size: 256, {MASKED}, compute: {{compile: true}}}}"),
    "demo-16": ("demo-32", f"{{{OURS}, batch_size: 16, {WHOLE}}}"),
    "demo-256": ("demo-32", f"{{{OURS}, batch_size: 256, {WHOLE}}}"),
    "demo-2048": ("demo-32", f"{{{OURS}, batch_size: 2048, {WHOLE}}}"),
    "demo-256-compiled": ("demo-32", f"{{{OURS}, batch_size: 256, {WHOLE}, compute: {{compile: true}}}}"),
}
SPEC = """\
version: 1
project: steps
data: %s
hardware: here
defaults:
  until: {steps: 1000}
  lr: 1e-4
  evaluate: {every_share: 1, n_images: 16}
  checkpoints: {every_share: 1}
  compute: {precision: bf16}
experiments:
"""
TAKING = Path(__file__).with_name("taking.py")


def measure(root: Path, device: str, names: list[str]) -> list[dict[str, Any]]:
    """Time each shape, all in one process of their own; a row for each."""
    root = root / "steps"
    for name, (shape, caption) in SETS.items():
        random_set(name, shape, caption).write(root / "data" / name)
    (root / "prices.yaml").write_text(PRICE % device)
    asked = []
    for data in SETS:
        lines = [f"  {name}: {SHAPES[name][1]}" for name in names if SHAPES[name][0] == data]
        (root / "experiments.yaml").write_text(SPEC % data + "\n".join(lines))
        for run in plan_file(root / "experiments.yaml").runs if lines else ():
            config = run.config.model_dump(mode="json")
            forecast = run.needs.memory_bytes.p50
            asked.append({"name": run.request.experiment, "config": config, "forecast_bytes": forecast})
    (root / "asked.json").write_text(json.dumps(asked))
    rows = []
    with subprocess.Popen([sys.executable, str(TAKING), str(root / "asked.json")], stdout=-1, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            rows.append(json.loads(line))
            print(told(rows[-1]), flush=True)
    if process.returncode:
        raise SystemExit(f"the process that takes steps ended with exit code {process.returncode}")
    return rows


def told(row: dict[str, Any]) -> str:
    """One row in words."""
    if "error" in row:
        return f"{row['name']}: {row['error']}"
    free = f", {row['s_per_step'] / row['s_per_step_any_order']:.3f} × any order" if row["s_per_step_any_order"] else ""
    gigabytes = {what: row[f"{what}_bytes"] / 1e9 for what in ("peak", "context", "forecast")}
    return (
        f"{row['name']}: {row['s_per_step'] * 1e3:.1f} ms ± {row['spread']:.1%}{free}, "
        f"{row['images_per_s']:.0f} images/s, "
        f"{row['tflops']:.1f} TFLOP/s ({row['of_peak']:.1%} of the peak), data {row['data_share']:.0%}, first "
        f"{row['first_s']:.1f} s; {gigabytes['peak']:.2f} GB and {gigabytes['context']:.2f} of context, forecast "
        f"{gigabytes['forecast']:.2f}"
    )


def random_set(name: str, shape: tuple[int, int, int], caption: tuple[int, int]) -> EncodedSet:
    """Latents and caption states of a shape, drawn by seeded code: for seconds, not for learning."""
    draw = np.random.default_rng(0)
    splits = ["val" if number < 32 else "train" for number in range(N_IMAGES)]
    return EncodedSet(
        name=name,
        images=np.zeros((N_IMAGES, 8, 8, 3), np.uint8),
        items=[Item("random", f"{i}", "random", split, i % N_CAPTIONS) for i, split in enumerate(splits)],  # type: ignore[arg-type]
        captions=[f"picture {i}" for i in range(N_CAPTIONS)],
        text_states=[draw.standard_normal(caption).astype(np.float16) for _ in range(N_CAPTIONS)],
        text={"kind": "word-vectors", "name": "random", "dim": caption[1]},
        latents=draw.standard_normal((N_IMAGES, *shape)).astype(np.float16),
    )
