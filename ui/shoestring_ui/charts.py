"""The frame of every figure, and the map of quality per dollar, as pure functions of records.

A run has the same colour, dash and symbol everywhere (`identity`). Dollars are amber. The takeaway is a sentence of
`takeaways.py` that the page prints as the title, so figures carry none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from copy import deepcopy
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
import plotly.graph_objects as go
from shoestring.ranking import REACH, pareto_front

from shoestring_ui.amounts import usd
from shoestring_ui.amounts import value as metric_value
from shoestring_ui.identity import identity
from shoestring_ui.reaches import Goal
from shoestring_ui.theme import MONO, SANS, Palette

PLOT_PX = 360  # the height of the map of quality per dollar, axes apart
LINE_PX = 15  # of a name on it
NAMED_UP_TO = 12  # with more points only so many of the front, what runs and what is asked for
CURVES_UP_TO = 40  # with more points only those have their curve behind them
CONFIG = {
    "displaylogo": False,
    "responsive": True,
    "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d", "pan2d", "zoomIn2d", "zoomOut2d"],
}


@dataclass(frozen=True)
class Point:
    """One run on the map of quality per dollar; `forecast_usd` is where a run that still trains will end."""

    run_id: int
    name: str
    usd: float
    quality: float
    running: bool = False
    forecast_usd: float | None = None
    curve: tuple[tuple[float, float], ...] = ()  # how it came there: (usd, quality), oldest first


def frame(colours: Palette, height: int = 420) -> go.Figure:
    """An empty figure with our axes, fonts and margins."""
    axis = {
        "gridcolor": colours.grid,
        "linecolor": colours.line,
        "zeroline": False,
        "ticks": "outside",
        "tickcolor": colours.line,
        "ticklen": 4,
        "tickfont": {"family": MONO, "size": 11, "color": colours.soft},
        "title": {"font": {"size": 12, "color": colours.soft}, "standoff": 8},
        "automargin": True,
        "showline": True,
    }
    layout = dict(
        height=height,
        margin={"l": 8, "r": 16, "t": 16, "b": 8},
        paper_bgcolor=colours.paper,
        plot_bgcolor=colours.paper,
        font={"family": SANS, "size": 12, "color": colours.ink},
        hoverlabel={
            "bgcolor": colours.panel,
            "bordercolor": colours.line,
            "font": {"family": SANS, "size": 12, "color": colours.ink},
            "align": "left",
        },
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": colours.soft, "activecolor": colours.accent},
        dragmode=False,  # a finger on the chart scrolls the page; the mode bar has the zoom
        showlegend=False,
        xaxis=axis,
        yaxis=deepcopy(axis),  # Plotly takes what it is given, and changes it
    )
    return go.Figure(layout=layout, _validate=False)


def put(
    figure: go.Figure, traces: Iterable[Mapping[str, Any]] = (), said: Iterable[Mapping[str, Any]] = (),
    lines: Iterable[Mapping[str, Any]] = (),
) -> go.Figure:  # fmt: skip
    """The figure with these traces, words on it and straight lines, taken as they are.

    Plotly checks what is added to a figure value by value: of five hundred runs that takes longer than drawing them.
    """
    layout = figure.layout.to_plotly_json()
    layout["annotations"] = [*layout.get("annotations", ()), *said]
    layout["shapes"] = [*layout.get("shapes", ()), *({"type": "line", "layer": "below", **one} for one in lines)]
    data = [*(trace.to_plotly_json() for trace in figure.data), *({"type": "scatter", **one} for one in traces)]
    return go.Figure(data=data, layout=layout, _validate=False)


def money_axis(figure: go.Figure, colours: Palette, title: str, log: bool = False) -> None:
    """Make the x-axis dollars: amber, `$` on every tick."""
    figure.update_xaxes(
        title_text=title,
        title_font_color=colours.money,
        tickfont_color=colours.money,
        tickprefix="$",
        exponentformat="none",
        type="log" if log else "linear",
        rangemode="normal" if log else "tozero",
        separatethousands=True,
    )
    if log:
        ladder = [step * 10.0**power for power in range(-9, 7) for step in (1, 2, 5)]
        figure.update_xaxes(tickvals=ladder, ticktext=[usd(rung) for rung in ladder], tickprefix="")


def quality_per_dollar(
    points: Sequence[Point],
    metric: str,
    way: str,
    colours: Palette,
    *,
    log: bool = False,
    goal: Goal | None = None,
    picked: int | None = None,
    from_zero: bool = True,
) -> go.Figure:
    """Dollars across, quality up; the Pareto front as a staircase, what it beats faded, what still trains hollow.

    Behind each point runs the curve by which it came there (of many, only that of who matters). `goal` is drawn as a
    thin line with the price of its first run, `picked` is the run with a ring round it. The dollars begin at zero, or
    where the points do.
    """
    figure = frame(colours, PLOT_PX + 80)
    money_axis(figure, colours, "useful dollars ($)", log)
    if not from_zero:
        figure.update_xaxes(rangemode="normal")
    low, high = _room([p.quality for p in points] + ([goal.quality] if goal else []))
    figure.update_yaxes(
        title_text=f"{metric}, {'lower' if way == 'minimize' else 'higher'} is better", range=[low, high]
    )
    front = front_of(points, way)
    first = goal.first if goal else None
    bright = (
        {p.run_id for p in points if p.running} | {p.run_id for p in front} | {picked, first.run_id if first else None}
    )
    traces: list[dict[str, Any]] = []
    for point in points:
        if len(points) <= CURVES_UP_TO or point.run_id in bright:
            traces += _path(point, colours)
    traces += _staircase(front, max((p.usd for p in points), default=0.0), colours)
    said, lines = [], []
    if goal:
        lines.append(_goal_line(goal, colours))
        said.append(_goal_name(goal, colours))
    if goal and goal.first and (goal.first.usd > 0 or not log):
        traces.append(_drop(goal, goal.first.usd, low, colours))
        said.append(_price(goal.first.usd, low, log, colours))
    if points:
        traces.append(_marks(points, metric, colours, bright, picked))
    named = list(points)
    if len(points) > NAMED_UP_TO:  # those that are asked for, then the front from its best end, then what runs
        asked = [p for p in points if p.run_id in (picked, first.run_id if first else None)]
        running = [p for p in points if p.running]
        named = list({p.run_id: p for p in (*asked, *reversed(front), *running)}.values())[:NAMED_UP_TO]
    start_usd = 0.0 if from_zero else min((p.usd for p in points), default=0.0)
    said += _names(named, front, (low, high), start_usd, log, colours)
    return put(figure, traces, said, lines)


def trials_per_dollar(points: Sequence[Point], metric: str, way: str, colours: Palette) -> go.Figure:
    """`quality_per_dollar` of a sweep's trials, which cost about the same: the dollars begin where they do."""
    figure = quality_per_dollar(points, metric, way, colours, from_zero=False)
    return figure.update_xaxes(title_text="dollars of the trial ($)")


