"""What a report is about: one project's runs, all of them or those that were chosen, and who made it from what."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from shoestring import queries
from shoestring.db import Database
from shoestring.errors import NotFound
from shoestring.home import Home
from shoestring.ranking import DIRECTIONS
from shoestring.records import Run, Spend

from shoestring_ui.points import QUALITIES, comparable


@dataclass(frozen=True)
class Subject:
    """`runs` oldest first; `compared` are those of them whose quality compares with the newest's, trials apart.

    `spends` is the ledger of the chosen runs, or of the whole project (drawings too, which are no runs to compare).
    """

    db: Database
    project: str
    runs: list[Run]
    compared: list[Run]
    metrics: list[str]  # that say how good those are, the report's first
    spends: list[Spend]
    chosen: bool  # whether somebody named the runs

    @property
    def metric(self) -> str:
        """What the report ranks by; empty while nothing has been measured."""
        return next(iter(self.metrics), "")


def subject(db: Database, project: str, run_ids: Sequence[int] = (), metric: str = "") -> Subject:
    """Read what the report is about. Raises NotFound for a project without runs, and for a run that is not of it."""
    runs = queries.runs(db, project=project, drawings=False)
    if run_ids:
        missing = sorted(set(run_ids) - {r.id for r in runs})
        if missing:
            raise NotFound(f"project {project!r} has no run {missing[0]}", "shoestring status lists the runs")
        runs = [r for r in runs if r.id in set(run_ids)]
    if not runs:
        raise NotFound(f"project {project!r} has no run to report", "shoestring submit experiments.yaml")
    plain = [r for r in runs if r.kind != "trial"] or runs
    compared = [r for r in plain if comparable(r) == comparable(plain[-1])]
    recorded = queries.metric_keys(db, [r.id for r in compared])
    asked = [metric] if metric else []
    found = asked + [m for m in QUALITIES if m in recorded and m not in asked]
    spends = [s for s in queries.spends(db, project) if s.run_id is not None]
    if run_ids:
        spends = [s for s in spends if s.run_id in set(run_ids)]
    return Subject(db, project, runs, compared, found, spends, bool(run_ids))


def way(metric: str) -> str:
    """Which way is better; losses and the like go down."""
    return DIRECTIONS.get(metric, "minimize")


def made_of(about: Subject, home: Home) -> list[tuple[str, str]]:
    """Who made the report, when, and from what, as label and text."""
    commits = {str(r.provenance.get("git_commit", ""))[:10] for r in about.runs} - {""}
    dirty = any(r.provenance.get("git_dirty") for r in about.runs)
    made = sorted(commits)[:4] + ([f"and {len(commits) - 4} more"] if len(commits) > 4 else [])
    path = about.db.path
    near = path is not None and path.is_relative_to(home.root)
    place = str(path.relative_to(home.root.parent)) if path and near else path.name if path else about.db.shown
    days = [datetime.fromtimestamp(r.created_at, UTC).date().isoformat() for r in about.runs]
    return [
        ("Project", about.project),
        ("Runs", f"{len(about.runs)}{', chosen' if about.chosen else ''}, submitted {_span(days)}"),
        ("Made by", getpass.getuser()),
        ("Made at", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")),
        ("Database", place),
        ("Git", ", ".join(made) + (" + uncommitted changes" if dirty and made else "")),
    ]


def _span(days: Sequence[str]) -> str:
    first, last = min(days), max(days)
    return first if first == last else f"{first} to {last}"
