"""The card beside the map: one run in short. Its newest pictures, what is different about it, where to go from here."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st
from shoestring import queries
from shoestring.records import Run

from shoestring_ui import amounts, words
from shoestring_ui.charts import Point, front_of
from shoestring_ui.differences import differing, short, shown
from shoestring_ui.identity import label
from shoestring_ui.pictures import png
from shoestring_ui.points import nearest
from shoestring_ui.theme import palette

PICTURES, FIELDS = 9, 6  # shown at most
PICK, BOX = "pick", "card"  # in the address; the widget


def picked(points: Sequence[Point], unasked: int | None) -> int | None:
    """The run that the address picks among these points, else `unasked`."""
    known = {str(p.run_id): p.run_id for p in points}
    return known.get(st.query_params.get(PICK, ""), unasked)


def pick(run_id: int | None) -> None:
    """Write the choice into the address."""
    if run_id is None:
        st.query_params.pop(PICK, None)
    else:
        st.query_params[PICK] = str(run_id)


def draw(run_id: int, points: Sequence[Point], runs: dict[int, Run], metric: str, way: str) -> None:
    """The chosen run against the nearest one on the front."""
    ids = sorted(p.run_id for p in points)
    st.session_state[BOX] = run_id  # the address is the truth
    st.selectbox(
        "Look at", ids, format_func=lambda i: label(runs[i]), key=BOX, on_change=lambda: pick(st.session_state[BOX]),
        help="Or click a point of the chart.",
    )  # fmt: skip
    run, point = runs[run_id], next(p for p in points if p.run_id == run_id)
    other = nearest(point, points, way)
    st.html(
        f"<div class='card'><h2>{words.who(run.id, run.name, palette())}</h2>"
        f"<p>{words.state(run.state)} · {words.escape(metric)} {amounts.value(point.quality)} at "
        f"{words.money(amounts.usd(point.usd))}</p>"
        f"{_pictures(run)}{_against(run, runs[other.run_id], other in front_of(points, way)) if other else ''}"
        f"<p class='links'>{_links(run, other)}</p></div>"
    )


def _pictures(run: Run) -> str:
    """The newest grid, small."""
    found = queries.samples(run)
    last = max((s.step for s in found), default=None)
    newest = [s for s in found if s.step == last][:PICTURES]
    if not newest:
        return "<p class='note'>It has drawn no picture yet.</p>"
    cells = "".join(
        f"<img class='sample' alt='{words.escape(s.prompt, quote=True)}' src='data:image/png;base64,{data}'>"
        for s in newest if (data := png(s.path))
    )  # fmt: skip
    under = f"step {newest[0].step:,}, {words.money(amounts.usd(newest[0].usd))}"
    return f"<div class='pictures'>{cells}</div><p class='note'>{under}</p>"


def _against(run: Run, other: Run, on_front: bool) -> str:
    found = differing([other, run])
    which = "nearest on the front" if on_front else "the nearest run"
    named = f"{words.who(other.id, other.name, palette())}, {which}"
    if not found:
        return f"<p class='note'>The same spec as {named}.</p>"
    rows = "".join(
        f"<div><dt title='{words.escape(path, quote=True)}'>{words.escape(short(path))}</dt>"
        f"<dd>{words.escape(shown(mine))} <span class='was'>not {words.escape(shown(theirs))}</span></dd></div>"
        for path, (theirs, mine) in list(found.items())[:FIELDS]
    )
    more = f"<p class='note'>and {len(found) - FIELDS} more</p>" if len(found) > FIELDS else ""
    return f"<p class='note'>Against {named}</p><dl class='facts narrow'>{rows}</dl>{more}"


def _links(run: Run, other: Point | None) -> str:
    pair = f"{run.id},{other.run_id}" if other else str(run.id)
    places = (
        ("Run", f"run?run={run.id}"), ("Compare", f"compare?runs={pair}"), ("Samples", f"samples?runs={pair}"),
        ("Clone", f"new?from={run.id}"),
    )  # fmt: skip
    return " ".join(f"<a href='{address}' target='_self'>{name}</a>" for name, address in places)
