"""A forecast from a few choices: dollars, time, memory and FLOPs of a run that nobody has written yet."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import streamlit as st
from shoestring.errors import ShoestringError, SpecInvalid
from shoestring.home import Home
from shoestring.plan import FilePlan, costs_of, plan_file, plan_text
from shoestring.prices import PriceRow
from shoestring.quotes import Quote, quote
from shoestring.run_plan import RunPlan

from shoestring_ui import amounts, frames, takeaways, words
from shoestring_ui.cost_charts import flop_by_part as figure_of
from shoestring_ui.sketch import DEVICES, EXPERTS, MOST_IMAGES, RESOLUTIONS_PX, SIZES, Sketch, flop_by_part
from shoestring_ui.theme import palette
from shoestring_ui.widgets import chart, download, section
from shoestring_ui.words import Figure

PAPER = Path("studies/paper.yaml")
FIRST: dict[str, Any] = {"size": "microdit-tiny-2", "px": 256, "images": 10_000_000, "mask": 0.75, "experts": 8}


def forecast(prices: dict[str, PriceRow]) -> None:
    """The choices, all in the address, and what they cost on the hardware chosen and on every other row."""
    section("Forecast", "What a run would cost before it is written. A spec of your own is priced under New run.")
    sketch = _choices(prices)
    home = Home.find()
    try:
        run = plan_text(sketch.spec, "sketch.yaml", home, described=True).runs[0]
    except SpecInvalid as invalid:
        st.html(words.faults(invalid.faults, sketch.spec))
        return
    except ShoestringError as error:
        st.error(words.in_markdown(f"{error.message}. {error.hint}"))
        return
    quotes = {name: quote(run.config, costs_of(home, name, row)) for name, row in prices.items()}
    st.html(words.figures(_figures(run, prices[sketch.hardware])))
    no_mask = "" if sketch.masks else f" No mask: {sketch.size} needs every token."
    st.html(f"<p class='note'>Speed: {_known(run)}{no_mask}</p>")
    parts = flop_by_part(run)
    left, right = st.columns([2, 3], gap="large")
    with left:
        data = partial(frames.of_parts, parts)
        chart(figure_of(parts, palette()), takeaways.of_parts(parts), data, "flops-by-component")
    with right:
        _rows(quotes, sketch.hardware, _paper(home))
    with st.expander("As a spec"):
        st.code(sketch.spec, language="yaml")


def _choices(prices: dict[str, PriceRow]) -> Sketch:
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        size = st.selectbox("Size", SIZES, index=SIZES.index(FIRST["size"]), key="size", bind="query-params", width=176)
        mask = st.slider("Mask ratio", 0.0, 0.95, FIRST["mask"], 0.05, key="mask", bind="query-params", width=160)
        experts = st.selectbox(
            "Experts", EXPERTS, index=EXPERTS.index(FIRST["experts"]), key="experts", bind="query-params", width=104
        )
        resolution = st.selectbox(
            "Pixels a side", RESOLUTIONS_PX, index=RESOLUTIONS_PX.index(FIRST["px"]), key="px", bind="query-params",
            width=128,
        )  # fmt: skip
        images = st.number_input(
            "Images seen", 1, MOST_IMAGES, FIRST["images"], 1_000_000, key="images", bind="query-params", width=184
        )
        names = list(prices)
        gpu = next((i for i, name in enumerate(names) if prices[name].device == "cuda"), 0)
        hardware = st.selectbox("Hardware", names, index=gpu, key="hardware", bind="query-params", width=200)
        device, n_devices = prices[hardware].device, 1
        if device == "cuda":
            n_devices = st.selectbox("Devices", DEVICES, key="devices", bind="query-params", width=104)
    return Sketch(size, round(mask, 2), int(experts), int(resolution), int(images), hardware, device, int(n_devices))


def _figures(run: RunPlan, row: PriceRow) -> list[Figure]:
    usd, hours, memory = run.needs.usd, run.needs.hours, run.needs.memory_bytes
    room = f"of {row.memory_gb:g} GB" if row.memory_gb else "the catalogue does not say of how much"
    fits = row.memory_gb is None or memory.p50 <= row.memory_gb * 1e9
    return [
        Figure("Dollars", amounts.usd(usd.p50), f"{amounts.usd(usd.p10)} to {amounts.usd(usd.p90)}", money=True),
        Figure("Time", amounts.span(3600 * hours.p50), f"{amounts.span(3600 * hours.p10)} to {_time(hours.p90)}"),
        Figure("Memory" if fits else "Memory: does not fit", amounts.size(memory.p50), room),
        Figure("FLOPs", amounts.count(run.flop), f"{run.unmasked_flop / run.flop:.2f} × as many without the mask"),
        Figure("Parameters", amounts.count(run.parameters), f"{run.tokens_kept[0]:,} of {run.tokens:,} tokens kept"),
        Figure("Steps", f"{run.n_steps:,}", f"of {run.request.batch_size} images"),
    ]


def _time(hours: float) -> str:
    return amounts.span(3600 * hours)


def _known(run: RunPlan) -> str:
    """Where the speed is known from; what is only assumed stands in amber, for the dollars hang on it."""
    note = words.escape(run.note)
    return f"{note}." if run.calibrated else f"<span class='money'>{note}</span>."


def _rows(quotes: dict[str, Quote], chosen: str, paper: FilePlan | None) -> None:
    cheapest = min(quotes, key=lambda name: quotes[name].needs.usd.p50)
    said = takeaways.of_quotes(quotes)
    st.html(words.takeaway(said))
    rows = [
        [
            f"<span class='mono'>{words.escape(name)}</span>{' (chosen)' if name == chosen else ''}"
            f"{' (cheapest)' if name == cheapest else ''}",
            words.money(amounts.usd(one.needs.usd.p50)),
            words.money(f"{amounts.usd(one.needs.usd.p10)}–{amounts.usd(one.needs.usd.p90)}"),
            words.money(amounts.usd(one.spot_usd.p50)) if one.spot_usd else amounts.DASH,
            _time(one.needs.hours.p50),
            {True: "yes", False: "<span class='state bad'>✕ no</span>", None: amounts.DASH}[one.fits],
        ]
        for name, one in sorted(quotes.items(), key=lambda pair: pair[1].needs.usd.p50)
    ]
    if paper:
        needs = paper.needs
        rows.append([
            f"the paper's own run, <span class='mono'>{words.escape(str(PAPER))}</span>",
            words.money(amounts.usd(needs.usd.p50)),
            words.money(f"{amounts.usd(needs.usd.p10)}–{amounts.usd(needs.usd.p90)}"),
            amounts.DASH,
            _time(needs.hours.p50),
            amounts.DASH,
        ])  # fmt: skip
    caption = "The same run on every row of the catalogue: one device where the kind differs from the chosen one."
    columns = ["Hardware", "Dollars", "10–90 %", "Spot", "Time", "Fits"]
    st.html(words.table(columns, rows, caption, numeric=(1, 2, 3, 4)))
    download(frames.of_quotes(quotes), "forecast")


@st.cache_data(ttl=600, max_entries=4, show_spinner=False)
def _planned(path: str, changed_at: float) -> FilePlan | None:
    try:
        return plan_file(Path(path), described=True)
    except ShoestringError:  # the project's own catalogue may have another row of that name
        return None


def _paper(home: Home) -> FilePlan | None:
    """The published run, where this project has its spec."""
    path = home.root / PAPER
    return _planned(str(path), path.stat().st_mtime) if path.is_file() else None
