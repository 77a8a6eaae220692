"""Change one thing of a recipe and see what it does to `val/loss` at equal CPU-seconds: one training, one line.

    python benchmarks/ablate.py --seconds 240 --set batch_size=32 --set 'stages.0.lr=2e-3' --out trials.jsonl

`--set PATH=JSON` changes a setting of the recipe (`benchmarks/quality_parts/recipes.py`), any number of times; the
line that is added to `--out` holds the changes, the curve and the loss at the end. One thread, unless OMP_NUM_THREADS
says otherwise. What was learnt is in `docs/log.md`.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from quality_parts.recipes import RECIPES, parsed
from quality_parts.training import Point, train
from shoestring_trainer.allocator import keep_memory


def main() -> None:
    """Train one variant, print its curve, add its line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", choices=sorted(RECIPES), default="ours")
    parser.add_argument("--data", type=Path, default=Path("data/emoji-32"))
    parser.add_argument("--seconds", type=float, default=240.0, help="of CPU")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--evaluations", type=int, default=4)
    parser.add_argument("--set", action="append", default=[], metavar="PATH=JSON", dest="changes")
    parser.add_argument("--out", type=Path, help="a file of lines to add to")
    args = parser.parse_args()
    keep_memory()
    changes = dict(parsed(change) for change in args.changes)
    recipe = RECIPES[args.recipe].changed(changes)
    trained = train(recipe, args.data.resolve(), args.seed, args.seconds, args.evaluations, show)
    record = {"recipe": args.recipe, "changes": changes, "seconds": args.seconds, **trained.record()}
    if args.out:
        with open(args.out, "a") as file:
            file.write(json.dumps(record) + "\n")
    last = trained.points[-1]
    print(f"{changes or args.recipe}: {last.losses['val/loss']:.4f} after {last.step} steps, {last.cpu_s:.0f} CPU-s")


def show(point: Point) -> None:
    print(f"  {point.cpu_s:6.1f} CPU-s  {point.step:6} steps  val/loss {point.losses['val/loss']:.4f}", flush=True)


if __name__ == "__main__":
    main()
