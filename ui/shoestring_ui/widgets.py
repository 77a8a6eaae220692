"""What pages are made of: head, chart with its table and CSV, pickers whose choice is in the address."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from shoestring.records import Run

from shoestring_ui import amounts, pick, plain, words
from shoestring_ui.charts import CONFIG
from shoestring_ui.identity import ACTIVE as ACTIVE
from shoestring_ui.identity import WAITING as WAITING
from shoestring_ui.identity import label
from shoestring_ui.store import made
from shoestring_ui.theme import palette

STYLED_CELLS = 20_000  # styling takes 20 µs a cell


def head(title: str, lede: str) -> None:
    """The page's name and one sentence that says what it answers."""
    st.title(title, anchor=False)
    st.html(f"<p class='lede'>{words.escape(lede)}</p>")


def section(title: str, note: str = "") -> None:
    st.subheader(title, anchor=False)
    if note:
        st.html(f"<p class='note'>{words.escape(note)}</p>")


def chart(
    figure: go.Figure | Callable[[], go.Figure],
    takeaway: str,
    data: Callable[[], pd.DataFrame],
    name: str,
    money: Sequence[str] = (),
    legend: str = "",
    on_pick: Callable[[int], None] | None = None,
    of: Hashable = None,
) -> None:
    """The takeaway as the title, the legend (HTML), the figure, and its numbers as a table and a CSV.

    The figure is drawn plainly, at once; with a switch below it by Plotly, which takes a browser a second to load. The
    numbers are asked for when the table is opened. `on_pick` is told the run of a point that was clicked. Where all
    that is in the figure is given as `of`, it is drawn once for the same, and may be made only when it is needed.
    """
    st.html(words.takeaway(takeaway) + legend)
    place, zoom = st.container(), f"zoom-{name}"
    with st.container(horizontal=True, vertical_alignment="top", gap="small", key=f"below-{name}"):
        table = st.expander("Table and CSV", key=f"table-{name}", on_change="rerun")
        zoomed = st.toggle("Zoom", key=zoom, bind="query-params", help="Drawn by Plotly: drag to zoom, point to read.")
    with place:
        colours = palette()

        def figured() -> go.Figure:
            return figure() if callable(figure) else figure

        def drawn() -> str:
            return plain.html(figured(), takeaway, colours, picks=on_pick is not None)

        if zoomed:
            _plotly(figured(), takeaway, name, on_pick)
        else:
            st.html(drawn() if of is None else made((name, of, takeaway, colours.name), drawn))
            if on_pick:
                pick.listen(name, on_pick)
    if table.open:  # most are never opened, and a table of curves takes longer than its chart
        numbers = data()
        with table:
            grid(numbers, name, money)
            download(numbers, name)


def _plotly(figure: go.Figure, takeaway: str, name: str, on_pick: Callable[[int], None] | None) -> None:
    key = f"chart-{name}"

    def clicked() -> None:
        points = st.session_state[key].selection.points
        if on_pick and points and points[0].get("customdata"):
            on_pick(int(points[0]["customdata"][0]))

    picking: dict[str, Any] = {"on_select": clicked, "selection_mode": "points"} if on_pick else {}
    st.plotly_chart(figure, theme=None, config=CONFIG, key=key, alt=takeaway, **picking)


def grid(
    data: pd.DataFrame, name: str, money: Sequence[str] = (), config: Mapping[str, Any] | None = None, **more: Any
) -> Any:
    """A table of numbers; the columns in `money` are amber dollars (plain ones in a table of very many cells)."""
    columns = [c for c in money if c in data]
    config = dict(config or {})
    if data.size > STYLED_CELLS:
        dollars_of = {c: st.column_config.NumberColumn(format="$%.6g") for c in columns if c not in config}
        shown: Any = data
        config |= dollars_of
        columns = []
    else:
        shown = data.style.format(precision=4, na_rep=amounts.DASH)
    if columns:
        amber = f"color: {palette().money}"
        shown = shown.format(amounts.usd, subset=columns, na_rep=amounts.DASH).map(lambda _: amber, subset=columns)
    return st.dataframe(
        shown,
        hide_index=True,
        column_config=config,
        key=f"grid-{name}",
        alt=name.replace("-", " "),
        placeholder=amounts.DASH,
        **more,
    )


