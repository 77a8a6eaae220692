"""Marks of a chart that the server draws, as SVG: each shape and size once, used wherever a point lies. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from shoestring_ui.marks import CORNERS, HEIGHT, RADIUS, WIDTH

DRAWN_PX = 8  # how large the shapes of `marks` are
STROKES = {"x-thin": "M8 3l8 8m0 -8l-8 8", "line-ew": "M7 7h10"}  # lines without an inside


class Glyphs:
    """The shapes that one picture uses."""

    def __init__(self) -> None:
        self._used: dict[tuple[str, float], str] = {}

    def marks(self, trace: Any, xs: np.ndarray, ys: np.ndarray) -> Iterator[str]:
        """A mark at each place, as the trace's markers say; those of one look together."""
        marker, n = trace.marker, len(xs)
        ink = marker.color if marker.color is not None else trace.line.color
        symbols, inks, sizes = (_each(v, n) for v in (marker.symbol or "circle", ink, marker.size or 6))
        edges, widths = _each(marker.line.color, n), _each(marker.line.width or 0, n)
        order, last = np.flatnonzero(inside(xs, ys)).tolist(), ""
        for i in order:
            hollow, shape = symbols[i].endswith("-open"), symbols[i].removesuffix("-open")
            fill, edge, width = ("none", inks[i], max(1.5, widths[i])) if hollow else (inks[i], edges[i], widths[i])
            look = f"fill='{fill}'" + (f" stroke='{edge}' stroke-width='{width:g}'" if edge and width else "")
            if look != last:
                yield f"{'</g>' if last else ''}<g {look}>"
            last = look
            at = f"x='{100 * xs[i]:.4g}%' y='{100 * (1 - ys[i]):.4g}%'"
            yield f"<use href='#{self._named(shape, sizes[i])}' {at}/>"
        yield "</g>" if last else ""

    def definitions(self) -> str:
        """The shapes, to stand before their first use."""
        return f"<defs>{''.join(_shape(name, *key) for key, name in self._used.items())}</defs>"

    def _named(self, symbol: str, size_px: float) -> str:
        return self._used.setdefault((symbol, size_px), f"m{len(self._used)}")


def inside(xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    """Which places lie within the axes."""
    return (np.abs(xs - 0.5) < 0.501) & (np.abs(ys - 0.5) < 0.501)  # never true of NaN


def _shape(name: str, symbol: str, size_px: float) -> str:
    corners = CORNERS.get(symbol, ())
    points = " ".join(f"{x} {y}" for x, y in corners)
    still = "vector-effect='non-scaling-stroke'"
    if symbol in STROKES:
        drawn = f"<path d='{STROKES[symbol]}' {still}/>"
    elif corners:
        drawn = f"<polygon points='{points}' {still}/>"
    else:
        drawn = f"<circle cx='{WIDTH / 2:g}' cy='{HEIGHT / 2:g}' r='{RADIUS}' {still}/>"
    grown = size_px / DRAWN_PX
    return f"<g id='{name}' transform='scale({grown:g}) translate({-WIDTH / 2:g} {-HEIGHT / 2:g})'>{drawn}</g>"


def _each(found: Any, n: int) -> Sequence[Any]:
    """A value for each point, where one may stand for all."""
    return list(found) if isinstance(found, list | tuple | np.ndarray) else [found] * n


def between(inks: Sequence[str], share: float) -> str:
    """The colour at a share of the way through evenly spaced ones."""
    place = min(max(share, 0.0), 1.0) * (len(inks) - 1)
    first = min(int(place), len(inks) - 2)
    ends = [[int(ink[i : i + 2], 16) for i in (1, 3, 5)] for ink in inks[first : first + 2]]
    mixed = [round(a + (b - a) * (place - first)) for a, b in zip(*ends, strict=True)]
    return "#" + "".join(f"{part:02x}" for part in mixed)
