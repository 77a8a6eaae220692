"""Sweep: what was searched, for how much, and where quality and dollars are best."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median

import pandas as pd
import streamlit as st
from shoestring import queries, sweep_state
from shoestring.records import Run, Sweep, Trial

from shoestring_ui import amounts, frames, takeaways, verbs, words
from shoestring_ui.charts import CURVES_UP_TO, front_of, trials_per_dollar
from shoestring_ui.pace import live
from shoestring_ui.points import objectives, of_trials, quality_goal
from shoestring_ui.store import ask
from shoestring_ui.sweep_charts import at_equal_dollars, heatmap, of_rungs, parallel, rungs
from shoestring_ui.theme import palette
from shoestring_ui.views.steer import steer
from shoestring_ui.widgets import chart, grid, head, nothing, section
from shoestring_ui.words import Figure


def page() -> None:
    """Draw one sweep; the address says which."""
    head("Sweep", "A search over the fields of one experiment: every trial is a run in the same queue.")
    sweeps = sorted(ask(queries.sweeps), key=lambda s: -s.id)
    if not sweeps:
        text = "Describe a search under `sweeps:` in experiments.yaml; it stops when its dollars are spent."
        nothing("No sweep yet", text, "shoestring sweep run experiments.yaml NAME")
        return
    names = {str(s.id): f"#{s.id} {s.name}" for s in sweeps}
    ids = list(names)
    asked = st.query_params.get("sweep", ids[0])
    first = ids.index(asked) if asked in names else 0
    chosen = st.selectbox("Sweep", ids, index=first, format_func=names.__getitem__, width=420)
    st.query_params["sweep"] = chosen

    def body() -> None:
        sweep = next(s for s in ask(queries.sweeps) if str(s.id) == chosen)
        trials = ask(queries.trials, sweep.id)
        runs = {r.id: r for r in ask(queries.runs, sweep_id=sweep.id)}
        verbs.outcomes()
        st.html(words.figures(_figures(sweep, trials, runs)))
        if sweep.max_usd:
            st.html(words.bar(sweep.spent_usd, 0.0, sweep.max_usd))
        if not trials:
            st.html(words.empty("No trial yet", "Trials are proposed one at a time.", "shoestring work"))
            steer(sweep, trials, runs)
            return
        _charts(sweep, trials, runs)
        steer(sweep, trials, runs)
        _table(sweep, trials, runs)

    live(body, next(s for s in sweeps if str(s.id) == chosen).state == "running")


def _figures(sweep: Sweep, trials: Sequence[Trial], runs: dict[int, Run]) -> list[Figure]:
    costs = [runs[t.run_id].spent_usd for t in trials if t.run_id in runs and t.values]
    states = Counter(t.state for t in trials)
    afford = ""
    if sweep.max_usd and costs and median(costs) > 0 and sweep.state == "running":
        afford = f"can afford about {max(0, int((sweep.max_usd - sweep.spent_usd) / median(costs)))} more"
    cap = f"of {amounts.usd(sweep.max_usd)}" if sweep.max_usd else "no cap"
    return [
        Figure("Spent", amounts.usd(sweep.spent_usd), cap, money=True),
        Figure("A trial costs", amounts.usd(median(costs) if costs else None), "median, actual", money=True),
        Figure("Trials", str(len(trials)), ", ".join(f"{n} {s}" for s, n in states.most_common(3))),
        Figure("State", sweep.state, afford or f"base {sweep.base}"),
    ]


def _charts(sweep: Sweep, trials: Sequence[Trial], runs: dict[int, Run]) -> None:
    goals = objectives(sweep)
    quality = quality_goal(sweep)
    done = [t for t in trials if len(t.values) == len(goals) and goals]
    if not done or quality is None:
        st.html(words.empty("No finished trial yet", "Charts come with the first trial that ends.", "shoestring work"))
        return
    data = frames.of_trials(sweep, done, runs)
    money = [c for c in ("cost/usd", "spent") if c in data]
    points = of_trials(sweep, done, runs, quality[0])
    section("Quality against dollars")
    figure = trials_per_dollar(points, quality[1], quality[2], palette())
    chart(figure, takeaways.of_points(points, quality[1], quality[2], "trials"), lambda: data, "trials", money)
    halved = ask(sweep_state.at_rungs, sweep)
    if halved:
        section("Rungs of equal dollars")
        first = goals[0][1:]
        chart(rungs(halved, first, palette()), of_rungs(halved, first), lambda: data, f"rungs-{sweep.id}", money)
    params = sorted({p for t in done for p in t.params})
    left, right = st.columns(2, gap="large")
    if len(params) >= 2:
        mapped, of = done, quality
        if halved:
            what = f"{goals[0][1]} at {amounts.usd(halved[0][0])}"
            mapped, of = at_equal_dollars(trials, halved), (0, what, goals[0][2])
        with left:  # a fragment of its own: another pair of fields draws this chart anew and no other
            st.fragment(lambda: _two_fields(mapped, params, of, data, money, f"heatmap-{sweep.id}"))()
    with right if len(params) >= 2 else st.container():
        section("All fields at once")
        front = {p.run_id for p in front_of(points, quality[2])}
        bright = {t.number for t in done if t.run_id in front} if len(done) > CURVES_UP_TO else None
        figure = parallel(done, params, [g[1] for g in goals], palette(), bright)
        best = takeaways.of_parallel(done, params, quality)
        chart(figure, best, lambda: data, f"parallel-{sweep.id}", money)


def _two_fields(
    trials: Sequence[Trial],
    params: Sequence[str],
    of: tuple[int, str, str],
    data: pd.DataFrame,
    money: Sequence[str],
    name: str,
) -> None:
    """A heat map of two fields of the search; the address says which."""
    section("Two fields at a time")
    with st.container(horizontal=True):
        x = st.selectbox("Across", params, index=_mask_first(params), key="x", bind="query-params")
        y = st.selectbox("Up", [p for p in params if p != x], key="y", bind="query-params")
    chart(heatmap(trials, x, y, of, palette()), takeaways.of_heatmap(trials, x, y, of), lambda: data, name, money)


def _mask_first(params: Sequence[str]) -> int:
    return next((i for i, p in enumerate(params) if p.endswith("mask.ratio")), 0)


def _table(sweep: Sweep, trials: Sequence[Trial], runs: dict[int, Run]) -> None:
    section("Trials")
    data = frames.of_trials(sweep, trials, runs)
    data.insert(2, "page", [f"run?run={t.run_id}" if t.run_id else None for t in trials])
    config = {
        "": st.column_config.TextColumn(width=32),
        "page": st.column_config.LinkColumn("run", display_text=r"run=(\d+)", width=48),
    }
    grid(data, "all-trials", ["cost/usd", "spent"], config)