def front_of(points: Sequence[Point], way: str) -> list[Point]:
    """The finished points that no other beats on both dollars and quality, cheapest first.

    Dollars within 2 % count as equal: a plan is in whole steps, so equal budgets never end at the same micro-dollar.
    """
    done = sorted((p for p in points if not p.running), key=lambda p: p.usd)
    places: list[tuple[float, float]] = []
    for point in done:
        near = places and point.usd <= places[-1][0] * (1 + REACH)
        places.append((places[-1][0] if near else point.usd, point.quality))
    return [done[i] for i in pareto_front(places, "maximize" if way == "maximize" else "minimize")]


def _room(values: Sequence[float]) -> tuple[float, float]:
    """A y-range round the end points, with room above for where the curves come from."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    span = max(high - low, 0.1 * abs(high), 1e-9)
    return low - 0.15 * span, high + 0.6 * span


def _path(point: Point, colours: Palette) -> Iterator[dict[str, Any]]:
    who = identity(point.run_id, colours)
    if len(point.curve) > 1:
        xs, ys = np.asarray(point.curve).T
        line = {"color": who.colour, "width": 1}
        yield {"x": xs, "y": ys, "mode": "lines", "line": line, "opacity": 0.45, "hoverinfo": "skip"}
    if point.running and point.forecast_usd and point.forecast_usd > point.usd:
        line = {"color": colours.money, "width": 1, "dash": "dot"}
        ends = {"x": [point.usd, point.forecast_usd], "y": [point.quality, point.quality]}
        yield {**ends, "mode": "lines", "line": line, "hoverinfo": "skip"}


def _marks(
    points: Sequence[Point], metric: str, colours: Palette, bright: Set[int | None], picked: int | None
) -> dict[str, Any]:
    """All points as one trace, so that hundreds are quick; `customdata` is (run id, name, quality, dollars)."""
    looks = [identity(p.run_id, colours) for p in points]
    inks = [w.colour if p.run_id in bright else tint(w.colour, 0.5) for p, w in zip(points, looks, strict=True)]
    chosen = [p.run_id == picked for p in points]
    hollow = [ink if p.running else colours.paper for p, ink in zip(points, inks, strict=True)]
    edges = [colours.ink if mine else edge for mine, edge in zip(chosen, hollow, strict=True)]
    plain = {"marker": {"opacity": 1}}  # a click changes the page, not the others' opacity
    return {
        "x": np.asarray([p.usd for p in points]),
        "y": np.asarray([p.quality for p in points]),
        "mode": "markers",
        "name": "runs",
        "marker": {
            "symbol": [w.symbol + ("-open" if p.running else "") for p, w in zip(points, looks, strict=True)],
            "color": inks,
            "size": [18 if mine else 12 for mine in chosen],
            "line": {"color": edges, "width": [2 if p.running or p.run_id == picked else 1 for p in points]},
            "opacity": 1,
        },
        "selected": plain,
        "unselected": plain,
        "cliponaxis": False,
        "customdata": [
            (p.run_id, p.name, metric_value(p.quality), usd(p.usd) + (" so far" if p.running else "")) for p in points
        ],
        "hovertemplate": f"<b>#%{{customdata[0]}} %{{customdata[1]}}</b><br>{metric} %{{customdata[2]}}"
        "<br>%{customdata[3]}<extra></extra>",
    }


def _goal_line(goal: Goal, colours: Palette) -> dict[str, Any]:
    """A thin line at the quality asked for."""
    line = {"color": colours.soft, "width": 1, "dash": "dot"}
    return {"x0": 0, "x1": 1, "xref": "x domain", "y0": goal.quality, "y1": goal.quality, "line": line}


def _goal_name(goal: Goal, colours: Palette) -> dict[str, Any]:
    return {
        "x": 1, "xref": "x domain", "xanchor": "right", "y": goal.quality, "yanchor": "bottom",
        "text": f"goal {metric_value(goal.quality)}", "font": {"family": MONO, "size": 11, "color": colours.soft},
        **_backed(colours),
    }  # fmt: skip


def _drop(goal: Goal, at: float, low: float, colours: Palette) -> dict[str, Any]:
    """Where the first run crosses the quality asked for, a drop to that run's dollars."""
    line = {"color": colours.money, "width": 1}
    return {
        "x": [at, at],
        "y": [goal.quality, low],
        "mode": "lines",
        "line": line,
        "hoverinfo": "skip",
        "name": "first",
    }


