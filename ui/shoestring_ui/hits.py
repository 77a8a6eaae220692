"""What a chart that the server draws says of a point under the pointer, and which run a click on it means. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go

from shoestring_ui import bars
from shoestring_ui.glyphs import inside
from shoestring_ui.scales import Scale

MOST = 600  # of a chart: more cannot be told apart, and each is an element of the page
ASKED = re.compile(r"%\{(x|y|customdata)(?:\[(\d+)\])?(?::([^}]*))?\}")
TAG = re.compile(r"</?b>|<extra>.*?</extra>")


def hits(figure: go.Figure, x: Scale, y: Scale, picks: bool = False) -> Iterator[str]:
    """An element over each mark and bar, with the words of the trace's `hovertemplate` as its title.

    Where a point can be picked it also has its run, the first of its `customdata`.
    """
    traces = [t for t in figure.data if t.hovertemplate and (t.type == "bar" or _has_marks(t))]
    if sum(len(t.x) for t in traces) > MOST:
        return
    for trace in traces:
        across, up, known, template = trace.x, trace.y, trace.customdata, trace.hovertemplate
        for i, place in _bars(figure, trace, x, y) if trace.type == "bar" else _marks(trace, x, y):
            mine = known[i] if known is not None else None
            run = f" data-run='{int(mine[0])}'" if picks and mine is not None else ""
            said = escape(words(template, across[i], up[i], mine), quote=True)
            yield f"<i title='{said}' {place}{run}></i>"


def _marks(trace: Any, x: Scale, y: Scale) -> Iterator[tuple[int, str]]:
    """Which points lie within the axes, and where."""
    xs, ys = x.of(trace.x), y.of(trace.y)
    for i in np.flatnonzero(inside(xs, ys)).tolist():
        yield i, f"style='left:{100 * xs[i]:.4g}%;top:{100 * (1 - ys[i]):.4g}%'"


def _bars(figure: go.Figure, trace: Any, x: Scale, y: Scale) -> Iterator[tuple[int, str]]:
    for i, box in enumerate(bars.boxes(figure, trace, x, y)):
        left, top, wide, tall = (f"{100 * share:.4g}%" for share in box)
        yield i, f"class='over' style='left:{left};top:{top};width:{wide};height:{tall}'"


def _has_marks(trace: Any) -> bool:
    return trace.type == "scatter" and "markers" in (trace.mode or "")


def words(template: str, x: Any, y: Any, known: Any) -> str:
    """A `hovertemplate` with what it asks for, in plain text."""

    def found(match: re.Match[str]) -> str:
        what, index, form = match.groups()
        value = {"x": x, "y": y, "customdata": known}[what]
        value = value[int(index)] if index is not None else value
        return _formed(value, form or "")

    return ASKED.sub(found, TAG.sub("", template).replace("<br>", "\n"))


def _formed(value: Any, form: str) -> str:
    """A value in the few forms of d3 that our figures ask for, or a time in C's."""
    if not form or isinstance(value, str):
        return str(value)
    if "%" in form and not form.endswith("%"):
        return str(value.strftime(form))
    return format(float(value), form.replace("~", ""))
