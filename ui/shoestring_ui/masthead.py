"""The masthead of every page: each project's money, who is at work, and a switch that stops what moves by itself."""

from __future__ import annotations

import streamlit as st
from shoestring import queries
from shoestring.errors import ShoestringError
from shoestring.queries import Pulse

from shoestring_ui import amounts, words
from shoestring_ui.pace import LIVE, live
from shoestring_ui.store import ask

METERS = 2  # projects whose money is shown; the others are counted


def draw() -> None:
    """Draw it above a page; its figures move by themselves, the page stays."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="masthead"):
        with st.container(width="stretch"):
            live(_pulse, moving=True)
        st.toggle("Live", value=True, key=LIVE, bind="query-params", help="Off: no page refreshes by itself.")


def _pulse() -> None:
    try:
        st.html(pulse_words(ask(queries.pulse)))
    except ShoestringError as problem:
        st.html(f"<p class='note'>{words.prose(problem.message)}</p>")


def pulse_words(pulse: Pulse) -> str:
    """One line of HTML: what each project has spent of its cap, and how many workers are alive."""
    parts = []
    for meter in pulse.meters[:METERS]:
        cap = f"of {words.money(amounts.usd(meter.max_usd))}" if meter.max_usd is not None else "spent, no cap"
        bar = words.bar(meter.spent_usd, 0.0, meter.max_usd) if meter.max_usd is not None else ""
        parts.append(
            f"<span class='meter'><a href='cost' target='_self'>{words.escape(meter.project)}</a>{bar}"
            f"<span>{words.money(amounts.usd(meter.spent_usd))} {cap}</span></span>"
        )
    if len(pulse.meters) > METERS:
        parts.append(f"<span class='more'>and {len(pulse.meters) - METERS} more</span>")
    who = "no worker alive" if not pulse.n_alive else f"{pulse.n_alive} worker{'s' if pulse.n_alive > 1 else ''} alive"
    tone, mark = ("active", "●") if pulse.n_alive else ("quiet", "○")
    rate = f", {words.money(f'{amounts.usd(pulse.usd_per_hour)}/h')}" if pulse.n_alive else ""
    parts.append(f"<span><span class='state {tone}'>{mark} {who}</span>{rate}</span>")
    return f"<div class='pulse' role='status' aria-live='off'>{''.join(parts)}</div>"
