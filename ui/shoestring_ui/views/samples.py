"""Samples: the same prompts, drawn by several runs, at one place of one slider."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence

import streamlit as st
from shoestring import queries
from shoestring.records import Run, Sample, Series

from shoestring_ui import amounts, contact_sheet, pair, words
from shoestring_ui.curve_charts import MAX_POINTS
from shoestring_ui.identity import label
from shoestring_ui.matrix import AXES, BY, Matrix, build, common, floor, pick, places, sort_rows, start
from shoestring_ui.matrix_table import table
from shoestring_ui.pace import live
from shoestring_ui.pictures import first_shown
from shoestring_ui.store import FRESH_S, curves, recent
from shoestring_ui.theme import palette
from shoestring_ui.views import drawing
from shoestring_ui.widgets import ACTIVE, head, pick_runs, submit_first

QUALITY = ("eval/kid_effnet", "val/loss")  # the first that every chosen run has, else the last
MOST = 8  # runs side by side
BATCH = 16  # prompts shown at once
LAYOUTS = ("prompts down", "runs down", "two to swipe")


def page() -> None:
    """Draw the matrix; the address holds the runs, the rule, the place of the slider and which way the table lies."""
    head("Samples", "The same prompts, the same seeds: what each run draws at the same dollars, step or images.")
    runs = recent()
    if not runs:
        submit_first("no picture")
        return
    _side_by_side(runs)
    drawing.section(runs)


def _side_by_side(runs: Sequence[Run]) -> None:
    """What runs drew by themselves, while they trained."""
    able = [r for r in runs if r.attempts and (r.config.get("samples") or r.unreadable)]
    if not able:
        text = "Runs draw a seeded grid of prompts while they train, once `samples:` is in their spec."
        st.html(words.empty("No samples yet", text, "shoestring work --until-empty"))
        return
    asked = st.query_params.get("runs", "").split(",")
    if bare := [f"#{r.id} {r.name}" for r in runs if str(r.id) in asked and r not in able]:
        text = f"No pictures of {', '.join(bare)}: not begun yet, or no `samples:` in the spec."
        st.html(f"<p class='note'>{words.prose(text)}</p>")
    chosen = pick_runs(able, _unasked(able), most=MOST)
    if not chosen:
        st.html(words.empty("No run is chosen", "Choose one or more runs above."))
        return
    live(lambda: _board(chosen), any(r.state in ACTIVE for r in chosen))


def _unasked(runs: Sequence[Run]) -> list[int]:
    """What is shown first: of the runs that stand for their project, those with a picture at what all have spent."""
    ids = first_shown(runs)
    if "runs" in st.query_params:
        return ids
    ours = [r for r in runs if r.id in ids]
    samples = {r.id: _samples(r) for r in ours}
    every = [s for found in samples.values() for s in found]
    if not every:
        return ids
    at = common(ours, every, BY[0])
    return [i for i in ids if pick(samples[i], BY[0], at)]


def _board(runs: Sequence[Run]) -> None:
    """The controls and the matrix: what is drawn again when the slider moves."""
    samples = [s for run in runs for s in _samples(run)]
    if not samples:
        st.html(words.empty("No picture yet", "The chosen runs have not come to their first grid of samples.",
                            "shoestring work"))  # fmt: skip
        return
    bar = st.container(horizontal=True, vertical_alignment="bottom", gap="small")
    with bar:
        layout = st.segmented_control(
            "Layout", LAYOUTS, default=LAYOUTS[0], required=True, key="layout", bind="query-params"
        )
        if layout == LAYOUTS[2]:
            runs = _two(runs)
            samples = [s for s in samples if s.run_id in {r.id for r in runs}] or samples
        part = _part(len({row for _, row in sort_rows(samples)}))
    place = _controls(runs, samples)
    matrix, colours = build(runs, samples, _quality(runs), place, part), palette()
    bar.download_button(
        "Contact sheet, PNG",
        lambda: contact_sheet.png(matrix, colours, layout == LAYOUTS[1]),  # drawn when it is asked for
        file_name=_file_name(matrix), mime="image/png", key="sheet", on_click="ignore",
    )  # fmt: skip
    st.html(words.takeaway(matrix.takeaway))
    if layout == LAYOUTS[2] and len(runs) == 2:
        st.html(pair.board(matrix, colours))
        _swipe()(data=matrix.takeaway, key="swipe")
    else:
        st.html(table(matrix, colours, layout == LAYOUTS[1]))


def _two(runs: Sequence[Run]) -> list[Run]:
    """The two runs that the address names (`?pair=3,1`), else the first two; the only one where there is no other."""
    by_id = {r.id: r for r in runs}
    known = {str(i): i for i in by_id}
    asked = dict.fromkeys(known[p] for p in st.query_params.get("pair", "").split(",") if p in known)
    ids = [*asked, *(i for i in by_id if i not in asked)][:2]
    if len(ids) < 2:
        st.html("<p class='note'>Choose a second run above.</p>")
        return list(runs)
    for place, side in enumerate(("Left", "Right")):
        key = f"pair-{side}"
        _show(key, ids[place])

        def choose(place: int = place, key: str = key) -> None:
            mine, other = st.session_state[key], ids[1 - place]
            both = [mine, ids[place] if other == mine else other]  # who is chosen twice changes places
            st.query_params["pair"] = ",".join(str(i) for i in (both if place == 0 else both[::-1]))

        st.selectbox(side, list(by_id), format_func=lambda i: label(by_id[i]), key=key, on_change=choose, width=168)
    return [by_id[i] for i in ids]


@st.cache_resource
def _swipe() -> Callable[..., object]:
    return st.components.v2.component("shoestring_pair", js=pair.SCRIPT.read_text(encoding="utf-8"))


def _controls(runs: Sequence[Run], samples: Sequence[Sample]) -> tuple[str, float]:
    """The rule and where the slider stands. The address knows the place; slider, number and keys change it there."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        by = st.segmented_control("At the same", BY, default=BY[0], required=True, key="by", bind="query-params")
        key, among = AXES[by or BY[0]], places(samples, by or BY[0])
        if not by or not key or len(among) < 2:
            return by or BY[0], among[-1]
        at = floor(among, _number(st.query_params.get(key, ""), start(runs, samples, by)))
        here, slider, exactly = among.index(at), f"{key}-slider", f"{key}-exactly"

        def go(read: Callable[[], float]) -> Callable[[], None]:
            return lambda: st.query_params.update({key: f"{floor(among, read()):.9g}"})

        labels = dict(zip(among, _labels(among, by), strict=True))
        _show(slider, at)
        _show(exactly, at)
        st.select_slider(
            {"usd": "Useful dollars", "step": "Step", "images": "Images"}[key], among, key=slider, width=280,
            format_func=lambda place: labels.get(place, ""), on_change=go(lambda: float(st.session_state[slider])),
        )  # fmt: skip
        st.button("Earlier", shortcut="Left", disabled=here == 0, key="earlier",
                  on_click=go(lambda: among[max(here - 1, 0)]))  # fmt: skip
        st.button("Later", shortcut="Right", disabled=at == among[-1], key="later",
                  on_click=go(lambda: among[min(here + 1, len(among) - 1)]))  # fmt: skip
        unit = ", $" if key == "usd" else ""
        st.number_input(
            f"Exactly{unit}", 0.0, among[-1], step=max(b - a for a, b in itertools.pairwise(among)), key=exactly,
            format="%.6g", width=152, on_change=go(lambda: float(st.session_state[exactly])),
        )  # fmt: skip
    return by, at


