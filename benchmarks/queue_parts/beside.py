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


def beside(places: Places, packages: Path, n_workers: int, n_jobs: int, number: int) -> dict[str, Any]:
    """A turn of each, ours first in every other round: jobs/s, their ratio, and what went wrong."""
    sides: dict[str, tuple[float, list[str]]] = {}
    for side in ("ours", "theirs") if number % 2 == 0 else ("theirs", "ours"):
        if side == "ours":
            sides[side] = our_turn(places, "postgresql", n_workers, n_jobs)
        else:
            sides[side] = their_turn(places, packages, n_workers, n_jobs)
    (ours, wrong), (theirs, also_wrong) = sides["ours"], sides["theirs"]
    return {"ours_per_s": ours, "theirs_per_s": theirs, "ratio": ours / theirs, "wrong": wrong + also_wrong}


def alone(places: Places, kind: str, n_workers: int, n_jobs: int) -> dict[str, Any]:
    """A turn of ours where procrastinate cannot be."""
    ours, wrong = our_turn(places, kind, n_workers, n_jobs)
    return {"ours_per_s": ours, "wrong": wrong}


def our_turn(places: Places, kind: str, n_workers: int, n_jobs: int) -> tuple[float, list[str]]:
    """Runs/s from the first claim to the last finish, and what went wrong."""
    db = places.new(kind)
    try:
        fill(db, places.folder / "project", n_jobs)
        said = Crowd("carrier.py", [[address(db), f"worker-{i}"] for i in range(n_workers)]).go()
        return rate(said), unfinished(db, n_jobs)
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


def their_turn(places: Places, packages: Path, n_workers: int, n_jobs: int) -> tuple[float, list[str]]:
    """Jobs/s from the first fetch to the last job's work, and what went wrong."""
    db = places.new("postgresql")
    try:
        Crowd("procrastinator.py", [[address(db), "fill", str(n_jobs)]], packages).go()
        said = Crowd("procrastinator.py", [[address(db), "work"]] * n_workers, packages).go()
        with db.read() as conn:
            states = dict(conn.execute(text("SELECT status, count(*) FROM procrastinate_jobs GROUP BY 1")).all())
        return rate(said), [] if states == {"succeeded": n_jobs} else [f"states of {n_jobs} jobs: {states}"]
    finally:
        places.drop(db)


def rate(said: list[dict[str, Any]]) -> float:
    """Jobs/s of all workers together."""
    working = [one for one in said if one["n"]]
    seconds = max(one["last"] for one in working) - min(one["began"] for one in said)
    return sum(one["n"] for one in working) / seconds
