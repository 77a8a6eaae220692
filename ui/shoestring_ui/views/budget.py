"""A project's budget burning down: what is left of its cap over time, and what is kept back."""

from __future__ import annotations

from functools import partial

import streamlit as st
from shoestring import queries
from shoestring.records import MICRO
from shoestring.spending import course

from shoestring_ui import frames, takeaways, words
from shoestring_ui.cost_charts import burn_down as figure_of
from shoestring_ui.store import ask
from shoestring_ui.theme import palette
from shoestring_ui.widgets import chart, section


def burn_down(project: str) -> None:
    """Draw the burn-down of the project, or say how it gets a cap."""
    purse = ask(queries.purses).get(project)
    if purse is None:
        return
    section("Budget")
    if purse.max_micro is None:
        text = f"Project {project} has no cap. Write `budget: {{max_usd: …}}` at the top of its experiments file."
        st.html(f"<p class='note'>{words.prose(text)}</p>")
        return
    cap, kept = purse.max_micro / MICRO, purse.reserved_micro / MICRO
    steps = course(ask(queries.spends, project))
    if not steps:
        st.html(f"<p class='note'>{words.escape(takeaways.of_budget(project, purse))}</p>")
        return
    figure = figure_of(steps, cap, kept, palette())
    data = partial(frames.of_course, steps, cap)
    chart(figure, takeaways.of_budget(project, purse), data, "burn-down", money=["spent", "left"])
