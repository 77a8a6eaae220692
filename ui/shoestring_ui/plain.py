"""A figure without Plotly in the browser: axes and labels as HTML, what lies between them as one SVG picture. Pure.

The same figure that Plotly would draw, so nothing is drawn twice. `st.html` lets no `<svg>` through, an `<img>` that
holds one it does, and a picture runs no script; words are HTML for the page's fonts, and so that a phone reads them at
the same size as a desk. Everything lies at shares of the width, which only the browser knows.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go

from shoestring_ui import bars, glyphs
from shoestring_ui.hits import hits
from shoestring_ui.marks import DASHES_PX
from shoestring_ui.scales import Scale, scale
from shoestring_ui.theme import Palette

AXES_PX = 64  # of a figure's height for the axis below
WIDE, HIGH = 4000, 2000  # units of a path: a third of a pixel at a desk
PHONE_LETTERS = 40  # of ticks side by side; of more a phone shows each second one
INLINE = re.compile(r"&lt;(/?b|br)&gt;")
TINTED = re.compile(r"&lt;span style=&#x27;color:(#[0-9A-Fa-f]{6})&#x27;&gt;(.)&lt;/span&gt;")


def html(figure: go.Figure, alt: str, colours: Palette, picks: bool = False) -> str:
    """The figure as HTML; `alt` is what it shows in words. Where it `picks`, points say their run in `data-run`."""
    x, y = _scales(figure)
    across, up = figure.layout.xaxis, figure.layout.yaxis
    height = int(figure.layout.height or 420) - AXES_PX
    picture = base64.b64encode(svg(figure, x, y, colours).encode()).decode()
    top = " top" if across.side == "top" else ""
    return (
        f"<div class='graph{top}'>{_title(up, colours, 'up')}{_labels(y, up, colours, 'up')}"
        f"<div class='plot' style='height:{height}px'>"
        f"<img alt='{escape(alt, quote=True)}' src='data:image/svg+xml;base64,{picture}'>"
        f"{''.join(_annotations(figure, x, y))}{''.join(hits(figure, x, y, picks))}</div>"
        f"{_labels(x, across, colours, 'across')}{_title(across, colours, 'across')}</div>"
    )


def _scales(figure: go.Figure) -> tuple[Scale, Scale]:
    drawn = [t for t in figure.data if t.x is not None and len(t.x)]
    half = 0.5 if any(t.type == "heatmap" for t in drawn) else 0.0  # a cell lies round its number
    extents = [bars.extent(t) for t in drawn]
    axes = ((figure.layout.xaxis, [x for x, _ in extents]), (figure.layout.yaxis, [y for _, y in extents]))
    across, up = (scale(axis, values, half) for axis, values in axes)
    return across, up


def _ink(axis: Any, colours: Palette) -> str:
    """The class of an axis: dollars are amber."""
    return " money" if axis.title.font.color == colours.money else ""


def _title(axis: Any, colours: Palette, way: str) -> str:
    text = axis.title.text if axis.visible is not False else ""
    return f"<div class='title {way}{_ink(axis, colours)}' aria-hidden='true'>{escape(text or '')}</div>"


def _labels(along: Scale, axis: Any, colours: Palette, way: str) -> str:
    """The ticks in words; up, the widest also stands there unseen, so that the column is as wide."""
    ticks = along.ticks if axis.visible is not False else ()
    side = "left" if way == "across" else "bottom"
    said = "".join(f"<span style='{side}:{100 * at:.2f}%'>{_words(text)}</span>" for at, text in ticks)
    widest = max((text for _, text in ticks), key=len, default="")
    room = f"<b>{_words(widest)}</b>" if way == "up" else ""
    letters = sum(len(text) + 1 for _, text in ticks)
    many = " many" if way == "across" and axis.side != "top" and letters > PHONE_LETTERS else ""
    return f"<div class='ticks {way}{_ink(axis, colours)}{many}' aria-hidden='true'>{room}{said}</div>"


def _words(text: str) -> str:
    """Plotly's few tags in an otherwise escaped text."""
    return TINTED.sub(r"<span style='color:\1'>\2</span>", INLINE.sub(r"<\1>", escape(text)))


def _annotations(figure: go.Figure, x: Scale, y: Scale) -> Iterator[str]:
    """Words on the plot, each anchored and shifted as the figure says; those of a cell no wider than it."""
    cells = any(trace.type == "heatmap" for trace in figure.data)
    room = f"width:{100 / (x.high - x.low):.4g}%;" if cells else ""
    for one in figure.layout.annotations:
        at_x = one.x if one.xref and "domain" in one.xref else (one.x - x.low) / (x.high - x.low)
        at_y = (one.y - y.low) / (y.high - y.low)
        back_x = {"right": -100, "left": 0}.get(one.xanchor, -50)
        back_y = {"bottom": -100, "top": 0}.get(one.yanchor, -50)
        move = f"translate(calc({back_x}% + {one.xshift or 0:.0f}px),calc({back_y}% - {one.yshift or 0:.0f}px))"
        mono = " mono" if "Mono" in (one.font.family or "") else ""
        look = mono + (" backed" if one.bgcolor else "") + (" cell" if cells else "")
        yield (
            f"<span class='said{look}' aria-hidden='true' style='{room}left:{100 * at_x:.2f}%;"
            f"top:{100 * (1 - at_y):.2f}%;transform:{move};color:{one.font.color}'>{_words(one.text)}</span>"
        )


