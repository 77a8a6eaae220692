"""Records as the rows of a table and a CSV: the numbers beside a chart. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pandas as pd
from shoestring.forecasts import Forecast
from shoestring.quotes import Quote
from shoestring.ranking import Ranking
from shoestring.records import MICRO, OUTCOMES, Run, Series, Sweep, Trial

from shoestring_ui.charts import Point
from shoestring_ui.differences import shown
from shoestring_ui.identity import mark, state_words
from shoestring_ui.points import objectives
from shoestring_ui.reaches import Goal


def of_points(points: Sequence[Point], metric: str, states: Mapping[int, str]) -> pd.DataFrame:
    """The runs of the map, the cheapest first."""
    return pd.DataFrame(
        [
            {"run": f"{mark(p.run_id)} #{p.run_id} {p.name}", "useful dollars": p.usd, metric: p.quality,
             "state": states[p.run_id]}
            for p in sorted(points, key=lambda p: p.usd)
        ]
    )  # fmt: skip


def of_goal(goal: Goal, points: Sequence[Point]) -> pd.DataFrame:
    """The runs that reach a quality, the cheapest first."""
    by_id = {p.run_id: p for p in points}
    rows = [(by_id[one.run_id], one.usd) for one in goal.reaches if one.run_id in by_id]
    return pd.DataFrame(
        [
            {"run": f"{mark(p.run_id)} #{p.run_id} {p.name}", f"reaches {goal.quality:g} at": usd,
             f"last {goal.metric}": p.quality, "useful dollars": p.usd}
            for p, usd in rows
        ]
    )  # fmt: skip


def of_course(course: Sequence[tuple[float, int]], cap_usd: float) -> pd.DataFrame:
    """When what was left of a cap."""
    times = [datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds") for at, _ in course]
    gone = [micro / MICRO for _, micro in course]
    return pd.DataFrame({"time (UTC)": times, "spent": gone, "left": [cap_usd - one for one in gone]})


def of_ranking(ranking: Ranking, values: Mapping[int, float]) -> pd.DataFrame:
    """The places at equal dollars, with the value of each of their runs and how surely the first is better."""
    chances = {one.b: one.p for one in ranking.odds if one.a == ranking.places[0].experiment}
    return pd.DataFrame(
        [
            {"place": p.place, "experiment": p.experiment, ranking.metric: p.value, "standard error": p.se,
             "seeds": p.seeds, "dollars": p.usd, "probability that the first is better": chances.get(p.experiment),
             "runs": ", ".join(f"#{i} {values[i]:.6g}" for i in p.run_ids if i in values)}
            for p in ranking.places
        ]
    )  # fmt: skip


def of_parts(flop: Mapping[str, float]) -> pd.DataFrame:
    """Training FLOPs by component."""
    whole = sum(flop.values())
    return pd.DataFrame([{"component": name, "FLOPs": n, "share": n / whole} for name, n in flop.items()])


def of_quotes(quotes: Mapping[str, Quote]) -> pd.DataFrame:
    """One run on every row of the catalogue."""
    rows = []
    for name, one in quotes.items():
        usd, hours = one.needs.usd, one.needs.hours
        known = {"fits": one.fits, "known by": one.how, "note": one.note}
        money = {"dollars p10": usd.p10, "dollars p50": usd.p50, "dollars p90": usd.p90}
        spot = one.spot_usd.p50 if one.spot_usd else None
        rows.append({"hardware": name, **money, "spot p50": spot, "hours p50": hours.p50,
                     "memory GB": one.needs.memory_bytes.p50 / 1e9, **known})  # fmt: skip
    return pd.DataFrame(rows)


def of_curves(series: Sequence[Series], names: Mapping[int, str], metric: str) -> pd.DataFrame:
    """Every point of every curve, with every x-axis."""
    rows = [
        {
            "run": f"{mark(s.run_id)} #{s.run_id} {names[s.run_id]}", "step": s.step[i], metric: s.value[i],
            "dollars": s.usd[i], "images": s.images[i], "seconds": s.seconds[i], "FLOPs": s.flops[i],
        }
        for s in series for i in range(len(s.step))
    ]  # fmt: skip
    return pd.DataFrame(rows)


def of_differences(found: Mapping[str, Sequence[Any]], runs: Sequence[Run]) -> pd.DataFrame:
    """A field a row, a run a column: only what differs."""
    columns = {f"#{r.id} {r.name}": [shown(v[i]) for v in found.values()] for i, r in enumerate(runs)}
    return pd.DataFrame({"field": list(found), **columns})


def of_trials(sweep: Sweep, trials: Sequence[Trial], runs: Mapping[int, Run]) -> pd.DataFrame:
    """One row a trial: its fields, its objectives, its run."""
    rows = []
    for trial in trials:
        run = runs.get(trial.run_id or 0)
        row = {"": mark(trial.run_id or trial.number + 1), "trial": trial.number, **trial.params}
        row.update({name: trial.values[i] if i < len(trial.values) else None for i, name, _ in objectives(sweep)})
        rows.append({**row, "spent": run.spent_usd if run else None, "state": state_words(trial.state)})
    return pd.DataFrame(rows)


def of_days(days: Mapping[str, Mapping[str, int]]) -> pd.DataFrame:
    """Dollars by day and outcome; an outcome without a dollar has no column."""
    used = [outcome for outcome in OUTCOMES if any(parts[outcome] for parts in days.values())]
    return pd.DataFrame(
        [{"day": day, **{outcome: parts[outcome] / MICRO for outcome in used}} for day, parts in days.items()]
    )


def of_forecasts(forecasts: Sequence[Forecast]) -> pd.DataFrame:
    """Each finished run's plan against what it took."""
    return pd.DataFrame(
        [
            {"run": f"#{one.run_id} {one.name}", "hardware": one.hardware, "planned": one.p50_usd, "p10": one.p10_usd,
             "p90": one.p90_usd, "actual": one.actual_usd, "error %": 100 * one.error, "within": one.inside}
            for one in forecasts
        ]
    )  # fmt: skip
