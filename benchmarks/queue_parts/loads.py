"""A queue of 100,000 runs and a million metric points: the next claim, a page of the run list, a chart."""

from __future__ import annotations

import statistics
import time
import uuid
from collections.abc import Callable
from typing import Any

from queue_parts.filling import fill
from queue_parts.places import Places
from shoestring import queries, runs
from shoestring.db import Database

PAGE = 200  # rows of the app's table
MANY = 10_000
N_CHARTED = 10  # runs in a chart, which share the points
KEYS = tuple(f"train/metric-{i}" for i in range(10))
BATCH = 10_000  # points in one transaction
REPEATS = 20


def loaded(places: Places, kind: str, n_runs: int, n_points: int, n_claims: int) -> dict[str, Any]:
    """Fill, claim, write, look: milliseconds, points/s; and what went wrong."""
    db = places.new(kind)
    try:
        fill(db, places.folder / "project", n_runs)
        claim_ms, leases = claims(db, n_claims)
        written, rate = points(db, leases[:N_CHARTED], n_points)
        charted = [lease.run_id for lease in leases[:N_CHARTED]]
        answer = {
            "claim_p50_ms": claim_ms[len(claim_ms) // 2],
            "claim_p99_ms": claim_ms[int(0.99 * (len(claim_ms) - 1))],
            "claim_max_ms": claim_ms[-1],
            "points_per_s": rate,
            "page_ms": timed(lambda: queries.runs(db, limit=PAGE)),
            "chart_ms": timed(lambda: queries.series(db, charted, KEYS[0])),
            "keys_ms": timed(lambda: queries.metric_keys(db, charted)),
            "last_ms": timed(lambda: queries.last_values(db, charted, KEYS)),
            "many_ms": timed(lambda: queries.runs(db, limit=MANY), repeats=1),
        }
        curves = queries.series(db, charted, KEYS[0], max_points=n_points)
        per_curve = n_points // N_CHARTED // len(KEYS)
        wrong = []
        if len({lease.run_id for lease in leases}) != min(n_claims, n_runs):
            wrong.append(f"{len(leases)} claims, {len({lease.run_id for lease in leases})} runs")
        if written != n_points or [len(c.step) for c in curves] != [per_curve] * N_CHARTED:
            wrong.append(f"{written} of {n_points} points written, curves of {[len(c.step) for c in curves]}")
        if len(queries.runs(db, limit=PAGE)) != min(PAGE, n_runs):
            wrong.append("a page is not full")
        return answer | {"wrong": wrong}
    finally:
        places.drop(db)


def claims(db: Database, n: int) -> tuple[list[float], list[runs.Lease]]:
    """Sorted milliseconds of `n` claims one after another, and the leases."""
    took, leases = [], []
    for _ in range(n):
        began = time.perf_counter()
        lease = runs.claim(db, "one", uuid.uuid4().hex)
        took.append(1e3 * (time.perf_counter() - began))
        assert lease
        leases.append(lease)
    return sorted(took), leases


def points(db: Database, leases: list[runs.Lease], n: int) -> tuple[int, float]:
    """Write `n` points of started runs as workers do, `BATCH` in a transaction: how many, and points/s."""
    per_run = n // len(leases)
    batches = []
    for lease in leases:
        runs.start(db, lease, 0)
        for first in range(0, per_run, BATCH):
            places = range(first, min(per_run, first + BATCH))
            steps = ((i % len(KEYS), i // len(KEYS)) for i in places)
            batches.append((lease, [(KEYS[k], s, 0.5, 16.0 * s, 1e9 * s, 1e-6 * s, 0.1 * s) for k, s in steps]))
    began = time.perf_counter()
    for lease, batch in batches:
        runs.record(db, lease, batch)
    written = sum(len(batch) for _, batch in batches)
    return written, written / (time.perf_counter() - began)


def timed(look: Callable[[], Any], repeats: int = REPEATS) -> float:
    """Median milliseconds of a look; the first, which warms up, is not counted unless it is the only one."""
    took = []
    for _ in range(repeats + (repeats > 1)):
        began = time.perf_counter()
        look()
        took.append(1e3 * (time.perf_counter() - began))
    return statistics.median(took[1:] or took)
