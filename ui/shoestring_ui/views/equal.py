"""What each run is worth for the same dollars: its value there, the error over seeds, who beats whom how surely."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st
from shoestring.odds import percent
from shoestring.ranking import DIRECTIONS, NOISE_IN_WORDS, Curve, Place, Ranking, rank
from shoestring.records import Run
from shoestring.standings import LOSSES, on_other_data

from shoestring_ui import amounts, frames, takeaways, words
from shoestring_ui.curve_charts import MAX_POINTS
from shoestring_ui.points import values_at
from shoestring_ui.store import curves
from shoestring_ui.theme import palette
from shoestring_ui.widgets import dollars, download, section


def equal_dollars(runs: Sequence[Run], metric: str) -> None:
    """The table at the dollars that the address asks for; unasked, the furthest that all have reached."""
    others = on_other_data(runs) if metric.startswith(LOSSES) else []
    by_id = {r.id: r for r in runs if r not in others}
    series = [s for s in curves(list(by_id.values()), metric, MAX_POINTS) if s.value]
    if metric not in DIRECTIONS or not series:
        return
    section("At equal dollars")
    reach, most = min(s.usd[-1] for s in series), max(s.usd[-1] for s in series)
    at = dollars("Useful dollars of each run", "usd", reach, most) if most > 0 else 0.0
    ranking = rank([Curve(by_id[s.run_id].experiment, by_id[s.run_id].seed, s) for s in series], metric, at)
    st.html(words.takeaway(takeaways.of_equal(ranking)))
    values = values_at(series, ranking.at_usd)
    if ranking.places:
        _table(ranking, values)
        download(frames.of_ranking(ranking, values), "equal-dollars")
    for run_id, why in (*ranking.left_out, *((r.id, f"its {metric} is measured on something else") for r in others)):
        st.html(f"<p class='note'>Left out: #{run_id}, {words.escape(why)}.</p>")


def _table(ranking: Ranking, values: dict[int, float]) -> None:
    best = ranking.places[0].experiment
    chances = {one.b: one.p for one in ranking.odds if one.a == best}
    rows = [
        [
            f"<span class='mono'>{p.place}</span>",
            f"<span class='who'>{words.swatch(p.run_ids[0], palette())}{words.escape(p.experiment)}</span>",
            words.spread(p.value, p.se if ranking.noise != "none" else None),
            _runs(p, values),
            _chance(p, best, chances.get(p.experiment)),
            words.escape(", ".join(p.tied_with)) or amounts.DASH,
        ]
        for p in ranking.places
    ]
    caption = f"{ranking.metric} of each at {amounts.usd(ranking.at_usd)}. Noise: {NOISE_IN_WORDS[ranking.noise]}."
    columns = ["Place", "Experiment", ranking.metric, "Its runs", "The first is better with", "Tied with"]
    st.html(words.table(columns, rows, caption, numeric=(2,)))


def _runs(place: Place, values: dict[int, float]) -> str:
    one = "<a href='run?run={0}' target='_self' class='mono'>#{0}</a> {1}"
    return ", ".join(one.format(i, amounts.value(values[i])) for i in place.run_ids if i in values)


def _chance(place: Place, best: str, p: float | None) -> str:
    if place.experiment == best:
        return amounts.DASH
    return percent(p) if p is not None else "needs two seeds of both"
