"""Peak memory as it was forecast and as it is: five sizes of run, each trained for a few steps in a process of its own.

    python benchmarks/memory.py [--markdown] [--only NAME …]

The data set is the tiny procedural one; the forecast is what `shoestring plan` says (weights, gradients, optimiser,
average, activations, and a constant for the runtime); the peak is the kernel's own, of a whole attempt: imports,
training, an evaluation and a checkpoint. Exit code 1 when one is further off than `shoestring.memory.ERROR`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from shoestring.memory import ERROR
from shoestring.plan import plan_file
from shoestring.run_plan import RunPlan

SPEC = """\
version: 1
project: memory
data: set
defaults:
  until: {steps: 2}
  lr: 1e-4
  evaluate: {every_share: 1, n_images: 16}
  checkpoints: {every_share: 1}
  stages: [{mask: {kind: none}}]
experiments:
  nano-16: {model: {preset: nano}, batch_size: 16}
  spark-32: {model: {preset: spark}, batch_size: 32}
  masked-256: {model: {preset: spark, dim: 256, depth: 8}, batch_size: 32,
               stages: [{mask: {kind: random, ratio: 0.75}}]}
  experts-256: {model: {preset: spark, dim: 256, depth: 8, experts: {count: 4}}, batch_size: 32}
  wide-512: {model: {preset: spark, dim: 512, depth: 8}, batch_size: 16}
"""


def main() -> int:
    """Measure and compare."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--markdown", action="store_true", help="print the table of docs/memory.md")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="only these of the five")
    args = parser.parse_args()
    if args.markdown:
        print("| run | parameters | forecast, MB | measured, MB | off |\n|---|---|---|---|---|")
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for run in planned(Path(folder), args.only):
            forecast = run.needs.memory_bytes.p50
            measured = peak_bytes(run, Path(folder) / run.request.experiment)
            off = forecast / measured - 1
            worst = max(worst, abs(off))
            cells = (run.request.experiment, f"{run.parameters:,}", f"{forecast / 1e6:.0f}", f"{measured / 1e6:.0f}")
            print(f"| {' | '.join((*cells, f'{off:+.1%}'))} |", flush=True)
    return int(worst > ERROR)


def planned(root: Path, only: list[str]) -> tuple[RunPlan, ...]:
    """Build the data and plan the runs."""
    build = [sys.executable, "-m", "shoestring_trainer.prepare.procedural", str(root / "data" / "set")]
    subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
    (root / "experiments.yaml").write_text(SPEC)
    return plan_file(root / "experiments.yaml", only=only).runs


def peak_bytes(run: RunPlan, folder: Path) -> int:
    """Train a run in its own process; the most memory it ever held."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(run.config.model_dump(mode="json")))
    command = [sys.executable, "-m", "shoestring_trainer.train", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"})
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{run.name} failed with exit code {process.returncode}")
    return used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    sys.exit(main())
