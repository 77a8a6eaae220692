"""The report's Cost: where the dollars went, what was wasted, how good the forecasts were, what is left."""

from __future__ import annotations

import pandas as pd
from shoestring import queries
from shoestring.forecasts import review
from shoestring.records import MICRO, WASTED, Spend
from shoestring.spending import added, grouped

from shoestring_ui import amounts, frames, takeaways, words
from shoestring_ui.cost_charts import by_day, planned_against_actual
from shoestring_ui.report.pieces import chart, csv, note, section, table
from shoestring_ui.report.subject import Subject


def costs(about: Subject) -> str:
    """The ledger of the runs, their forecasts, and (of a whole project) its budget."""
    lede = "Where every dollar went, how well it was forecast, and what is left."
    lines = about.spends
    if not lines:
        return section("cost", "Cost", lede, words.empty("Nothing has been spent yet", "A worker spends it."))
    return section("cost", "Cost", lede, _figures(lines), _days(lines), _ledger(lines), _forecasts(about), _left(about))


def _figures(lines: list[Spend]) -> str:
    whole = added(lines)
    spent, wasted = sum(whole.values()) - whole["idle"], sum(whole[outcome] for outcome in WASTED)
    return words.figures([
        words.Figure("Spent", amounts.usd(spent / MICRO), "by runs, all attempts", money=True),
        words.Figure("Useful", amounts.share(whole["useful"], spent), amounts.usd(whole["useful"] / MICRO)),
        words.Figure("Wasted", amounts.share(wasted, spent), amounts.usd(wasted / MICRO)),
        words.Figure("Unfinished", amounts.usd(whole["unfinished"] / MICRO), "of runs still under way", money=True),
    ])  # fmt: skip


def _days(lines: list[Spend]) -> str:
    days = grouped(lines, "day")
    data = frames.of_days(days)
    said = takeaways.of_spending(added(lines))
    return chart(lambda colours: by_day(days, colours), said, data, "spend-by-day", [*data][1:])


def _ledger(lines: list[Spend]) -> str:
    """Dollars by experiment, machine and outcome; together they are all that was spent."""
    found: dict[tuple[str, str, str], int] = {}
    for line in lines:
        key = (line.experiment, line.machine, line.outcome)
        found[key] = found.get(key, 0) + line.micro
    rows = [
        {"experiment": experiment, "machine": machine, "outcome": outcome, "dollars": micro / MICRO}
        for (experiment, machine, outcome), micro in sorted(found.items(), key=lambda one: -one[1])
    ]
    data = pd.DataFrame(rows)
    return f"<h3>Ledger</h3>{table(data, 'All that these runs have spent.', ['dollars'])}{csv(data, 'ledger')}"


def _forecasts(about: Subject) -> str:
    reviewed = review([r for r in about.runs if r.state == "succeeded"])
    if not reviewed.forecasts:
        return ""
    said = " ".join(f"{one.words()}." for one in reviewed.accuracy)
    money = ["planned", "p10", "p90", "actual"]
    data = frames.of_forecasts(reviewed.forecasts)
    key = note("● within 10–90 %   ✕ outside   ┈ as planned")
    found = reviewed.forecasts
    drawn = chart(lambda colours: planned_against_actual(found, colours), said, data, "forecasts", money, key)
    return f"<h3>Forecast against actual</h3>{drawn}"


def _left(about: Subject) -> str:
    purse = queries.purses(about.db).get(about.project)
    if about.chosen or purse is None or purse.max_micro is None:
        return ""
    spent, kept, cap = (micro / MICRO for micro in (purse.spent_micro, purse.reserved_micro, purse.max_micro))
    free = words.money(amounts.usd(max(0.0, cap - spent - kept)))
    said = f"{words.money(amounts.usd(spent))} of {words.money(amounts.usd(cap))} is spent, "
    back = f"{words.money(amounts.usd(kept))} kept back for what has not ended, " if kept else ""
    return f"<h3>Budget</h3><p>{said}{back}{free} is free.</p>{words.bar(spent, spent + kept if kept else 0.0, cap)}"
