"""The command: which parts, how large, how often; then one table, the targets beside it, and the exit code."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from queue_parts import figures
from queue_parts.beside import HOW, alone, beside
from queue_parts.loads import loaded
from queue_parts.places import KINDS, Places
from queue_parts.race import race
from queue_parts.submitting import submitting

PARTS = ("race", "load", "submit", "beside")
Measure = Callable[[int], dict[str, Any]]  # the number of the round → figures, and `wrong`


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    claims: int = 10_000
    queued: int = 100_000
    points: int = 1_000_000
    claims_of_many: int = 2_000
    files: int = 3
    specs: int = 1_000  # in a file
    jobs: int = 1_000
    rounds: dict[str, int] = field(default_factory=lambda: {"race": 2, "load": 2, "submit": 2, "beside": 3})


ONCE = dict.fromkeys(PARTS, 1)
QUICK = Size(claims=200, queued=500, points=10_000, claims_of_many=50, files=2, specs=20, jobs=50, rounds=ONCE)


def main(about: str) -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; all of them if none is named")
    parser.add_argument("--databases", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--processes", type=int, nargs="+", default=[2, 8], help="claimers in a race, workers beside")
    parser.add_argument("--rounds", type=int, help="of every part, instead of 2 (beside: 3)")
    parser.add_argument("--quick", action="store_true", help="everything small: whether it works, not how fast")
    parser.add_argument("--procrastinate", type=Path, metavar="FOLDER", help="where pip put procrastinate")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number here too")
    args = parser.parse_args()
    if unknown := [part for part in args.parts if part not in PARTS]:
        parser.error(f"there is no part {unknown[0]!r}: {', '.join(PARTS)}")
    size = QUICK if args.quick else Size()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("error: told to stop"))  # and take the server along
    began = time.monotonic()
    answer: dict[str, Any] = {"cores": os.cpu_count(), "load_before": os.getloadavg()[0], "parts": {}}
    print(f"{answer['cores']} cores, load {answer['load_before']:.2f} before")
    with Places(tuple(args.databases)) as places:
        answer |= {"settings": places.settings(), "sync_ms": [places.sync_ms()]}
        for said in answer["settings"].values():
            print(said)
        for part in args.parts or PARTS:
            rounds = args.rounds or size.rounds[part]
            answer["parts"][part] = in_turns(part, rounds, measures(part, places, size, args))
            figures.show(part, answer["parts"][part])
            answer["sync_ms"].append(places.sync_ms())
    syncs = ", ".join(f"{ms:.2f}" for ms in answer["sync_ms"])
    print(f"\nmaking 4 KiB durable took {syncs} ms (medians, before and after each part)")
    print(f"took {time.monotonic() - began:.0f} s; load {os.getloadavg()[0]:.2f} after")
    if args.json:
        args.json.write_text(json.dumps(answer, indent=1))
    wrong = [f"{name}: {what}" for part in answer["parts"].values() for name, rounds in part.items()
             for one in rounds for what in one["wrong"]]  # fmt: skip
    for what in wrong:
        print(f"WRONG: {what}")
    sys.exit(1 if wrong else 0)


def measures(part: str, places: Places, size: Size, args: argparse.Namespace) -> dict[str, Measure]:
    """What a round of this part measures, by name."""
    found: dict[str, Measure] = {}
    if part == "beside":
        packages = args.procrastinate
        if packages is None or not (packages / "procrastinate").is_dir():
            packages = None
            print(HOW, file=sys.stderr)
        for n in args.processes:
            for kind in places.kinds:
                if kind == "postgresql" and packages:
                    found[f"{kind}, {n} workers"] = lambda i, n=n: beside(places, packages, n, size.jobs, i)
                else:
                    found[f"{kind}, {n} workers"] = lambda i, n=n, kind=kind: alone(places, kind, n, size.jobs)
        return found
    for kind in places.kinds:
        if part == "race":
            for n in args.processes:
                found[f"{kind}, {n} claimers"] = lambda i, n=n, kind=kind: race(places, kind, n, size.claims)
        elif part == "load":
            found[kind] = lambda i, kind=kind: loaded(places, kind, size.queued, size.points, size.claims_of_many)
        else:
            found[kind] = lambda i, kind=kind: submitting(places, kind, size.files, size.specs)
    return found


def in_turns(part: str, rounds: int, wanted: dict[str, Measure]) -> dict[str, list[dict[str, Any]]]:
    """Measure all of a part in each round, so that a slow minute falls on all alike."""
    answers: dict[str, list[dict[str, Any]]] = {name: [] for name in wanted}
    for number in range(rounds):
        for name, measure in wanted.items():
            print(f"\r\033[K{part}: round {number + 1} of {rounds}, {name}", end="", file=sys.stderr, flush=True)
            answers[name].append(measure(number))
    print("\r\033[K", end="", file=sys.stderr)
    return answers
