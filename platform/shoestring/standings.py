"""The standings: which runs are compared, and their ranking. The command, the showcase and the app read it here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from shoestring import queries
from shoestring.db import Database
from shoestring.ranking import Curve, Ranking, rank
from shoestring.records import Run, Series

LOSSES = ("val/", "train/")  # metrics that mean something on one data set only


def standings(
    db: Database,
    runs: list[Run],
    metric: str = "val/loss",
    at_usd: float | None = None,
    *,
    known: Sequence[Series] | None = None,
) -> Ranking:
    """Rank the finished ones of `runs` by experiment at equal dollars. Raises UsageError for an unknown metric.

    Losses are comparable only on the same data: with a loss, runs on another set than most are left out and named.
    `known` are the runs' curves, where they have been read already.
    """
    finished = {run.id: run for run in runs if run.state == "succeeded"}
    others = on_other_data(list(finished.values())) if metric.startswith(LOSSES) else []
    for run in others:
        del finished[run.id]
    curves = [
        Curve(finished[series.run_id].experiment, finished[series.run_id].seed, series)
        for series in (queries.series(db, sorted(finished), metric) if known is None else known)
        if series.run_id in finished
    ]
    ranking = rank(curves, metric, at_usd)
    left_out = [(run.id, f"its {metric} is measured on {measured_on(run)}: compare KID") for run in others]
    return replace(ranking, left_out=(*ranking.left_out, *left_out))


def on_other_data(runs: Sequence[Run]) -> list[Run]:
    """Those whose losses cannot be compared with the others': measured on another set than most of `runs`."""
    sets = Counter(measured_on(run) for run in runs)
    usual = max(sets, key=lambda one: sets[one], default="")
    return [run for run in runs if measured_on(run) != usual]


def measured_on(run: Run) -> str:
    """What a run's losses are measured on at its end, in words: data set and evaluation; equal, or not comparable."""
    stages = run.config.get("stages") or [{}]
    data = stages[-1].get("data") or run.config.get("data") or {}
    main = (data.get("sources") or [data])[0]
    n_images = run.config.get("evaluate", {}).get("n_images")
    return f"{main.get('name')} {str(main.get('digest'))[:6]}, {n_images} images"


def newest_of(db: Database, project: str, spec_hashes: Iterable[str]) -> list[Run]:
    """The newest run of each request, whatever its state, by id."""
    wanted, newest = set(spec_hashes), dict[str, Run]()
    for run in queries.runs(db, project=project):
        kept = newest.get(run.spec_hash)
        if run.spec_hash in wanted and (kept is None or run.generation > kept.generation):
            newest[run.spec_hash] = run
    return sorted(newest.values(), key=lambda run: run.id)
