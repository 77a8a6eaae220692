"""Overview: what each dollar bought. Quality against dollars, the ranking at equal dollars, every run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import plotly.graph_objects as go
import streamlit as st
from shoestring import queries
from shoestring.ranking import NOISE_IN_WORDS, Direction, direction
from shoestring.records import Run
from shoestring.standings import standings

from shoestring_ui import amounts, frames, takeaways, words
from shoestring_ui.charts import Point, front_of, quality_per_dollar
from shoestring_ui.identity import mark
from shoestring_ui.pace import live
from shoestring_ui.points import QUALITIES, comparable, of_runs
from shoestring_ui.reaches import Goal, goal_of, usual
from shoestring_ui.store import ask, curves, database, made, recent, remember
from shoestring_ui.theme import palette
from shoestring_ui.views import budget, card, run_table
from shoestring_ui.widgets import ACTIVE, WAITING, chart, download, head, section, submit_first
from shoestring_ui.words import Figure

REACHES_SHOWN = 12
RANKED_SHOWN = 20


@dataclass(frozen=True)
class Asked:
    """What the controls, and so the address, ask for."""

    run_ids: tuple[int, ...]  # of runs that can be compared
    metric: str
    quality: float | None  # None: what is usual
    log: bool

    @property
    def way(self) -> Direction:
        return direction(self.metric)


@dataclass(frozen=True)
class Shown:
    """The runs on the map as they stand now, and who of them reaches the quality asked for."""

    runs: dict[int, Run]
    points: list[Point]
    goal: Goal | None


def page() -> None:
    """Draw the overview."""
    head("Quality per dollar", "Every run at the dollars it has had, and how good it was by then.")
    runs = recent()
    if not runs:
        submit_first("nothing to compare")
        return
    figures = st.container()
    asked = _controls(sorted(runs, key=lambda r: -r.id))

    def body() -> None:
        above, below = st.container(), st.container()
        now = _look(asked)
        with figures:
            _figures(now, asked)
        with below:  # sent before the charts, which take longer to draw
            run_table.draw(recent(), asked.metric)
        with above:
            _map(now, asked)
            _goal(now, asked)
            _ranking(list(now.runs.values()), asked.metric)
            budget.burn_down(runs_project(now.runs.values()))

    moving = any(r.state in ACTIVE | WAITING for r in runs)
    live(body, moving, parts=2)


def runs_project(runs: Iterable[Run]) -> str:
    """The project of the runs that are shown: runs of two are never compared."""
    return next((run.project for run in runs), "")


def _look(asked: Asked) -> Shown:
    return remember(("look", asked), lambda: _looked(asked))


def _looked(asked: Asked) -> Shown:
    among = set(asked.run_ids)
    runs = {r.id: r for r in recent() if r.id in among}
    series = curves(list(runs.values()), asked.metric) if asked.metric else []
    points = of_runs(list(runs.values()), series, asked.log)
    on_map = {p.run_id for p in points}
    if not on_map:
        return Shown(runs, points, None)
    drawn = [s for s in series if s.run_id in on_map]
    quality = usual(drawn, asked.way) if asked.quality is None else asked.quality
    return Shown(runs, points, None if quality is None else goal_of(drawn, asked.metric, asked.way, quality))


def _figures(now: Shown, asked: Asked) -> None:
    """The row of figures; who is best and who is cheapest is said of runs that can be compared."""
    totals = ask(queries.totals)
    names = {p.run_id: f"{mark(p.run_id)} #{p.run_id} {p.name}" for p in now.points}
    pick = max if asked.metric and asked.way == "maximize" else min
    best = pick(now.points, key=lambda p: p.quality, default=None)
    first, quality = (now.goal.first, amounts.value(now.goal.quality)) if now.goal else (None, "a quality")
    who = names[first.run_id] if first else "no run reaches it"
    wasted = amounts.share(totals.wasted_usd, totals.spent_usd)
    workers = f"{totals.workers_alive} workers alive" if totals.workers_alive != 1 else "1 worker alive"
    items = [
        Figure(f"Cheapest to reach {quality}", amounts.usd(first.usd if first else None), who, money=True),
        Figure(
            f"Best {asked.metric}", amounts.value(best.quality if best else None), names[best.run_id] if best else ""
        ),
        Figure("Spent", amounts.usd(totals.spent_usd), "actual, all attempts", money=True),
        Figure("Wasted", wasted, amounts.usd(totals.wasted_usd)),
        Figure("Still planned", amounts.usd(totals.ahead_usd), "running and waiting", money=True),
        Figure("Succeeded", f"{totals.n_succeeded:,} of {totals.n_runs:,}", workers),
    ]
    st.html(words.figures(items))


def _controls(runs: Sequence[Run]) -> Asked:
    """The runs that can be compared (those with the newest run, unless chosen otherwise), metric, quality, scale."""
    group_of = {run.id: comparable(run) for run in runs}
    groups = list(dict.fromkeys(group_of.values()))
    metrics = ask(queries.recorded, [r.id for r in runs], QUALITIES)
    group, metric, trials = groups[0], "", False
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        if metrics:
            metric = st.segmented_control(
                "Quality", metrics, default=metrics[0], required=True, key="metric", bind="query-params",
                on_change=lambda: st.session_state.update(reach=None),
            )  # fmt: skip
        reach = st.container(width=168)
        if len(groups) > 1:
            group = st.selectbox("Compared with each other", groups, key="set", bind="query-params", width=320)
        log = st.toggle("Logarithmic dollars", key="log", bind="query-params")
        if n_trials := sum(r.kind == "trial" for r in runs):
            trials = st.toggle(f"With {n_trials} sweep trials", key="trials", bind="query-params")
    ids = tuple(r.id for r in runs if group_of[r.id] == group and (trials or r.kind != "trial"))
    asked = Asked(ids, metric or "", None, log)
    if metric:
        with reach:
            asked = replace(asked, quality=_quality(asked))
    return asked


def _quality(asked: Asked) -> float | None:
    """The quality that a run has to reach; what is usual stands there in grey until another is written."""
    now = _look(asked)
    usually = now.goal.quality if now.goal else 0.0
    step = 10.0 ** math.floor(math.log10(abs(usually)) - 1) if usually else 0.01
    written = st.number_input(
        f"Reach {asked.metric} {'≤' if asked.way == 'minimize' else '≥'}",
        value=None, step=step, format="%.4g", placeholder=f"{usually:g}", key="reach", bind="query-params",
        help="The page says which run reaches it for the fewest dollars. Empty: what the second best run ended with.",
    )  # fmt: skip
    return written if written is not None and math.isfinite(written) else None


def _map(now: Shown, asked: Asked) -> None:
    """The chart, and beside it the run that was picked: unasked, the cheapest that reaches the quality."""
    if not now.points:
        st.html(words.empty("No quality yet", "The first evaluation of a run puts it here.", "shoestring work"))
        return
    first = now.goal.first if now.goal else None
    front = front_of(now.points, asked.way) or now.points
    picked = card.picked(now.points, first.run_id if first else front[-1].run_id)
    left, right = st.columns([9, 4], gap="large")
    with left:

        def figure() -> go.Figure:
            return quality_per_dollar(
                now.points, asked.metric, asked.way, palette(), log=asked.log, goal=now.goal, picked=picked
            )

        data = partial(frames.of_points, now.points, asked.metric, {i: r.state for i, r in now.runs.items()})
        said = takeaways.of_points(now.points, asked.metric, asked.way)
        if now.goal and asked.quality is not None:  # the question that was asked comes first
            said = takeaways.of_goal(now.goal, now.points, asked.way)
        of = (tuple(now.points), asked.metric, asked.log, now.goal, picked)
        chart(figure, said, data, "quality-per-dollar", money=["useful dollars"], on_pick=card.pick, of=of)
    with right:
        card.draw(picked or front[-1].run_id, now.points, now.runs, asked.metric, asked.way)


def _goal(now: Shown, asked: Asked) -> None:
    """Who reaches the quality, in order of dollars."""
    if now.goal is None:
        return
    section(f"Cheapest to reach {asked.metric} {amounts.value(now.goal.quality)}")
    if asked.quality is None:  # else the chart has said it
        st.html(words.takeaway(takeaways.of_goal(now.goal, now.points, asked.way)))
    by_id = {p.run_id: p for p in now.points}
    first, reaches = now.goal.first, now.goal.reaches
    if first is None:
        return
    rows = [
        [
            words.who(one.run_id, by_id[one.run_id].name, palette()),
            words.money(amounts.usd(one.usd)),
            f"{one.usd / first.usd:.2f} ×" if first.usd else amounts.DASH,
            amounts.value(by_id[one.run_id].quality),
            words.money(amounts.usd(by_id[one.run_id].usd)),
            words.state(now.runs[one.run_id].state),
        ]
        for one in reaches[:REACHES_SHOWN]
    ]
    more = f" The {REACHES_SHOWN} cheapest of {len(reaches)}." if len(reaches) > REACHES_SHOWN else ""
    caption = (
        "Useful dollars (of steps that count, with those of a run that it goes on from) at which each run first comes "
        f"there; between two of its evaluations a straight line is taken.{more}"
    )
    columns = ["Run", "Reaches it at", "Of the cheapest", f"Last {asked.metric}", "At", "State"]
    st.html(words.table(columns, rows, caption, numeric=(1, 2, 3, 4)))
    download(frames.of_goal(now.goal, now.points), "cheapest-to-reach")


def _ranking(runs: Sequence[Run], metric: str) -> None:
    experiments = [r for r in runs if r.kind == "experiment"]
    newest = {(r.experiment, r.seed): r for r in sorted(experiments, key=lambda r: r.id)}
    if not metric or len({r.experiment for r in newest.values() if r.state == "succeeded"}) < 2:
        return
    those = list(newest.values())
    known = curves(those, metric)
    who = tuple((r.id, r.experiment, r.seed, r.state) for r in those)
    of = ("ranking", metric, who, tuple((s.run_id, *s.usd, *s.value) for s in known))
    ranking = made(of, lambda: standings(database(), those, metric, known=known))
    section("Ranking at equal dollars")
    st.html(words.takeaway(takeaways.of_ranking(ranking)))
    rows = [
        [
            f"<span class='mono'>{p.place}</span>",
            f"<span class='who'>{words.swatch(p.run_ids[0], palette())}{words.escape(p.experiment)}</span>",
            words.spread(p.value, p.se if ranking.noise != "none" else None),
            words.money(amounts.usd(p.usd)),
            str(p.seeds),
            words.escape(words.few(p.tied_with)) or "–",
        ]
        for p in ranking.places[:RANKED_SHOWN]
    ]
    columns = ["Place", "Experiment", metric, "At", "Seeds", "Tied with"]
    st.html(words.table(columns, rows, f"What counts as noise: {NOISE_IN_WORDS[ranking.noise]}.", numeric=(2, 3, 4)))
