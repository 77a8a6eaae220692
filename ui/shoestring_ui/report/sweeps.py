"""The report's Sweep: what was searched, for how much, and where quality and dollars are best."""

from __future__ import annotations

from functools import partial
from statistics import median

from shoestring import queries, sweep_state
from shoestring.records import Run, Sweep, Trial

from shoestring_ui import amounts, frames, takeaways, words
from shoestring_ui.charts import trials_per_dollar
from shoestring_ui.points import objectives, of_trials, quality_goal
from shoestring_ui.report.pieces import chart, csv, section, table
from shoestring_ui.report.subject import Subject
from shoestring_ui.sweep_charts import at_equal_dollars, heatmap, of_rungs, parallel, rungs

SWEEPS_AT_MOST = 3  # the newest


def sweeps(about: Subject) -> str:
    """The newest sweeps of the project; of chosen runs those that they are trials of. Empty without any."""
    ours = {r.sweep_id for r in about.runs if r.sweep_id is not None}
    found = [s for s in queries.sweeps(about.db, about.project) if not about.chosen or s.id in ours]
    if not found:
        return ""
    lede = "A search over the fields of one experiment: every trial is a run in the same queue."
    return section("sweep", "Sweep", lede, *(_sweep(about, s) for s in found[-SWEEPS_AT_MOST:][::-1]))


def _sweep(about: Subject, sweep: Sweep) -> str:
    trials = queries.trials(about.db, sweep.id)
    runs = {r.id: r for r in queries.runs(about.db, sweep_id=sweep.id)}
    data = frames.of_trials(sweep, trials, runs)
    name = f"trials-{sweep.id}"
    listed = f"{table(data, 'Every trial.', ['cost/usd', 'spent'])}{csv(data, name)}" if trials else ""
    head = f"<h3>#{sweep.id} {words.escape(sweep.name)}</h3>{words.figures(_figures(sweep, trials, runs))}"
    return f"{head}{''.join(_charts(about, sweep, trials, runs))}{listed}"


def _figures(sweep: Sweep, trials: list[Trial], runs: dict[int, Run]) -> list[words.Figure]:
    costs = [runs[t.run_id].spent_usd for t in trials if t.run_id in runs and t.values]
    cap = f"of {amounts.usd(sweep.max_usd)}" if sweep.max_usd else "no cap"
    return [
        words.Figure("Spent", amounts.usd(sweep.spent_usd), cap, money=True),
        words.Figure("A trial costs", amounts.usd(median(costs) if costs else None), "median, actual", money=True),
        words.Figure("Trials", str(len(trials)), f"{sum(t.state == 'complete' for t in trials)} complete"),
        words.Figure("State", sweep.state, f"base {sweep.base}"),
    ]


def _charts(about: Subject, sweep: Sweep, trials: list[Trial], runs: dict[int, Run]) -> list[str]:
    goals, quality = objectives(sweep), quality_goal(sweep)
    done = [t for t in trials if goals and len(t.values) == len(goals)]
    if not done or quality is None:
        return [words.empty("No finished trial yet", "Charts come with the first trial that ends.")]
    data = frames.of_trials(sweep, done, runs)
    money = [column for column in ("cost/usd", "spent") if column in data]
    points, params = of_trials(sweep, done, runs, quality[0]), sorted({p for t in done for p in t.params})

    said = takeaways.of_points(points, quality[1], quality[2], "trials")
    over_dollars = partial(trials_per_dollar, points, quality[1], quality[2])
    drawn = [chart(over_dollars, said, data, f"sweep-{sweep.id}", money)]
    halved = sweep_state.at_rungs(about.db, sweep)
    if halved:
        first = goals[0][1:]
        drawn.append(
            chart(lambda c: rungs(halved, first, c), of_rungs(halved, first), data, f"rungs-{sweep.id}", money)
        )
    if len(params) >= 2:
        x = next((p for p in params if p.endswith("mask.ratio")), params[0])
        y = next(p for p in params if p != x)
        mapped, of = done, quality
        if halved:
            what = f"{goals[0][1]} at {amounts.usd(halved[0][0])}"
            mapped, of = at_equal_dollars(trials, halved), (0, what, goals[0][2])
        said = takeaways.of_heatmap(mapped, x, y, of)
        drawn.append(chart(lambda c: heatmap(mapped, x, y, of, c), said, data, f"heatmap-{sweep.id}", money))
    names = [g[1] for g in goals]
    said = takeaways.of_parallel(done, params, quality)
    drawn.append(chart(lambda c: parallel(done, params, names, c), said, data, f"parallel-{sweep.id}", money))
    return drawn
