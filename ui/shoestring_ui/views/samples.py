"""Samples: prompts down, runs across, one slider. Each cell says its own step, and by how much it is stale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st
from shoestring import queries
from shoestring.records import Run, Sample

from shoestring_ui import amounts, words
from shoestring_ui.differences import differing, telling
from shoestring_ui.pictures import first_shown, png
from shoestring_ui.store import recent
from shoestring_ui.theme import palette
from shoestring_ui.widgets import head, pick_runs, submit_first

BY = ("equal dollars", "step", "latest")
STALE = 0.05  # a picture this share older than asked says so
ROOMY = 5  # so many columns or fewer have room for larger pictures
BATCH = 16  # prompts shown at once


def page() -> None:
    """Draw the matrix; the address holds the runs, the rule and the place of the slider."""
    head("Samples", "The same prompts, the same seeds: what each run draws at the same dollars or step.")
    runs = recent()
    if not runs:
        submit_first("no picture")
        return
    pictures = {r.id: queries.samples(r) for r in runs if r.attempts}
    with_some = [r for r in runs if pictures.get(r.id)]
    if not with_some:
        text = "Runs draw a seeded grid of prompts while they train, once `samples:` is in their spec."
        st.html(words.empty("No samples yet", text, "shoestring work --until-empty"))
        return
    chosen = pick_runs(with_some, first_shown(with_some), most=8)
    if not chosen:
        st.html(words.empty("No run is chosen", "Choose one or more runs above."))
        return
    every = [s for r in chosen for s in pictures[r.id]]
    by, at = _controls(every)
    prompts = _some(list(dict.fromkeys(s.prompt for s in every)))
    cells = {(r.id, p): pick([s for s in pictures[r.id] if s.prompt == p], by, at) for r in chosen for p in prompts}
    st.html(f"<p class='takeaway'>{words.escape(_takeaway(chosen, cells, by, at))}</p>")
    st.html(_matrix(chosen, prompts, cells, by, at))


def _controls(every: Sequence[Sample]) -> tuple[str, float]:
    """The rule and where the slider stands; the number beside it is the same value, to type."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        by = st.segmented_control("At", BY, default=BY[0], required=True, key="by", bind="query-params") or BY[0]
        if by == "latest":
            return by, 0.0
        steps = by == "step"
        most = float(max((s.step if steps else s.usd) for s in every))
        if most <= 0:
            return "latest", 0.0
        key = "step" if steps else "usd"
        if not 0 <= st.session_state.get(key, most) <= most:
            st.session_state[key] = most
        label, shape = ("Step", "%.0f") if steps else ("Useful dollars", "$%.4f" if most >= 0.05 else "$%.6f")
        begin: dict[str, Any] = {} if key in st.session_state else {"value": most}
        at = st.slider(
            label, 0.0, most, step=most / 200, key=key, bind="query-params", format=shape, width=320, **begin
        )
        exact = f"{key}_exact"
        st.session_state[exact] = at
        st.number_input(
            "Exactly", 0.0, most, step=most / 20, key=exact, format=shape.lstrip("$"), width=152,
            on_change=lambda: st.session_state.update({key: st.session_state[exact]}),
        )  # fmt: skip
    return by, at


def _some(prompts: list[str]) -> list[str]:
    if len(prompts) <= BATCH:
        return prompts
    last = (len(prompts) - 1) // BATCH + 1
    part = st.number_input(f"Prompts, {BATCH} at a time", 1, last, 1, key="part", bind="query-params", width=200)
    return prompts[(part - 1) * BATCH : part * BATCH]


def pick(samples: Sequence[Sample], by: str, at: float) -> Sample | None:
    """The newest picture that is not past `at`; of `latest`, the newest."""
    inside = [s for s in samples if by == "latest" or (s.step if by == "step" else s.usd) <= at * (1 + 1e-6)]
    return max(inside, key=lambda s: s.step, default=None)


def stale_by(sample: Sample, by: str, at: float) -> str:
    """By how much the picture is older than asked, in words; empty when it is close enough."""
    if by == "latest":
        return ""
    gap = at - (sample.step if by == "step" else sample.usd)
    if gap <= STALE * at:
        return ""
    return f"stale by {amounts.count(gap)} steps" if by == "step" else f"stale by {amounts.usd(gap)}"


def _takeaway(runs: Sequence[Run], cells: dict[tuple[int, str], Sample | None], by: str, at: float) -> str:
    found = [s for s in cells.values() if s]
    old = sum(bool(stale_by(s, by, at)) for s in found)
    when = {"latest": "the latest of each", "step": f"step {at:,.0f}"}.get(by, f"{amounts.usd(at)} of training each")
    many = f"{len(runs)} runs" if len(runs) > 1 else "1 run"
    tail = f"; {old} of {len(found)} pictures are older than asked" if old else ""
    return f"{many} at {when}{tail}."


def _matrix(
    runs: Sequence[Run], prompts: Sequence[str], cells: dict[tuple[int, str], Sample | None], by: str, at: float
) -> str:
    colours = palette()
    differs = differing(runs) if len(runs) > 1 else {}
    heads = []
    for i, run in enumerate(runs):
        few = "".join(f"<br>{words.escape(text)}" for text in telling(differs, i))
        heads.append(f"<th scope='col'>{words.who(run.id, run.name, colours)}{few}</th>")
    body = []
    for prompt in prompts:
        row = "".join(f"<td>{_cell(cells[run.id, prompt], run, by, at)}</td>" for run in runs)
        body.append(f"<tr><th scope='row'>{words.escape(prompt)}</th>{row}</tr>")
    look = "matrix roomy" if len(runs) <= ROOMY else "matrix"
    return (
        f"<div class='scroll'><table class='{look}'><thead><tr><th scope='col'>Prompt</th>"
        + "".join(heads) + "</tr></thead><tbody>" + "".join(body) + "</tbody></table></div>"
    )  # fmt: skip


def _cell(sample: Sample | None, run: Run, by: str, at: float) -> str:
    if sample is None:
        return "<span class='under'>nothing yet</span>"
    stale = stale_by(sample, by, at)
    badge = f"<span class='under stale'>{words.escape(stale)}</span>" if stale else ""
    alt = words.escape(f"{run.name}, step {sample.step}: {sample.prompt}", quote=True)
    return (
        f"{image(sample.path, alt)}<span class='under'>step {sample.step:,} "
        f"<span class='money'>{amounts.usd(sample.usd)}</span></span>{badge}"
    )


def image(path: str, alt: str) -> str:
    """An `img` element that holds the PNG; a word where the file is gone."""
    data = _png(path)
    return f"<img class='sample' alt='{alt}' src='data:image/png;base64,{data}'>" if data else "picture is missing"


@st.cache_data(ttl=600, max_entries=4096, show_spinner=False)
def _png(path: str) -> str:
    return png(path)