def download(data: pd.DataFrame, name: str) -> None:
    st.download_button(
        "Download CSV",
        data.to_csv(index=False).encode(),
        file_name=f"shoestring-{name}.csv",
        mime="text/csv",
        key=f"csv-{name}",
        on_click="ignore",
    )


def in_address(key: str, otherwise: float, low: float, high: float) -> float:
    """The number that the address holds under `key`, moved into its bounds; `otherwise` where it holds none."""
    try:
        value = float(st.query_params.get(key, ""))
    except ValueError:
        return otherwise
    return min(high, max(low, value)) if math.isfinite(value) else otherwise


def dollars(label: str, key: str, otherwise: float, most: float) -> float:
    """A slider over dollars, and beside it the number to type; the address knows the place."""
    at = in_address(key, otherwise, 0.0, most)
    for widget in (f"{key}-slider", f"{key}-exactly"):
        if st.session_state.get(widget) != at:
            st.session_state[widget] = at

    def go(widget: str) -> Callable[[], None]:
        return lambda: st.query_params.update({key: f"{st.session_state[widget]:.9g}"})

    places = max(4, 2 - math.floor(math.log10(most))) if most > 0 else 4
    shape = f"%.{min(places, 9)}f"
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        slider, exactly = f"{key}-slider", f"{key}-exactly"
        st.slider(
            label, 0.0, most, step=most / 200, key=slider, format=f"${shape}", width=280, on_change=go(slider)
        )  # fmt: skip
        st.number_input(
            "Exactly, $", 0.0, most, step=None, key=exactly, format=shape, width=136, on_change=go(exactly)
        )  # fmt: skip
    return at


def pick_run(runs: Sequence[Run], key: str = "run") -> Run:
    """One run; the address says which (`?run=3`), else the newest that trains, else the newest that has begun."""
    by_id = {r.id: r for r in sorted(runs, key=lambda r: -r.id)}
    asked = st.query_params.get(key, "")
    liveliest = max(runs, key=lambda r: (r.state in ACTIVE, r.attempts > 0, r.id)).id
    first = {str(i): i for i in by_id}.get(asked, liveliest)  # compared as text: an address may say anything
    if asked and str(first) != asked:
        st.warning(f"There is no run {asked} here; this is run {first}.")
    chosen = st.selectbox(
        "Run", list(by_id), index=list(by_id).index(first), format_func=lambda i: label(by_id[i]), width=420
    )
    st.query_params[key] = str(chosen)
    return by_id[chosen]


def pick_runs(runs: Sequence[Run], first: Sequence[int], key: str = "runs", most: int = 16) -> list[Run]:
    """Several runs; the address says which (`?runs=1,2,5`)."""
    by_id = {r.id: r for r in sorted(runs, key=lambda r: r.id)}
    known = {str(i): i for i in by_id}
    asked = [known[p] for p in st.query_params.get(key, "").split(",") if p in known]
    chosen = st.multiselect(
        "Runs", list(by_id), default=(asked or list(first))[:most], format_func=lambda i: label(by_id[i]),
        max_selections=most, key=f"pick-{key}", placeholder="Choose runs",
    )  # fmt: skip
    st.query_params[key] = ",".join(str(i) for i in chosen)
    return [by_id[i] for i in chosen]


def nothing(title: str, text: str, *commands: str) -> None:
    st.html(words.empty(title, text, *commands))


def submit_first(what: str) -> None:
    """The empty state of a project without runs."""
    nothing(
        f"No runs yet, so there is {what}.",
        "Write experiments in experiments.yaml, see what they will cost, then submit and work them.",
        "shoestring plan experiments.yaml",
        "shoestring submit experiments.yaml",
        "shoestring work --until-empty",
    )
