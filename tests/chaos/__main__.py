"""`./run chaos`: every part of the proof at its full size, with a table at the end. `--kills N` for the kills alone."""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from postgres import Postgres

from chaos import bench, parts
from chaos.parts import Part

# part → how often, in full; the kills on SQLite are most of queue.md's 5,000, those on PostgreSQL the rest
FULL = {
    "kills": 4_000, "kills-postgresql": 1_000, "real": 30, "crashes": 3, "corrupt": 100, "terms": 50, "clocks": 20,
    "restarts": 10, "outages": 2, "budgets": 100, "disk-full": 20,
}  # fmt: skip
OUTAGE_S = 300.0


def main() -> int:
    """Run the parts that were asked for; exit 1 when one of them did not hold."""
    parser = argparse.ArgumentParser(prog="./run chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="of the schedules; a fresh one is drawn and printed")
    parser.add_argument(
        "--kills", type=int, metavar="N", help="only the kills: N on SQLite and a quarter on PostgreSQL"
    )
    parser.add_argument("--part", choices=list(FULL), action="append", help="only this part; may be given again")
    parser.add_argument("--n", type=int, help="how often, instead of the full number")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="work in DIR and leave everything there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was found to FILE")
    parser.add_argument("-v", action="store_true", dest="verbose", help="a line for every fault")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # a run's numbers depend on it; two workers share two cores
    seed = random.SystemRandom().randrange(2**31) if args.seed is None else args.seed
    wanted = {name: args.n or FULL[name] for name in args.part or FULL}
    if args.kills is not None:
        wanted = {"kills": args.kills, "kills-postgresql": max(1, args.kills // 4)}
    print(f"seed {seed}: " + ", ".join(f"{name} × {n}" for name, n in wanted.items()), flush=True)
    with ExitStack() as stack:
        folder = args.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="shoestring-chaos-")))
        done = [_tell(part) for part in run(wanted, folder.resolve(), seed, _line if args.verbose else _dot)]
    if args.json:
        args.json.write_text(json.dumps([vars(part) for part in done], indent=1))
    wrong = sum(len(part.problems) for part in done)
    print(f"{len(done)} parts, {wrong or 'no'} problem{'s' if wrong > 1 else ''}; again with --seed {seed}")
    return 1 if wrong else 0


def run(wanted: dict[str, int], folder: Path, seed: int, show: Callable[[str], None]) -> Iterator[Part]:
    """Do each part of `wanted` (name → how often) in a folder of its own."""
    sqlite = bench.sqlite_databases(folder / "databases")
    with ExitStack() as stack:
        server = stack.enter_context(Postgres()) if {"kills-postgresql", "restarts", "outages"} & set(wanted) else None
        for name, n in wanted.items():
            at = folder / name
            if name == "kills-postgresql":
                assert server
                yield parts.kills(server.new(), at, seed, n, show)
            elif name == "restarts":
                assert server
                yield parts.restarts(server, at, seed, n, show)
            elif name == "outages":
                assert server
                yield parts.restarts(server, at, seed, n, show, OUTAGE_S)
            elif name == "real":
                yield parts.kills(next(sqlite), at, seed, n, show, bench.real_trainer(at))
            elif name == "crashes":
                yield parts.crashes(sqlite, at, show, n)
            elif name == "disk-full":
                yield parts.disk_full(at, n)
            elif name == "corrupt":
                yield parts.corrupt(at, seed, n, show)
            else:
                yield getattr(parts, name)(next(sqlite), at, seed, n, show)


def _tell(part: Part) -> Part:
    held = "HELD" if not part.problems else f"{len(part.problems)} PROBLEMS"
    print(f"\n{part.name} × {part.n}: {held} in {part.seconds:.0f} s. {part.text}", flush=True)
    for problem in part.problems[:20]:
        print(f"  WRONG: {problem}")
    return part


def _line(text: str) -> None:
    print(f"  {text}", flush=True)


def _dot(_: str) -> None:
    print(".", end="", flush=True)


if __name__ == "__main__":
    sys.exit(main())
