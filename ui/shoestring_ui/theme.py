"""The look: a palette for light and one for dark, and the little CSS that Streamlit's own theme cannot say.

Streamlit's colours and fonts are in `.streamlit/config.toml` beside this file; Plotly does not see those, so figures
take a `Palette`. Amber means money and nothing else; teal is for what can be acted on.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import streamlit as st

STYLE = Path(__file__).with_name("style.css")
WORDMARK = Path(__file__).with_name("static") / "wordmark.svg"
SANS = "Inter, 'DejaVu Sans', sans-serif"
MONO = "'JetBrains Mono', 'DejaVu Sans Mono', monospace"


@dataclass(frozen=True)
class Palette:
    """Colours by what they mean. All text pairs have a contrast of at least 4.5:1 on `paper`."""

    name: str
    paper: str
    panel: str
    ink: str
    soft: str  # secondary text
    line: str  # borders
    grid: str  # chart grid
    accent: str  # what can be acted on
    money: str  # every dollar
    money_wash: str
    good: str
    bad: str
    bad_wash: str
    sun: str  # the yellow of Okabe and Ito
    scale: tuple[str, ...]  # best → worst, one hue, for heat maps


LIGHT = Palette(
    name="light",
    paper="#FFFFFF",
    panel="#F8FAFC",
    ink="#0F172A",
    soft="#475569",
    line="#E2E8F0",
    grid="#EEF2F6",
    accent="#0F766E",
    money="#B45309",
    money_wash="#FDE9C8",
    good="#166534",
    bad="#B91C1C",
    bad_wash="#FEF2F2",
    sun="#A89A00",
    scale=("#134E4A", "#0F766E", "#2FA197", "#7CCDC5", "#BFE6E1", "#E9F6F4"),
)
DARK = Palette(
    name="dark",
    paper="#0B1120",
    panel="#111A2E",
    ink="#E2E8F0",
    soft="#A3B1C6",
    line="#263349",
    grid="#1B2740",
    accent="#2DD4BF",
    money="#FBBF24",
    money_wash="#3B2F12",
    good="#4ADE80",
    bad="#F87171",
    bad_wash="#2A1620",
    sun="#F0E442",
    scale=("#99F6E4", "#4FD8C7", "#22A99B", "#14796F", "#12524F", "#123338"),
)


def palette() -> Palette:
    """The palette of the theme that this browser shows."""
    return DARK if st.context.theme.type == "dark" else LIGHT


def css(colours: Palette) -> str:
    """One style element: variables of the palette, then the rules of `style.css`."""
    return f"<style>:root{{{variables(colours)}}}\n{STYLE.read_text(encoding='utf-8')}</style>"


def variables(colours: Palette) -> str:
    """What `style.css` takes from a palette, and the fonts."""
    names = {k: v for k, v in asdict(colours).items() if isinstance(v, str) and k != "name"}
    said = "".join(f"--{name.replace('_', '-')}:{colour};" for name, colour in names.items())
    return f"{said}--sans:{SANS};--mono:{MONO}"


def wordmark(colours: Palette) -> str:
    """The name, set in Inter and drawn as a path, in the theme's ink."""
    return WORDMARK.read_text(encoding="utf-8").replace("INK", colours.ink)
