"""What a sweep's proposals are worth: TPE against random search at the same dollars, by the fronts' hypervolumes.

    python benchmarks/sweep.py FOLDER                         # 2 × 2 sweeps of 24 trials: an hour, on an idle machine
    python benchmarks/sweep.py FOLDER --trials 3 --steps 50 --cap-usd 4e-3 --repetitions 1     # does it work

FOLDER keeps the project, its runs and its databases: given again, the benchmark goes on where it was stopped. Trials
are of the nano model on the drawn set `procedural-16`, all of the same steps: what they search, the mask ratio (0 to
.9) and the number of experts (1 to 16), makes them cheap or dear. A sweep's hypervolume is the area, in dollars × loss,
that its front dominates below a corner which all sweeps share: the worst loss of any trial and the dearest trial.
Samplers take turns: a slow hour falls on both.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

SAMPLERS = ("tpe", "random")
SPEC = """\
version: 1
project: sweep-benchmark
data: procedural-16
experiments:
  base:
    model: {{preset: nano, experts: {{count: 4, capacity: 1.0}}}}
    until: {{steps: {steps}}}
    lr: 1e-3
    batch_size: 16
    evaluate: {{every_share: 0.25, n_images: 64}}
    stages: [{{mask: {{kind: random, ratio: 0.5, place: deferred}}}}]
sweeps:
"""
SWEEP = """\
  {name}:
    base: base
    search:
      stages.0.mask.ratio: {{low: 0.0, high: 0.9}}
      model.experts.count: {{low: 1, high: 16, log: true}}
    objectives: {{val/loss: minimize, cost/usd: minimize}}
    sampler: {sampler}
    trials: {trials}
    budget: {{max_usd: {cap_usd}}}
    seed: {seed}
"""

Point = tuple[float, float]  # (dollars, loss) of a finished trial


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--trials", type=int, default=24, help="of each sweep, at most")
    parser.add_argument("--steps", type=int, default=500, help="of a trial")
    parser.add_argument("--cap-usd", type=float, default=0.02, help="actual dollars of a sweep")
    parser.add_argument("--repetitions", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the result here too")
    args = parser.parse_args()
    prepare(args)
    points: dict[str, list[Point]] = {}
    spent: dict[str, float] = {}
    for repetition in range(args.repetitions):
        for sampler in SAMPLERS:
            name = f"{sampler}-{repetition}"
            report = shoestring(args.folder, "sweep", "run", "experiments.yaml", name, "--json")
            done = [t for t in report["trials"] if t["state"] == "complete"]
            points[name] = [(t["values"][1], t["values"][0]) for t in done]
            spent[name] = report["spent_usd"]
            print(f"{name}: {len(done)} trials, ${report['spent_usd']:.5f}, best {min(v[1] for v in points[name]):.4g}")
    result = compare(points, spent)
    for row in result["sweeps"]:
        volume, usd = row["hypervolume"], row["spent_usd"]
        print(f"{row['name']:<12} hypervolume {volume:.4g}  of ${usd:.5f}, {row['trials']} trials")
    ratio = result["ratio"]
    print(f"tpe's hypervolume is {ratio['mean']:.3f} of random search's ({ratio['low']:.3f} to {ratio['high']:.3f})")
    if args.json:
        args.json.write_text(json.dumps(result, indent=1))


def prepare(args: argparse.Namespace) -> None:
    """Make the project where there is none. Ends when the folder holds a benchmark with other settings."""
    text = SPEC.format(steps=args.steps)
    for repetition in range(args.repetitions):
        for place, sampler in enumerate(SAMPLERS):
            text += SWEEP.format(
                name=f"{sampler}-{repetition}", sampler=sampler, trials=args.trials, cap_usd=args.cap_usd,
                seed=2 * repetition + place,  # of one seed equal trials are one run, which only one sweep pays
            )  # fmt: skip
    spec = args.folder / "experiments.yaml"
    if spec.exists() and spec.read_text() != text:
        sys.exit(f"{spec} is of other settings: give those again, or another folder")
    data = args.folder / "data" / "procedural-16"
    if not (data / "manifest.json").exists():
        subprocess.run(
            [sys.executable, "-m", "shoestring_trainer.prepare.procedural", str(data.absolute())],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
    if not spec.exists():
        spec.write_text(text)
    shoestring(args.folder, "db", "upgrade")
    if not list((args.folder / ".shoestring").glob("calibrations/*")):
        shoestring(args.folder, "calibrate", "experiments.yaml")


def shoestring(folder: Path, *argv: str) -> dict:
    """Run a command of the product in the project; return its JSON where it was asked for."""
    own = {k: v for k, v in os.environ.items() if k not in ("SHOESTRING_DB", "SHOESTRING_HOME")}
    command = [sys.executable, "-c", "from shoestring.cli.main import app; app()", *argv]
    done = subprocess.run(command, cwd=folder, env=own, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout[done.stdout.index("{") :]) if "--json" in argv else {}


def hypervolume(points: list[Point], corner: Point) -> float:
    """The area that the points dominate below `corner`; less is better in both."""
    area, top = 0.0, corner[1]
    for usd, loss in sorted(points):
        if usd < corner[0] and loss < top:
            area += (corner[0] - usd) * (top - loss)
            top = loss
    return area


def compare(points: dict[str, list[Point]], spent: dict[str, float]) -> dict:
    """Hypervolumes of all sweeps, and tpe's over random's of the same repetition: mean, lowest, highest."""
    every = [p for found in points.values() for p in found]
    corner = (max(p[0] for p in every), max(p[1] for p in every))
    volumes = {name: hypervolume(found, corner) for name, found in points.items()}
    ratios = []
    for repetition in range(len(points) // len(SAMPLERS)):
        ours, theirs = (volumes[f"{sampler}-{repetition}"] for sampler in SAMPLERS)
        ratios.append(ours / theirs if theirs else float("nan"))
    return {
        "corner": {"usd": corner[0], "loss": corner[1]},
        "sweeps": [
            {"name": n, "hypervolume": v, "spent_usd": spent[n], "trials": len(points[n])} for n, v in volumes.items()
        ],
        "ratio": {"mean": statistics.fmean(ratios), "low": min(ratios), "high": max(ratios)},
    }


if __name__ == "__main__":
    main()
