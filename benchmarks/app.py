"""How quick the app is in a browser, on a large database, and MLflow's UI beside it: same browser, same run, in turns.

    python benchmarks/app.py FOLDER                                  # 10,000,000 points; makes FOLDER once
    python benchmarks/app.py FOLDER alone --queued 100000            # with a long queue, without MLflow
    python benchmarks/app.py FOLDER --points 10000                   # 100,000,000 points: minutes to make, 10 GB
    python benchmarks/app.py FOLDER --runs 24 --points 20 --rounds 1 --clicks 6 --interactions 20 --idle-s 4   # small

FOLDER holds the databases and is used again with the same sizes. Needs Chromium. Targets missed are printed, no
failure: a busy machine misses them. Exit 1 when a page showed an error.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "benchmarks"))
sys.path.append(str(ROOT / "tests"))  # the browser's harness and the large project are the tests' own

import many_runs  # noqa: E402
from app_parts import figures, mlflow_beside, rounds  # noqa: E402
from shoestring.home import Home  # noqa: E402

PARTS = ("alone", "beside")


def made(folder: Path, size: many_runs.Size) -> Home:
    """The project of that size in `folder`, made where it is not there whole."""
    place = folder / "-".join(str(number) for number in asdict(size).values())
    home = Home(place, place / ".shoestring")
    if not (place / "made").exists():
        shutil.rmtree(place, ignore_errors=True)
        began = time.monotonic()
        many_runs.fill(home, size)
        print(f"made {place.name} in {time.monotonic() - began:.0f} s")
        (place / "made").touch()
    return home


def mlflow_made(folder: Path, size: many_runs.Size) -> Path:
    """MLflow's store of as many runs and points."""
    place = folder / f"mlflow-{size.runs}-{size.metrics}-{size.points}"
    if not (place / "made").exists():
        shutil.rmtree(place, ignore_errors=True)
        mlflow_beside.fill(place, many_runs.KEYS[-size.metrics :], size.runs, size.points)
        (place / "made").touch()
    return place


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("parts", nargs="*", metavar="PART", help="alone, beside (MLflow); both if none is named")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--metrics", type=int, default=10, help="at most 10")
    parser.add_argument("--points", type=int, default=1000, help="of each metric of each run")
    parser.add_argument("--mlflow-points", type=int, default=100, help="of each metric beside MLflow")
    parser.add_argument("--grids", type=int, default=5, help="of four pictures, of each run")
    parser.add_argument("--queued", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=5, help="visits of each page, in turns")
    parser.add_argument("--clicks", type=int, default=20, help="timed interactions on each page")
    parser.add_argument("--interactions", type=int, default=500, help="before the memory is read again")
    parser.add_argument("--idle-s", type=float, default=30.0, help="seconds that a live page is left alone")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number here too")
    args = parser.parse_args()
    if unknown := [part for part in args.parts if part not in PARTS]:
        parser.error(f"there is no part {unknown[0]!r}: {', '.join(PARTS)}")
    args.parts = args.parts or PARTS
    size = many_runs.Size(args.runs, args.metrics, args.points, args.grids, args.queued, trials=args.runs // 10)
    answer: dict[str, Any] = {"size": asdict(size), "cores": os.cpu_count(), "load_before": os.getloadavg()[0]}
    print(f"{answer['cores']} cores, load {answer['load_before']:.2f} before")
    if "alone" in args.parts:
        answer |= rounds.ours_alone(made(args.folder, size), args)
    if "beside" in args.parts:
        small = replace(size, points=args.mlflow_points, grids=0, queued=0)
        answer |= rounds.beside(made(args.folder, small), mlflow_made(args.folder, small), args)
    answer["load_after"] = os.getloadavg()[0]
    print(figures.shown(answer))
    if args.json:
        args.json.write_text(json.dumps(answer, indent=1))
    return 1 if answer.get("wrong") else 0


if __name__ == "__main__":
    sys.exit(main())
