"""Bars of a chart that the server draws: from their base on, filled and hatched as the trace says. Pure."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go

from shoestring_ui.scales import Scale

TILE_PX = 6  # of a pattern; Plotly's `size`
GAP = 0.2  # Plotly's, of the room for a bar, where a figure does not say
SLASH, BACKSLASH = "M-1 1l2 -2M0 6l6 -6M5 7l2 -2", "M-1 5l2 2M0 0l6 6M5 -1l2 2"
HATCHES = {
    ".": "M2 3h2", "/": SLASH, "\\": BACKSLASH, "x": SLASH + BACKSLASH, "-": "M0 3h6",
}  # fmt: skip


def extent(trace: Any) -> tuple[Any, Any]:
    """What a trace needs of either axis: its points, or where its bars begin and end."""
    if trace.type != "bar":
        return trace.x, trace.y
    places, ends = _along(trace), np.concatenate(_ends(trace))
    return (ends, places) if trace.orientation == "h" else (places, ends)


def boxes(figure: go.Figure, trace: Any, x: Scale, y: Scale) -> np.ndarray:
    """Left, top, width and height of each bar as shares of the plot, (n, 4)."""
    lies = trace.orientation == "h"
    gap = GAP if figure.layout.bargap is None else figure.layout.bargap
    along, up = (y, x) if lies else (x, y)
    places = np.asarray(_along(trace), dtype=float)
    before, after = along.of(places - (1 - gap) / 2), along.of(places + (1 - gap) / 2)
    low, high = map(up.of, _ends(trace))
    sides = (low, 1 - after, high - low, after - before) if lies else (before, 1 - high, after - before, high - low)
    return np.column_stack(sides)


def svg(figure: go.Figure, trace: Any, x: Scale, y: Scale, name: str) -> Iterator[str]:
    """The bars, over them their hatching, which is known by `name`."""
    hatch, looks = _looks(trace, name)
    yield hatch
    for box in boxes(figure, trace, x, y):
        yield from (f"<rect {_at(box)} {look}/>" for look in looks)


def legend(figure: go.Figure) -> str:
    """What each colour and pattern means, as HTML: Plotly has its own."""
    said = "".join(f"<li>{_swatch(trace)} {escape(trace.name)}</li>" for trace in figure.data)
    return f"<ul class='legend'>{said}</ul>"


def _swatch(trace: Any) -> str:
    hatch, looks = _looks(trace, "hatch")
    body = "".join(f"<rect x='.5' y='.5' width='17' height='11' {look}/>" for look in looks)
    drawn = f"<svg xmlns='http://www.w3.org/2000/svg' width='18' height='12'>{hatch}{body}</svg>"
    held = base64.b64encode(drawn.encode()).decode()
    return f"<img alt='' width=18 height=12 src='data:image/svg+xml;base64,{held}'>"


def _along(trace: Any) -> Sequence[Any]:
    places: Sequence[Any] = trace.y if trace.orientation == "h" else trace.x
    return places


def _ends(trace: Any) -> tuple[np.ndarray, np.ndarray]:
    lengths = np.asarray(trace.x if trace.orientation == "h" else trace.y, dtype=float)
    base = np.zeros_like(lengths) if trace.base is None else np.asarray(trace.base, dtype=float)
    return base, base + lengths


def _looks(trace: Any, name: str) -> tuple[str, list[str]]:
    """The trace's pattern, if it has one, and how each bar is filled: with its colour, then with the pattern."""
    pattern, edge = trace.marker.pattern, trace.marker.line
    stroke = f" stroke='{edge.color}' stroke-width='{edge.width:g}'" if edge.color and edge.width else ""
    plain, drawn = f"fill='{trace.marker.color}'{stroke}", HATCHES.get(pattern.shape)
    if drawn is None:
        return "", [plain]
    tile = f"width='{TILE_PX}' height='{TILE_PX}' patternUnits='userSpaceOnUse'"
    path = f"<path d='{drawn}' stroke='{pattern.fgcolor}' fill='none'/>"
    return f"<pattern id='{name}' {tile}>{path}</pattern>", [plain, f"fill='url(#{name})'{stroke}"]


def _at(box: np.ndarray) -> str:
    named = zip(("x", "y", "width", "height"), box, strict=True)
    return " ".join(f"{name}='{100 * share:.4g}%'" for name, share in named)