def _show(key: str, value: float) -> None:
    """Let the widget of this key show the value; a widget that already does is left alone, somebody may hold it."""
    if st.session_state.get(key) != value:
        st.session_state[key] = value


def _labels(among: Sequence[float], by: str) -> list[str]:
    """A label for each place, no two alike."""
    said = [amounts.usd(p) if AXES[by] == "usd" else f"{p:,.0f}" for p in among]
    return said if len(set(said)) == len(said) else [f"{p:.9g}" for p in among]


def _number(text: str, otherwise: float) -> float:
    """The number that an address holds."""
    try:
        value = float(text)
    except ValueError:
        return otherwise
    return value if math.isfinite(value) else otherwise


def _part(n_rows: int) -> slice:
    """Which prompts are shown, where they are too many for one look."""
    if n_rows <= BATCH:
        return slice(None)
    last = (n_rows - 1) // BATCH + 1
    part = st.number_input(f"Prompts, {BATCH} at a time", 1, last, 1, key="part", bind="query-params", width=200)
    return slice((part - 1) * BATCH, part * BATCH)


def _quality(runs: Sequence[Run]) -> list[Series]:
    """Curves of the quality that all of these runs have."""
    found = list[Series]()
    for metric in QUALITY:
        found = curves(runs, metric, MAX_POINTS)
        if len(found) == len(runs):
            break
    return found


def _samples(run: Run) -> list[Sample]:
    """The run's pictures: of one that trains as they are now, of others as they were a while ago."""
    return _read(run.id, run.run_dir, run.step, int(time.time() / FRESH_S) if run.state in ACTIVE else 0, run)


@st.cache_data(ttl=600, max_entries=64, show_spinner=False)
def _read(run_id: int, run_dir: str, step: int, moment: int, _run: Run) -> list[Sample]:
    return queries.samples(_run)


def _file_name(matrix: Matrix) -> str:
    ids = "-".join(str(lane.run.id) for lane in matrix.lanes)
    where = f"-{AXES[matrix.by]}-{matrix.at:.6g}" if AXES[matrix.by] else "-latest"
    return f"shoestring-samples-{ids}{where}.png"
