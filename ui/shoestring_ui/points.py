"""Runs and trials as points of the map of quality per dollar: which may be compared, and where each stands. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from shoestring.ranking import DIRECTIONS, value_at
from shoestring.records import Run, Series, Sweep, Trial
from shoestring.standings import measured_on

from shoestring_ui.charts import Point, front_of
from shoestring_ui.identity import ACTIVE

QUALITIES = tuple(name for name in DIRECTIONS if name not in ("train/loss", "cost/usd"))  # that say how good a run is
AXES = frozenset({"progress/images", "progress/flops", "progress/usd", "cost/seconds"})


def comparable(run: Run) -> str:
    """What must be equal for two runs' quality to be compared."""
    return f"{run.project}: {measured_on(run)}"


def metric_order(recorded: Sequence[str]) -> list[str]:
    """Quality first, then the rest by name; the axes themselves are left out."""
    known = [k for k in DIRECTIONS if k in recorded and k != "cost/usd"]
    return known + sorted(k for k in recorded if k not in AXES and k not in known)


def of_runs(runs: Sequence[Run], series: Sequence[Series], log: bool = False) -> list[Point]:
    """Each run that trains, rests or has succeeded, at its last value; `log` leaves out what has cost nothing yet."""
    by_id = {r.id: r for r in runs}
    return [
        Point(
            s.run_id, by_id[s.run_id].name, s.usd[-1], s.value[-1],
            running=by_id[s.run_id].state in ACTIVE, forecast_usd=by_id[s.run_id].planned_usd or None,
            curve=tuple((u, v) for u, v in zip(s.usd, s.value, strict=True) if u > 0 or not log),
        )
        for s in series
        if s.value and (s.usd[-1] > 0 or not log) and by_id[s.run_id].state in ACTIVE | {"succeeded", "paused"}
    ]  # fmt: skip


def nearest(point: Point, points: Sequence[Point], way: str) -> Point | None:
    """Whom to look at beside it: of the other points on the front (of all others, where there is none) the one nearest
    in dollars."""
    front = [p for p in front_of(points, way) if p.run_id != point.run_id]
    others = front or [p for p in points if p.run_id != point.run_id]
    return min(others, key=lambda p: (abs(p.usd - point.usd), p.run_id), default=None)


def values_at(series: Sequence[Series], usd: float) -> dict[int, float]:
    """Run → its value at so many dollars, for the runs that have one there."""
    found = {s.run_id: value_at(s, usd) for s in series}
    return {run_id: value for run_id, value in found.items() if value is not None}


def objectives(sweep: Sweep) -> list[tuple[int, str, str]]:
    """(index in `Trial.values`, metric, which way is better), in the sweep's order."""
    return [(i, k, way) for i, (k, way) in enumerate(dict(sweep.spec.get("objectives", {})).items())]


def quality_goal(sweep: Sweep) -> tuple[int, str, str] | None:
    """The first objective that is not dollars."""
    return next((goal for goal in objectives(sweep) if goal[1] != "cost/usd"), None)


def of_trials(sweep: Sweep, done: Sequence[Trial], runs: Mapping[int, Run], quality: int) -> list[Point]:
    """Each trial at the dollars that it is judged by, or spent; `quality` is the index of its value."""
    cost = next((i for i, name, _ in objectives(sweep) if name == "cost/usd"), None)

    def usd(trial: Trial) -> float:
        if cost is not None:
            return trial.values[cost]
        run = runs.get(trial.run_id or 0)
        return run.spent_usd if run else 0.0

    return [Point(t.run_id or t.number + 1, f"trial {t.number}", usd(t), t.values[quality]) for t in done]
