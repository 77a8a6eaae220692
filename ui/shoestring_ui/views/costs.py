"""Cost: where the dollars went, what was wasted, how good the forecasts were, what an hour costs, what is left."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import partial

import plotly.graph_objects as go
import streamlit as st
from shoestring import queries
from shoestring.errors import ShoestringError
from shoestring.forecasts import Review, review
from shoestring.home import Home
from shoestring.prices import PriceRow, read_prices
from shoestring.queries import Purse
from shoestring.records import MICRO, WASTED, Run, Spend
from shoestring.spending import added, grouped

from shoestring_ui import amounts, bars, frames, takeaways, words
from shoestring_ui.cost_charts import by_day, planned_against_actual
from shoestring_ui.store import ask, made
from shoestring_ui.theme import palette
from shoestring_ui.views.forecast import forecast
from shoestring_ui.widgets import chart, head, nothing, section
from shoestring_ui.words import Figure

WASTED_SHOWN = 10
MEANS = (
    "useful: of runs that succeeded. repeated: steps trained again after a crash. pruned: trials that their sweep cut. "
    "idle: workers on the roster that carried no run, at their price an hour; in no run's books and under no budget."
)


def page() -> None:
    """Draw the cost page; a project in the address (`?project=…`) narrows it."""
    head("Cost", "Where every dollar went, how well it was forecast, and what is left.")
    projects = ask(queries.projects)
    project = None
    if len(projects) > 1:
        project = st.selectbox(
            "Project", projects, index=None, key="project", bind="query-params", placeholder="All", width=320
        )
    lines = ask(queries.spends, project)
    if not lines:
        nothing(
            "Nothing has been spent yet.",
            "A plan says what the experiments will cost; a worker then spends it.",
            "shoestring plan experiments.yaml",
            "shoestring submit experiments.yaml",
            "shoestring work --until-empty",
        )
    else:
        finished = ask(queries.runs, project=project, state="succeeded")
        reviewed = review(finished)
        _figures(lines, reviewed, _kept_usd(project))
        _spending(lines)
        _wasted(lines)
        _forecasts(reviewed)
    _budgets(project)
    catalogue = _catalogue()
    if catalogue:
        st.fragment(forecast)(catalogue)  # a choice in it changes nothing else of the page
        _prices(catalogue)


def _figures(lines: Sequence[Spend], reviewed: Review, kept_usd: float) -> None:
    whole = added(lines)
    spent, wasted = sum(whole.values()) - whole["idle"], sum(whole[outcome] for outcome in WASTED)
    best = next(iter(reviewed.accuracy), None)
    st.html(
        words.figures([
            Figure("Spent", amounts.usd(spent / MICRO), "by runs, all attempts", money=True),
            Figure("Useful", amounts.share(whole["useful"], spent), amounts.usd(whole["useful"] / MICRO)),
            Figure("Wasted", amounts.share(wasted, spent), amounts.usd(wasted / MICRO)),
            Figure("Kept back", amounts.usd(kept_usd), "for what has not ended", money=True),
            Figure("Idle workers", amounts.usd(whole["idle"] / MICRO), "beside the runs", money=True),
            Figure(
                "Forecast error",
                f"{100 * best.median_abs_error:.1f} %" if best else amounts.DASH,
                f"median of {best.n} on {best.hardware}" if best else "no run to judge by",
            ),
        ])
    )  # fmt: skip


def _spending(lines: Sequence[Spend]) -> None:
    section("By day and outcome", MEANS)
    days = grouped(lines, "day")
    data = frames.of_days(days)
    said = takeaways.of_spending(added(lines))
    of, colours = tuple((day, *micro.items()) for day, micro in days.items()), palette()
    figure = made(("days", of, colours.name), lambda: by_day(days, colours).update_layout(showlegend=False))
    chart(figure, said, lambda: data, "spend-by-day", [*data][1:], bars.legend(figure), of=of)


def _wasted(lines: Sequence[Spend]) -> None:
    section("Wasted most")
    by_run: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for line in lines:
        if line.run_id is not None and line.outcome in WASTED:
            by_run[line.run_id][line.outcome] += line.micro
    if not by_run:
        st.html("<p class='note'>No run has wasted anything.</p>")
        return
    worst = sorted(by_run, key=lambda i: (-sum(by_run[i].values()), i))[:WASTED_SHOWN]
    runs = [ask(queries.run, run_id) for run_id in worst]
    rows = [
        [
            words.who(run.id, run.name, palette()),
            words.money(amounts.usd(sum(by_run[run.id].values()) / MICRO)),
            words.escape(", ".join(by_run[run.id])),
            words.escape(_why(run)) or amounts.DASH,
        ]
        for run in runs
    ]
    more = f"The {len(worst)} of {len(by_run)} runs" if len(by_run) > len(worst) else "Runs"
    caption = f"{more} that cost most and bought nothing by it."
    st.html(words.table(["Run", "Dollars", "As", "Why"], rows, caption, numeric=(1,)))


def _why(run: Run) -> str:
    said = run.failure_detail.splitlines()[0][:120] if run.failure_detail else run.reason
    return f"{run.failure_class}: {said}" if run.failure_class and said else said or run.failure_class


def _forecasts(reviewed: Review) -> None:
    section("Forecast against actual", "Runs that succeeded in one attempt and trained all their steps.")
    if not reviewed.forecasts:
        st.html("<p class='note'>No such run yet: shoestring work --until-empty</p>")
        return
    data = partial(frames.of_forecasts, reviewed.forecasts)
    legend = "<p class='note'>● within 10–90 % &nbsp; ✕ outside &nbsp; ┈ as planned</p>"
    money = ["planned", "p10", "p90", "actual"]
    said = " ".join(f"{one.words()}." for one in reviewed.accuracy)

    def figure() -> go.Figure:
        return planned_against_actual(reviewed.forecasts, palette())

    chart(figure, said, data, "forecasts", money, legend, of=reviewed.forecasts)
    if reviewed.left_out:
        left = ", ".join(f"{n} {why}" for why, n in reviewed.left_out.items())
        st.html(f"<p class='note'>Left out: {words.escape(left)}.</p>")


def _purses(project: str | None) -> dict[str, Purse]:
    return {name: purse for name, purse in ask(queries.purses).items() if project in (None, name)}


def _kept_usd(project: str | None) -> float:
    return sum(purse.reserved_micro for purse in _purses(project).values()) / MICRO


def _budgets(project: str | None) -> None:
    purses = _purses(project)
    if not purses:
        return
    section("Budgets")
    rows = []
    for name, purse in purses.items():
        spent, kept = purse.spent_micro / MICRO, purse.reserved_micro / MICRO
        cap = None if purse.max_micro is None else purse.max_micro / MICRO
        left = None if cap is None else max(0.0, cap - spent - kept)
        rows.append([
            words.escape(name),
            words.money(amounts.usd(spent)),
            words.money(amounts.usd(kept)),
            words.money(amounts.usd(cap)) if cap is not None else "no cap",
            words.money(amounts.usd(left)),
            words.bar(spent, spent + kept if kept else 0.0, cap),
        ])  # fmt: skip
    caption = "Kept back: what unfinished runs and sweeps may still cost; the tick of the bar is where it ends."
    columns = ["Project", "Spent", "Kept back", "Budget", "Free", "Spent of budget"]
    st.html(words.table(columns, rows, caption, numeric=(1, 2, 3, 4)))


def _catalogue() -> dict[str, PriceRow]:
    try:
        return read_prices(Home.find().root)
    except ShoestringError as error:
        st.error(error.message)
        return {}


def _prices(catalogue: dict[str, PriceRow]) -> None:
    section("Prices")
    rows = [
        [
            f"<span class='mono'>{words.escape(name)}</span>",
            words.money(f"{amounts.usd(row.usd_per_hour)}/h"),
            words.escape(row.date),
            words.escape(row.source),
        ]
        for name, row in catalogue.items()
    ]
    caption = "An hour of one device. A prices.yaml beside experiments.yaml adds rows and replaces some."
    st.html(words.table(["Hardware", "Price", "As of", "Source"], rows, caption, numeric=(1,)))
