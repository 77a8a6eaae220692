"""Overview: what each dollar bought. Quality against dollars, the ranking at equal dollars, every run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import pandas as pd
import streamlit as st
from shoestring import queries
from shoestring.ranking import NOISE_IN_WORDS, direction
from shoestring.records import Run, Series
from shoestring.standings import standings

from shoestring_ui import amounts, frames, takeaways, words
from shoestring_ui.charts import quality_per_dollar
from shoestring_ui.identity import mark, state_words
from shoestring_ui.points import comparable, of_runs, qualities
from shoestring_ui.store import ask, recent
from shoestring_ui.theme import palette
from shoestring_ui.widgets import ACTIVE, WAITING, chart, grid, head, live, section, submit_first
from shoestring_ui.words import Figure


def page() -> None:
    """Draw the overview."""
    head("Quality per dollar", "Every run at the dollars it has had, and how good it was by then.")
    runs = recent()
    if not runs:
        submit_first("nothing to compare")
        return
    figures = st.container()
    runs_shown, metric, log = _controls(sorted(runs, key=lambda r: -r.id))

    def body() -> None:
        fresh = {r.id: r for r in recent()}
        shown = [fresh[r.id] for r in runs_shown if r.id in fresh]
        series = ask(queries.series, [r.id for r in shown], metric) if metric else []
        _chart(shown, series, metric, log)
        _ranking(shown, metric)
        _all_runs(list(fresh.values()), metric)

    moving = any(r.state in ACTIVE | WAITING for r in runs)
    with figures:
        live(lambda: _figures({r.id: r.name for r in runs_shown}), moving)
    live(body, moving)


def quality_metrics(runs: Sequence[Run]) -> list[str]:
    """Recorded metrics that say how good a run is."""
    return qualities(ask(queries.metric_keys, [r.id for r in runs]))


def _figures(names: Mapping[int, str]) -> None:
    """The row of figures; the best quality is that of the runs in `names`, which can be compared."""
    runs, totals = recent(), ask(queries.totals)
    series = [s for s in ask(queries.series, list(names), "val/loss") if s.value]
    best = min(series, key=lambda s: s.value[-1], default=None)
    items = [
        Figure("Spent", amounts.usd(totals.spent_usd), "actual, all attempts", money=True),
        Figure(
            "Wasted", amounts.share(totals.wasted_usd, totals.spent_usd), amounts.usd(totals.wasted_usd), money=True
        ),
        Figure("Still planned", amounts.usd(ask(queries.line, 1).ahead_usd), "running and waiting", money=True),
        Figure("Best val/loss", amounts.value(best.value[-1]) if best else "–", names[best.run_id] if best else ""),
        Figure("Succeeded", f"{totals.n_succeeded} of {totals.n_runs}", _states(runs)),
        Figure("Workers", str(totals.workers_alive), "alive" if totals.workers_alive else "shoestring work"),
    ]
    st.html(words.figures(items))


def _states(runs: Sequence[Run]) -> str:
    others = Counter(r.state for r in runs if r.state != "succeeded")
    return ", ".join(f"{n} {state}" for state, n in others.most_common(2)) or "all succeeded"


def _controls(runs: Sequence[Run]) -> tuple[list[Run], str, bool]:
    """The runs that can be compared (those with the newest run, unless chosen otherwise), the metric, the scale."""
    groups = list(dict.fromkeys(comparable(r) for r in runs))
    metrics = quality_metrics(runs)
    group, metric, trials = groups[0], "", False
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        if metrics:
            metric = st.segmented_control(
                "Quality", metrics, default=metrics[0], required=True, key="metric", bind="query-params"
            )
        if len(groups) > 1:
            group = st.selectbox("Compared with each other", groups, key="set", bind="query-params", width=320)
        log = st.toggle("Logarithmic dollars", key="log", bind="query-params")
        if any(r.kind == "trial" for r in runs):
            trials = st.toggle("Sweep trials", key="trials", bind="query-params")
    return [r for r in runs if comparable(r) == group and (trials or r.kind != "trial")], metric or "", log


def _chart(runs: Sequence[Run], series: Sequence[Series], metric: str, log: bool) -> None:
    points = of_runs(runs, series, log)
    if not points:
        st.html(words.empty("No quality yet", "The first evaluation of a run puts it here.", "shoestring work"))
        return
    way = direction(metric)
    data = frames.of_points(points, metric, {r.id: r.state for r in runs})
    figure = quality_per_dollar(points, metric, way, palette(), log=log)
    chart(figure, takeaways.of_points(points, metric, way), data, "quality-per-dollar", money=["useful dollars"])


def _ranking(runs: Sequence[Run], metric: str) -> None:
    experiments = [r for r in runs if r.kind == "experiment"]
    newest = {(r.experiment, r.seed): r for r in sorted(experiments, key=lambda r: r.id)}
    if not metric or len({r.experiment for r in newest.values() if r.state == "succeeded"}) < 2:
        return
    ranking = ask(standings, list(newest.values()), metric)
    section("Ranking at equal dollars")
    st.html(f"<p class='takeaway'>{words.escape(takeaways.of_ranking(ranking))}</p>")
    rows = [
        [
            f"<span class='mono'>{p.place}</span>",
            f"<span class='who'>{words.swatch(p.run_ids[0], palette())}{words.escape(p.experiment)}</span>",
            f"{amounts.value(p.value)} ± {p.se:.2g}",
            words.money(amounts.usd(p.usd)),
            str(p.seeds),
            words.escape(", ".join(p.tied_with)) or "–",
        ]
        for p in ranking.places
    ]
    columns = ["Place", "Experiment", metric, "At", "Seeds", "Tied with"]
    st.html(words.table(columns, rows, f"What counts as noise: {NOISE_IN_WORDS[ranking.noise]}.", numeric=(2, 3, 4)))


def _all_runs(runs: Sequence[Run], metric: str) -> None:
    section("Runs")
    last = ask(queries.last_values, [r.id for r in runs], [metric]) if metric else {}
    data = pd.DataFrame(
        [
            {
                "": mark(r.id),
                "page": f"run?run={r.id}",
                "run": r.name,
                "state": state_words(r.state),
                metric or "quality": last.get(r.id, {}).get(metric),
                "spent": r.spent_usd,
                "planned": r.planned_usd,
                "steps": f"{r.step:,} / {r.n_steps:,}",
                "kind": r.kind,
            }
            for r in sorted(runs, key=lambda r: -r.id)
        ]
    )
    config = {
        "": st.column_config.TextColumn(width=32),
        "page": st.column_config.LinkColumn("#", display_text=r"run=(\d+)", width=48),
        "run": st.column_config.TextColumn(width="medium"),
    }
    grid(data, "runs", money=["spent", "planned"], config=config)
