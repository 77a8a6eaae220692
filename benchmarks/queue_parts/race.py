"""The claim race: processes take runs as fast as they can; none may be taken twice, none left."""

from __future__ import annotations

import statistics
from collections import Counter
from typing import Any

from queue_parts.crowd import Crowd
from queue_parts.filling import fill
from queue_parts.places import Places, address
from shoestring.db import Database
from shoestring.tables import events, runs
from sqlalchemy import select


def race(places: Places, kind: str, n_claimers: int, n_runs: int) -> dict[str, Any]:
    """One race for `n_runs` queued runs: claims/s, ms a claim, the slowest claimer's share; and what went wrong."""
    db = places.new(kind)
    try:
        fill(db, places.folder / "project", n_runs)
        claims = Crowd("claimer.py", [[address(db), f"claimer-{i}"] for i in range(n_claimers)]).go()
        wrong = problems(db, claims, n_runs)
    finally:
        places.drop(db)
    took_ms = sorted(1e3 * (ended - began) for claimer in claims for _, began, ended in claimer)
    first, last = (pick(t for c in claims for _, *times in c for t in times) for pick in (min, max))
    return {
        "claims_per_s": len(took_ms) / (last - first),
        "p50_ms": statistics.median(took_ms),
        "p99_ms": took_ms[int(0.99 * (len(took_ms) - 1))],
        "max_ms": took_ms[-1],
        "share": min(map(len, claims)) / (n_runs / n_claimers),
        "wrong": wrong,
    }


def problems(db: Database, claims: list[list[tuple[int, float, float]]], n_runs: int) -> list[str]:
    """Compare what the claimers say with the table and with the log: every run once, by one claimer, in all three."""
    said = {run_id: f"claimer-{i}" for i, claimer in enumerate(claims) for run_id, _, _ in claimer}
    n_said = sum(map(len, claims))
    with db.read() as conn:
        rows = conn.execute(select(runs.c.id, runs.c.state, runs.c.owner, runs.c.lease_token)).all()
        logged = Counter(conn.scalars(select(events.c.run_id).where(events.c.kind == "claimed")))
    stored = {row.id: row.owner for row in rows if (row.state, row.lease_token) == ("leased", 1)}
    found = []
    if n_said != len(said):
        found.append(f"{n_said - len(said)} runs were claimed twice")
    if len(said) != n_runs or len(rows) != n_runs:
        found.append(f"{n_runs} runs were queued, {len(rows)} are there, {len(said)} were claimed")
    if stored != said:
        found.append(f"the table and the claimers disagree on {len(stored.items() ^ said.items())} claims")
    if logged != Counter(said.keys()):
        found.append(f"the log has {logged.total()} claims of {len(logged)} runs; {len(said)} were claimed")
    return found