def svg(figure: go.Figure, x: Scale, y: Scale, colours: Palette) -> str:
    """Grid, shapes, areas, lines and marks, stretched to whatever box it is shown in."""
    below, kept = _grid(figure, x, y, colours), glyphs.Glyphs()
    lines, marks = list[str](), list[str]()
    for place, trace in enumerate(figure.data):
        if trace.type == "heatmap":
            below += _cells(trace, x, y, colours)
            continue
        if trace.type == "bar":
            marks += bars.svg(figure, trace, x, y, f"hatch-{place}")
            continue
        xs, ys = x.of(trace.x), y.of(trace.y)
        if trace.opacity is not None:
            lines.append(f"<g opacity='{trace.opacity:g}'>")
        if "lines" in (trace.mode or ""):
            lines += _line(trace, xs, ys, y)
        if trace.opacity is not None:
            lines.append("</g>")
        if "markers" in (trace.mode or ""):
            marks += kept.marks(trace, xs, ys)
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg'>{kept.definitions()}{''.join(below)}"
        f"<svg width='100%' height='100%' viewBox='0 0 {WIDE} {HIGH}' preserveAspectRatio='none' fill='none'>"
        f"{''.join(lines)}</svg>{''.join(marks)}</svg>"
    )


def _grid(figure: go.Figure, x: Scale, y: Scale, colours: Palette) -> list[str]:
    """Thin lines at the ticks, the axes, and the figure's own straight lines (each along one axis)."""
    found = []
    for axis, along, way in ((figure.layout.xaxis, x, "x"), (figure.layout.yaxis, y, "y")):
        places = [at for at, _ in along.ticks] if axis.visible is not False and axis.showgrid is not False else []
        found += [_straight(way, at, colours.grid) for at in places]
    for axis, way in ((figure.layout.xaxis, "y"), (figure.layout.yaxis, "x")):
        if axis.visible is not False and axis.showline is not False:
            found.append(_straight(way, 0.0, colours.line, 2))
    for shape in figure.layout.shapes:
        way, along = ("y", y) if shape.y0 == shape.y1 else ("x", x)
        place = ((shape.y0 if way == "y" else shape.x0) - along.low) / (along.high - along.low)
        dash = DASHES_PX.get(shape.line.dash or "solid", ())
        found.append(_straight(way, place, shape.line.color, shape.line.width or 1, dash))
    return found


def _straight(way: str, at: float, ink: str, width: float = 1, dash: tuple[int, ...] = ()) -> str:
    other, place = ("y", f"{100 * at:.2f}%") if way == "x" else ("x", f"{100 * (1 - at):.2f}%")
    return (
        f"<line {way}1='{place}' {way}2='{place}' {other}1='0' {other}2='100%' stroke='{ink}' "
        f"stroke-width='{width:g}' stroke-dasharray='{' '.join(map(str, dash))}'/>"
    )


def _cells(trace: Any, x: Scale, y: Scale, colours: Palette) -> Iterator[str]:
    """A heat map's cells, one unit of either axis each, coloured by value along the trace's scale."""
    values = np.array([[np.nan if v is None else v for v in row] for row in trace.z], dtype=float)
    if not np.isfinite(values).any():
        return
    low, high = np.nanmin(values), np.nanmax(values)
    inks = [ink for _, ink in trace.colorscale]
    wide, tall = 1 / (x.high - x.low), 1 / (y.high - y.low)
    for row, column in np.argwhere(np.isfinite(values)):
        share = (values[row, column] - low) / (high - low) if high > low else 0.0
        yield (
            f"<rect x='{100 * (column - 0.5 - x.low) * wide:.3f}%' y='{100 * (1 - (row + 0.5 - y.low) * tall):.3f}%' "
            f"width='{100 * wide:.3f}%' height='{100 * tall:.3f}%' fill='{glyphs.between(inks, share)}' "
            f"stroke='{colours.paper}' stroke-width='2'/>"
        )


def _line(trace: Any, xs: np.ndarray, ys: np.ndarray, y: Scale) -> Iterator[str]:
    """The line, broken where a point is missing, above the area that it bounds."""
    look, fill = trace.line, trace.fill
    if look.shape == "hv":
        xs, ys = np.repeat(xs, 2)[1:], np.repeat(ys, 2)[:-1]
    points = np.column_stack([WIDE * xs, HIGH * (1 - ys)])
    whole = np.isfinite(points).all(axis=1)
    cuts = np.flatnonzero(np.diff(whole)) + 1
    parts = [part for part in np.split(np.rint(np.nan_to_num(points)).astype(int), cuts)[1 - whole[:1].sum() :: 2]]
    paths = [_path(part) for part in parts if len(part) > 1]
    if fill:
        zero = round(HIGH * (1 - float(y.of([0.0])[0])))
        ends = [f"V{zero}H{part[0, 0]}" if fill == "tozeroy" else "" for part in parts if len(part) > 1]
        area = "".join(f"{path}{end}Z" for path, end in zip(paths, ends, strict=True))
        yield f"<path fill='{trace.fillcolor}' d='{area}'/>"
    if look.width != 0:
        dash = " ".join(map(str, DASHES_PX.get(look.dash or "solid", ())))
        yield (
            f"<path vector-effect='non-scaling-stroke' stroke='{look.color}' stroke-linejoin='round' "
            f"stroke-width='{look.width or 2:g}' stroke-dasharray='{dash}' d='{''.join(paths)}'/>"
        )


def _path(points: np.ndarray) -> str:
    """Each point in units from the one before it, those that move by none left out."""
    moves = np.diff(points, axis=0)
    moves = moves[moves.any(axis=1)]
    return f"M{points[0, 0]} {points[0, 1]}l{' '.join(map(str, moves.ravel().tolist()))}"
