"""How good the forecasts are: draw short runs of all kinds, price them, train them, compare planned and actual dollars.

    python benchmarks/forecast.py [--runs 40] [--folder .shoestring/forecast] [--json]

The runs are drawn from SEED and the ranges below, the same on every machine, on the procedural data set; fewer are the
first of them. They go the way of a user's: `calibrate`, then for each run `submit` (which prices it) and `work`, then
`cost --forecast`. Finished runs refine the calibration, so that each is priced with what those before it taught;
`--at-once` prices all before the first begins. Called again it goes on where it stopped; delete the folder to begin
anew. About 6 s for each kind of step, then 15 to 25 s a run. Use an idle machine: what else runs on it is in the actual
dollars, not in the planned ones.

Targets: median absolute error at most 10 %, 70 to 90 % of the runs within 10–90 %. Exit 1 when a run did not finish.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from shoestring.forecasts import TARGET_COVERAGE, TARGET_ERROR

ROOT = Path(__file__).resolve().parents[1]
SEED, RUNS = 2407, 40
USD_PER_HOUR = 0.1008  # the price row of the benchmark's own prices.yaml: seconds are what is forecast
SECONDS = (12.0, 20.0)  # planned, starting included
DIMS, DEPTHS, BATCHES = (32, 48, 64, 96), (2, 3, 4), (4, 8, 16)
MASKS: tuple[dict[str, Any], ...] = (
    {"kind": "none"},
    *({"kind": "random", "ratio": r, "place": p} for r in (0.25, 0.5, 0.75) for p in ("deferred", "naive")),
)
EXPERTS: tuple[dict[str, Any] | None, ...] = (None, None, {"count": 2}, {"count": 4}, {"count": 8, "capacity": 1.0})
EVALUATIONS, CHECKPOINTS = (0.1, 0.2, 0.5), (0.25, 0.5, 1.0)  # every share of the run
N_IMAGES = (16, 32, 64)


def drawn(n: int) -> dict[str, Any]:
    """The first `n` experiments, each a function of SEED and its number."""
    return {f"f{number:02d}": one(random.Random(SEED * 1000 + number), number) for number in range(n)}


def one(chance: random.Random, number: int) -> dict[str, Any]:
    """One experiment: a size, one or two stages with their masks, a batch, experts, cadences, dollars."""
    dim, two = chance.choice(DIMS), chance.random() < 0.5
    model: dict[str, Any] = {"preset": "nano", "dim": dim, "mixer_dim": dim, "depth": chance.choice(DEPTHS)}
    if experts := chance.choice(EXPERTS):
        model["experts"] = experts
    stages = [{"mask": chance.choice(MASKS)}]
    if two:
        stages = [{"share": 0.75, "mask": chance.choice(MASKS[1:])}, {"share": 0.25, "mask": MASKS[0]}]
    return {
        "model": model,
        "seed": number,
        "batch_size": chance.choice(BATCHES),
        "lr": 1e-3,
        "until": {"usd": round(chance.uniform(*SECONDS) / 3600 * USD_PER_HOUR, 7)},
        "stages": stages,
        "evaluate": {"every_share": chance.choice(EVALUATIONS), "n_images": chance.choice(N_IMAGES)},
        "checkpoints": {"every_share": chance.choice(CHECKPOINTS)},
    }


def prepare(folder: Path, n: int) -> None:
    """Write the project: its data, its price, its experiments."""
    data = folder / "data" / "procedural-16"
    if not (data / "manifest.json").exists():
        call(folder, "-m", "shoestring_trainer.prepare.procedural", str(data))
    price = {"usd_per_hour": USD_PER_HOUR, "local": True, "source": "benchmarks/forecast.py", "date": "2026-11-23"}
    for name, content in (
        ("prices.yaml", {"version": 1, "prices": {"this-machine": price}}),
        ("experiments.yaml", {"version": 1, "project": "forecast", "data": "procedural-16", "experiments": drawn(n)}),
    ):
        plain = json.loads(json.dumps(content))  # a mask drawn twice must not become an alias
        (folder / name).write_text(yaml.safe_dump(plain, sort_keys=False))


def call(folder: Path, *argv: str) -> str:
    """Run Python in the project's folder; end with what it said when it fails."""
    env = {k: v for k, v in os.environ.items() if k not in ("SHOESTRING_DB", "SHOESTRING_HOME")}
    done = subprocess.run([sys.executable, *argv], cwd=folder, env=env, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"error: {' '.join(argv)} ended with code {done.returncode}\n{done.stdout[-2000:]}")
    return done.stdout


def shoestring(folder: Path, *argv: str) -> str:
    return call(folder, "-m", "shoestring.cli.main", *argv)


def main() -> int:
    """Draw, calibrate, submit, work, compare, say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=RUNS, help=f"how many (default {RUNS})")
    parser.add_argument("--folder", type=Path, default=ROOT / ".shoestring" / "forecast")
    parser.add_argument("--seconds", type=float, default=6.0, help="of steps timed a shape (default 6)")
    parser.add_argument("--at-once", action="store_true", help="price all before the first begins")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    folder = args.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    prepare(folder, args.runs)
    shoestring(folder, "db", "upgrade")
    calibrated = folder / "calibrated"
    if not calibrated.exists():
        shoestring(folder, "calibrate", "--seconds", str(args.seconds))
        calibrated.touch()
    names = list(drawn(args.runs))
    for together in [names] if args.at_once else [[name] for name in names]:
        shoestring(folder, "submit", *(word for name in together for word in ("--only", name)))
        shoestring(folder, "work", "--until-empty")
    told = json.loads(shoestring(folder, "cost", "--forecast", "--json"))
    wanted = {f"{name}/s{number}" for number, name in enumerate(names)}
    unfinished = wanted - {run["name"] for run in told["runs"]}
    print(json.dumps(told | {"unfinished": sorted(unfinished)}, indent=1) if args.json else report(folder, told))
    if unfinished:
        print(f"not finished, or not in one attempt: {', '.join(sorted(unfinished))}", file=sys.stderr)
    return 1 if unfinished else 0


def report(folder: Path, told: dict[str, Any]) -> str:
    """The table of errors, and whether the targets are met."""
    lines = [shoestring(folder, "cost", "--forecast").rstrip()]
    for row in told["accuracy"]:
        low, high = TARGET_COVERAGE
        error = "met" if row["median_abs_error"] <= TARGET_ERROR else "missed"
        coverage = "met" if low <= row["coverage"] <= high else "missed"
        lines.append(
            f"targets: median absolute error ≤ {TARGET_ERROR:.0%}: {error}; "
            f"{low:.0%} to {high:.0%} within 10–90 %: {coverage} ({row['coverage']:.0%} of {row['n']})"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
