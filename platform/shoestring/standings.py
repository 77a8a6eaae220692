"""The standings: which runs are compared, and their ranking. The command, the showcase and the app read it here."""

from __future__ import annotations

from collections.abc import Iterable

from shoestring import queries
from shoestring.db import Database
from shoestring.ranking import Curve, Ranking, rank
from shoestring.records import Run


def standings(db: Database, runs: list[Run], metric: str = "val/loss", at_usd: float | None = None) -> Ranking:
    """Rank the finished ones of `runs` by experiment at equal dollars. Raises UsageError for an unknown metric."""
    finished = {run.id: run for run in runs if run.state == "succeeded"}
    curves = [
        Curve(finished[series.run_id].experiment, finished[series.run_id].seed, series)
        for series in queries.series(db, sorted(finished), metric)
    ]
    return rank(curves, metric, at_usd)


def newest_of(db: Database, project: str, spec_hashes: Iterable[str]) -> list[Run]:
    """The newest run of each request, whatever its state, by id."""
    wanted, newest = set(spec_hashes), dict[str, Run]()
    for run in queries.runs(db, project=project):
        kept = newest.get(run.spec_hash)
        if run.spec_hash in wanted and (kept is None or run.generation > kept.generation):
            newest[run.spec_hash] = run
    return sorted(newest.values(), key=lambda run: run.id)
