"""What can be done to the run on the page: the verbs that its state allows, its cap, its priority and tags, a copy."""

from __future__ import annotations

import streamlit as st
from shoestring import queries
from shoestring.queries import Meter
from shoestring.records import DRAWING, Run
from shoestring.rungs import REASON

from shoestring_ui import amounts, verbs
from shoestring_ui.store import ask
from shoestring_ui.widgets import ACTIVE, WAITING

MOST_USD = 1e9
MOST_PRIORITY = 1_000_000


def actions(run: Run) -> None:
    """Draw the row of buttons; a verb that the state does not allow is not offered."""
    verbs.outcomes()
    broke = _broke(run)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        if run.state == "paused" and _cap_is_spent(run):
            _higher_cap(run)
        elif broke:
            _higher_budget(run, broke)
        elif verbs.VERBS["Resume"].allowed(run):
            verbs.button("Resume", [run.id], key="run-resume")
        for name in ("Retry", "Pause", "Cancel"):
            if verbs.VERBS[name].allowed(run):
                verbs.button(name, [run.id], key=f"run-{name.lower()}", first=run.state == "failed")
        _filing(run)
        st.html(f"<p class='links'>{' '.join(_links(run))}</p>")


def _links(run: Run) -> list[str]:
    found = [f"<a href='new?from={run.id}' target='_self'>Clone</a>"] if run.kind != DRAWING else []
    if run.sweep_id is not None:
        waits = run.state == "paused" and run.reason == REASON
        to = "Promote it where its sweep is steered" if waits else "Its sweep"
        found.append(f"<a href='sweep?sweep={run.sweep_id}' target='_self'>{to}</a>")
    return found


# ── money ───────────────────────────────────────────────────────────────────────────────────────


def _cap_is_spent(run: Run) -> bool:
    return run.max_usd is not None and run.spent_usd + run.closing_usd >= run.max_usd


def _broke(run: Run) -> Meter | None:
    """The meter of the run's project, when its money is what the run waits for."""
    meter = next((m for m in ask(queries.pulse).meters if m.project == run.project), None)
    spent = meter is not None and meter.max_usd is not None and meter.spent_usd >= meter.max_usd
    return meter if spent and run.state in ("queued", "paused") else None


def _higher_cap(run: Run) -> None:
    key, least = f"cap-{run.id}", run.spent_usd + run.closing_usd
    _dollars("New cap of this run, dollars", key, least)
    st.button(
        "Resume", key="run-resume", on_click=verbs.resume_with_cap, args=(run.id, key),
        help=f"{amounts.usd(run.spent_usd)} of {amounts.usd(run.max_usd)} is spent.",
    )  # fmt: skip


def _higher_budget(run: Run, meter: Meter) -> None:
    key = f"budget-{run.id}"
    _dollars(f"New budget of {meter.project}, dollars", key, meter.spent_usd)
    label = "Raise and resume" if run.state == "paused" else "Raise"
    st.button(
        label, key="run-budget", on_click=verbs.raise_budget, args=(run, key),
        help=f"{amounts.usd(meter.spent_usd)} of {amounts.usd(meter.max_usd)} is spent.",
    )  # fmt: skip


def _dollars(label: str, key: str, least: float) -> None:
    value = min(MOST_USD, 2 * least or 0.01)
    st.number_input(
        label, min_value=0.0, max_value=MOST_USD, value=value, step=least or 0.01, format="%.4f", key=key, width=240
    )


# ── filing ──────────────────────────────────────────────────────────────────────────────────────


def _filing(run: Run) -> None:
    unfinished = run.state in ACTIVE | WAITING
    with st.popover("Priority and tags" if unfinished else "Tags", key="filing"):
        priority_key, tags_key = f"priority-{run.id}", f"tags-{run.id}"
        if unfinished:
            st.number_input(
                "Priority", -MOST_PRIORITY, MOST_PRIORITY, run.priority, key=priority_key,
                help="Bigger is sooner; a point is worth an hour of waiting.",
            )  # fmt: skip
        st.text_input("Tags", ", ".join(run.tags), key=tags_key, max_chars=500, help="Separated by commas.")
        st.button("Save", key="file", on_click=verbs.file_away, args=(run.id, priority_key, tags_key))
