"""Claim to finish, beside procrastinate on the same PostgreSQL server and settings: turns of jobs that do nothing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from queue_parts.crowd import Crowd
from queue_parts.filling import fill
from queue_parts.places import Places, address
from shoestring.db import Database
from shoestring.tables import attempts, events, runs
from sqlalchemy import func, select, text

HOW = (
    "procrastinate is left out: pip install --target FOLDER procrastinate 'psycopg[binary,pool]', "
    "then --procrastinate FOLDER"
)


Turn = tuple[dict[str, float], list[str]]  # figures, and what went wrong


def beside(places: Places, packages: Path, n_workers: int, n_jobs: int, number: int) -> dict[str, Any]:
    """A turn of each, ours first in every other round: jobs/s, CPU ms a job (of its workers, and of the server for
    them), the ratio of jobs/s; and what went wrong."""
    turns: dict[str, Turn] = {}
    for side in ("ours", "theirs") if number % 2 == 0 else ("theirs", "ours"):
        before = places.server_cpu_s()
        if side == "ours":
            figures, wrong = our_turn(places, "postgresql", n_workers, n_jobs)
        else:
            figures, wrong = their_turn(places, packages, n_workers, n_jobs)
        figures["server_ms"] = 1e3 * (places.server_cpu_s() - before) / n_jobs
        turns[side] = figures, wrong
    answer: dict[str, Any] = {
        f"{side}_{name}": v for side, (figures, _) in turns.items() for name, v in figures.items()
    }
    answer["ratio"] = answer["ours_per_s"] / answer["theirs_per_s"]
    return answer | {"wrong": turns["ours"][1] + turns["theirs"][1]}


def alone(places: Places, kind: str, n_workers: int, n_jobs: int) -> dict[str, Any]:
    """A turn of ours where procrastinate cannot be."""
    figures, wrong = our_turn(places, kind, n_workers, n_jobs)
    return {f"ours_{name}": value for name, value in figures.items()} | {"wrong": wrong}


def our_turn(places: Places, kind: str, n_workers: int, n_jobs: int) -> Turn:
    """Runs from the first claim to the last finish."""
    db = places.new(kind)
    try:
        fill(db, places.folder / "project", n_jobs)
        said = Crowd("carrier.py", [[address(db), f"worker-{i}"] for i in range(n_workers)]).go()
        return rates(said), unfinished(db, n_jobs)
    finally:
        places.drop(db)


def unfinished(db: Database, n_jobs: int) -> list[str]:
    """Every run succeeded, in one attempt, with one event of each kind; or what is not so."""
    with db.read() as conn:
        states = dict(conn.execute(select(runs.c.state, func.count()).group_by(runs.c.state)).all())
        ended = conn.scalar(select(func.count()).where(attempts.c.outcome == "succeeded"))
        kinds = Counter(dict(conn.execute(select(events.c.kind, func.count()).group_by(events.c.kind)).all()))
    kinds.pop("budget", None)
    found = [] if states == {"succeeded": n_jobs} else [f"states of {n_jobs} runs: {states}"]
    if ended != n_jobs or kinds != Counter(dict.fromkeys(("submitted", "claimed", "started", "succeeded"), n_jobs)):
        found.append(f"{n_jobs} runs, {ended} attempts that succeeded, events {dict(kinds)}")
    return found


def their_turn(places: Places, packages: Path, n_workers: int, n_jobs: int) -> Turn:
    """Jobs from the first fetch to the last one's work."""
    db = places.new("postgresql")
    try:
        Crowd("procrastinator.py", [[address(db), "fill", str(n_jobs)]], packages).go()
        said = Crowd("procrastinator.py", [[address(db), "work"]] * n_workers, packages).go()
        with db.read() as conn:
            states = dict(conn.execute(text("SELECT status, count(*) FROM procrastinate_jobs GROUP BY 1")).all())
        return rates(said), [] if states == {"succeeded": n_jobs} else [f"states of {n_jobs} jobs: {states}"]
    finally:
        places.drop(db)


def rates(said: list[dict[str, Any]]) -> dict[str, float]:
    """Jobs/s of all workers together, and their CPU ms a job."""
    n = sum(one["n"] for one in said)
    seconds = max(one["last"] for one in said) - min(one["began"] for one in said)
    return {"per_s": n / seconds, "client_ms": 1e3 * sum(one["cpu_s"] for one in said) / n}
