"""The table of runs: the newest at once, as plain HTML; all of them, to sort and to search, when asked for."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st
from shoestring import queries
from shoestring.records import Run

from shoestring_ui import amounts, words
from shoestring_ui.identity import mark, state_words
from shoestring_ui.store import ask
from shoestring_ui.theme import palette
from shoestring_ui.widgets import download, grid, section

NEWEST_SHOWN = 20


def draw(runs: Sequence[Run], metric: str) -> None:
    """The newest runs with what they reached and cost; a grid of all of them opens below."""
    section("Runs")
    newest = sorted(runs, key=lambda r: -r.id)
    shown = newest[:NEWEST_SHOWN]
    last = ask(queries.last_values, [r.id for r in shown], [metric]) if metric else {}
    rows = [
        [
            words.who(r.id, r.name, palette()),
            words.state(r.state),
            amounts.value(last.get(r.id, {}).get(metric)),
            words.money(amounts.usd(r.spent_usd)),
            words.money(amounts.usd(r.planned_usd)),
            f"{r.step:,} / {r.n_steps:,}",
            r.kind,
        ]
        for r in shown
    ]
    more = f"The newest {len(shown)} of {len(newest)}." if len(newest) > len(shown) else "The newest first."
    columns = ["Run", "State", metric or "Quality", "Spent", "Planned", "Steps", "Kind"]
    st.html(words.table(columns, rows, more, numeric=(2, 3, 4, 5)))
    all_of_them = st.expander(f"All {len(newest)}, to sort and to search", key="all-runs", on_change="rerun")
    if all_of_them.open:  # hundreds of styled rows take longer than the rest of the page
        with all_of_them:
            _grid(newest, metric)


def _grid(runs: Sequence[Run], metric: str) -> None:
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
            for r in runs
        ]
    )
    config = {
        "": st.column_config.TextColumn(width=32),
        "page": st.column_config.LinkColumn("#", display_text=r"run=(\d+)", width=48),
        "run": st.column_config.TextColumn(width="medium"),
    }
    grid(data, "runs", money=["spent", "planned"], config=config)
    download(data.drop(columns=[""]), "runs")
