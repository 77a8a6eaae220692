"""The app: `shoestring ui`. Pages read through `shoestring.queries` and write through `shoestring.actions` only."""

from __future__ import annotations

import streamlit as st
from shoestring import queries
from shoestring.errors import EnvironmentProblem

from shoestring_ui import masthead, theme, words
from shoestring_ui.gate import guard
from shoestring_ui.navigation import FIRST, PAGES
from shoestring_ui.store import ask


def main() -> None:
    """Draw the page that the address names; a missing or old database is a page too, not a traceback."""
    st.set_page_config(page_title="Shoestring", layout="wide", initial_sidebar_state="collapsed")
    st.html(theme.css(theme.palette()))
    st.logo(theme.wordmark(theme.palette()), size="small")
    guard()
    pages = [st.Page(draw, title=title, url_path=path, default=path == FIRST) for title, draw, path in PAGES]
    chosen = st.navigation(pages, position="top")
    try:
        ask(queries.pulse)  # before anything is drawn
        masthead.draw()
        chosen.run()
    except EnvironmentProblem as problem:
        st.title("The database is not ready", anchor=False)
        st.html(words.empty(problem.message, "Run this, then load the page again.", "shoestring db upgrade"))


main()
