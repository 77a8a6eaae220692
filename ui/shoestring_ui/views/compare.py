"""Compare: curves over steps, images, seconds, FLOPs or dollars, and only what differs between the runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial

import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from shoestring import queries
from shoestring.bands import bands
from shoestring.ranking import DIRECTIONS, Curve, rank
from shoestring.records import Run
from shoestring.standings import LOSSES, on_other_data

from shoestring_ui import amounts, frames, store, takeaways, words
from shoestring_ui.cost_charts import banded as banded_figure
from shoestring_ui.curve_charts import MAX_POINTS, X_AXES, overlay
from shoestring_ui.differences import differing, shown
from shoestring_ui.pace import live
from shoestring_ui.points import metric_order
from shoestring_ui.store import ask, recent
from shoestring_ui.theme import palette
from shoestring_ui.views.equal import equal_dollars
from shoestring_ui.widgets import ACTIVE, chart, download, head, pick_runs, section, submit_first


def page() -> None:
    """Draw the comparison; the address holds the runs, the metric, the axis and the smoothing."""
    head("Compare", "The same metric of several runs over steps, images, seconds, FLOPs or dollars.")
    runs = recent()
    if not runs:
        submit_first("nothing to compare")
        return
    begun = [r for r in runs if r.attempts] or runs
    experiments = [r.id for r in begun if r.kind == "experiment"] or [r.id for r in begun]
    chosen = pick_runs(runs, experiments[:8])
    if not chosen:
        st.html(words.empty("No run is chosen", "Choose one or more runs above."))
        return
    metrics = metric_order(ask(queries.metric_keys, [r.id for r in chosen]))
    if not metrics:
        st.html(words.empty("Nothing recorded yet", "These runs have not trained a step.", "shoestring work"))
        _what_differs(chosen)
        return
    metric, x, smoothing, log = curve_controls(metrics)

    banded = _offer_bands(chosen, x)

    def body() -> None:
        _seeds(chosen, metric, log) if banded else curves(chosen, metric, x, smoothing, log)
        equal_dollars(chosen, metric)

    live(body, any(r.state in ACTIVE for r in chosen))
    _what_differs(chosen)


def _offer_bands(runs: Sequence[Run], x: str) -> bool:
    """Whether bands over seeds are wanted instead of curves: over dollars, with two seeds of something."""
    seeds = Counter(r.experiment for r in runs)
    if x != "dollars" or max(seeds.values()) < 2:
        return False
    return st.toggle("Seeds as bands", key="bands", bind="query-params")


def _seeds(runs: Sequence[Run], metric: str, log: bool) -> None:
    """Mean and standard error over the seeds of each experiment, and who beats whom with which probability."""
    others = {r.id for r in on_other_data(runs)} if metric.startswith(LOSSES) else set()
    by_id = {r.id: r for r in runs if r.id not in others}
    if others:
        st.info(f"Left out, for {metric} is measured on something else: {', '.join(f'#{i}' for i in sorted(others))}.")
    drawn = [s for s in store.curves(list(by_id.values()), metric, MAX_POINTS) if s.value]
    lines = [Curve(by_id[s.run_id].experiment, by_id[s.run_id].seed, s) for s in drawn]
    found = bands(lines)
    if not found:
        why = "A band needs two runs that have recorded it at the same dollars."
        st.html(words.empty(f"No {metric} of two seeds yet", why))
        return
    numbers = [
        {"experiment": b.experiment, "seeds": b.seeds, "dollars": usd, metric: mean, "standard error": se}
        for b in found for usd, mean, se in zip(b.usd, b.mean, b.se, strict=True)
    ]  # fmt: skip
    ranking = rank(lines, metric) if metric in DIRECTIONS else None
    said = takeaways.of_odds(ranking.odds) if ranking and ranking.odds else f"{metric} over the seeds"
    at = f"At {amounts.usd(ranking.at_usd)} each: " if ranking and ranking.odds else ""
    legend = words.legend([(b.run_ids[0], f"and {b.seeds - 1} more of {b.experiment}") for b in found], palette())
    figure = banded_figure(found, metric, palette(), log_y=log)
    chart(figure, at + said, lambda: pd.DataFrame(numbers), f"bands-{metric.replace('/', '-')}", ["dollars"], legend)


def curve_controls(metrics: Sequence[str], prefix: str = "") -> tuple[str, str, float, bool]:
    """Metric, x-axis, smoothing and the logarithmic y-axis, all in the address."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        metric = st.selectbox("Metric", metrics, key=f"{prefix}metric", bind="query-params", width=224)
        x = st.segmented_control(
            "Over", list(X_AXES), default="dollars", required=True, key=f"{prefix}x", bind="query-params"
        )
        smoothing = st.slider("Smoothing", 0.0, 0.99, 0.0, 0.01, key=f"{prefix}smooth", bind="query-params", width=176)
        log = st.toggle("Logarithmic", key=f"{prefix}logy", bind="query-params")
    return metric, x or "dollars", smoothing, log


def curves(runs: Sequence[Run], metric: str, x: str, smoothing: float, log: bool) -> None:
    """The figure of one metric with its takeaway, table and CSV."""
    names = {r.id: r.name for r in runs}
    series = [s for s in store.curves(runs, metric, MAX_POINTS) if s.value]
    if not series:
        st.html(words.empty(f"No {metric} yet", "The chosen runs have not recorded it."))
        return
    if metric.startswith(LOSSES) and (others := on_other_data(runs)):
        named = ", ".join(f"#{r.id} {r.name}" for r in others)
        st.info(f"{metric} is measured on something else for {named}, so it does not compare: look at KID.")
    for run in runs:
        if run.inexact:
            st.info(f"#{run.id} {run.name} resumed inexactly ({run.inexact}): its curve may differ in small digits.")

    def figure() -> go.Figure:
        return overlay(series, names, metric, palette(), x=x, smoothing=smoothing, log_y=log)

    apart = {r.id for r in on_other_data(runs)} if metric.startswith(LOSSES) else set()
    takeaway = takeaways.of_curves(series, names, metric, DIRECTIONS.get(metric), x, apart)
    legend = words.legend([(s.run_id, names[s.run_id]) for s in series], palette()) if len(series) > 1 else ""
    data = partial(frames.of_curves, series, names, metric)
    drawn = tuple((s.run_id, *getattr(s, X_AXES[x][0]), *s.value) for s in series)
    of = (drawn, tuple(names.items()), metric, x, smoothing, log)
    chart(figure, takeaway, data, f"curves-{metric.replace('/', '-')}", ["dollars"], legend, of=of)


def _what_differs(runs: Sequence[Run]) -> None:
    section("Only what differs")
    found = differing(runs)
    if len(runs) < 2 or not found:
        st.html("<p class='note'>" + ("One run is chosen." if len(runs) < 2 else "The specs are equal.") + "</p>")
        return
    colours = palette()
    headers = [words.who(r.id, r.name, colours) for r in runs]
    rows = [[f"<span class='mono'>{words.escape(p)}</span>", *(words.escape(shown(v)) for v in values)]
            for p, values in found.items()]  # fmt: skip
    rows.append(["spent", *(words.money(amounts.usd(r.spent_usd)) for r in runs)])
    st.html(words.table_with_heads(["field", *headers], rows, f"{len(found)} fields of the resolved specs differ."))
    download(frames.of_differences(found, runs), "differences")