def _price(at: float, low: float, log: bool, colours: Palette) -> dict[str, Any]:
    return {
        "x": math.log10(at) if log else at, "xanchor": "left", "xshift": 4, "y": low, "yanchor": "bottom",
        "text": usd(at), "font": {"family": MONO, "size": 11, "color": colours.money}, **_backed(colours),
    }  # fmt: skip


def _backed(colours: Palette) -> dict[str, Any]:
    """Words that can be read over lines."""
    return {"showarrow": False, "bgcolor": colours.paper, "opacity": 0.9, "borderpad": 1}


def tint(colour: str, opacity: float) -> str:
    """`#RRGGBB`, let through to what lies behind it."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity:g})"


def _names(
    points: Sequence[Point], front: Sequence[Point], y_range: tuple[float, float], start_usd: float, log: bool,
    colours: Palette,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """Each point's name beside it, to the left in the right half; names never lie on each other."""
    furthest = max((max(p.usd, p.forecast_usd or 0.0 if p.running else 0.0) for p in points), default=0.0)
    middle_usd = (start_usd + furthest) / 2
    pixel = (y_range[1] - y_range[0]) / PLOT_PX
    for left in (True, False):
        side = sorted((p for p in points if (p.usd > middle_usd) == left), key=lambda p: p.quality)
        places = apart([p.quality / pixel for p in side], LINE_PX)
        for point, place in zip(side, places, strict=True):
            who = identity(point.run_id, colours)
            yield {
                **_backed(colours),
                "borderpad": 0,
                "x": math.log10(point.usd) if log else point.usd,
                "y": point.quality,
                "text": f"<span style='color:{who.colour}'>{who.mark}</span> {point.name}",
                "xanchor": "right" if left else "left",
                "xshift": -10 if left else 10,
                "yshift": place - point.quality / pixel,
                "font": {"size": 11, "color": colours.ink if point in front or point.running else colours.soft},
            }


def apart(places: Sequence[float], gap: float) -> list[float]:
    """Move sorted places as little as needed so that neighbours are `gap` apart, each crowd round its own middle."""
    crowds: list[list[float]] = []
    for place in places:
        crowds.append([place])
        while len(crowds) > 1 and _ends(crowds[-2], gap)[1] + gap > _ends(crowds[-1], gap)[0]:
            crowds[-2:] = [crowds[-2] + crowds[-1]]
    return [_ends(crowd, gap)[0] + i * gap for crowd in crowds for i in range(len(crowd))]


def _ends(crowd: Sequence[float], gap: float) -> tuple[float, float]:
    half = gap * (len(crowd) - 1) / 2
    return fmean(crowd) - half, fmean(crowd) + half


def _staircase(front: Sequence[Point], end_usd: float, colours: Palette) -> Iterator[dict[str, Any]]:
    if front:
        yield {
            "x": [*(p.usd for p in front), max(end_usd, front[-1].usd)],
            "y": [*(p.quality for p in front), front[-1].quality],
            "mode": "lines",
            "line": {"shape": "hv", "color": colours.soft, "width": 1.5},
            "hoverinfo": "skip",
            "name": "Pareto front",
        }
