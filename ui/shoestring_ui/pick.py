"""Clicks on points of charts that the server draws: `pick.js` hears them in the browser and says which run it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import streamlit as st

SCRIPT = Path(__file__).with_name("pick.js")


@st.cache_resource
def _component() -> Callable[..., object]:
    return st.components.v2.component("shoestring_pick", js=SCRIPT.read_text(encoding="utf-8"))


def listen(name: str, on_pick: Callable[[int], None]) -> None:
    """Call `on_pick` with the run of a point that is clicked; one chart of a page can be listened to."""
    key = f"heard-{name}"

    def picked() -> None:
        run = getattr(st.session_state.get(key), "run", None)
        if isinstance(run, int | float):
            on_pick(int(run))

    _component()(key=key, on_run_change=picked)
