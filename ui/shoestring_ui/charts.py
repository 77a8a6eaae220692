"""Figures of runs, as pure functions of records: quality per dollar, and curves over any x-axis.

A run has the same colour, dash and symbol everywhere (`identity`). Dollars are amber. The takeaway is a sentence of
`takeaways.py` that the page prints as the title, so figures carry none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
from shoestring.ranking import pareto_front
from shoestring.records import Series

from shoestring_ui.amounts import usd
from shoestring_ui.amounts import value as metric_value
from shoestring_ui.identity import identity
from shoestring_ui.theme import MONO, SANS, Palette

# name on the page → (field of Series, axis title)
X_AXES = {
    "dollars": ("usd", "useful dollars ($)"),
    "step": ("step", "step"),
    "images": ("images", "images seen"),
    "seconds": ("seconds", "training time (s)"),
    "FLOPs": ("flops", "training FLOPs"),
}
MAX_POINTS = 2000  # of one trace: a browser's memory, not ours
MARKERS_UP_TO = 40  # a curve with more points is drawn as a line only
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


def frame(colours: Palette, height: int = 420) -> go.Figure:
    """An empty figure with our axes, fonts and margins."""
    figure = go.Figure()
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
    figure.update_layout(
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
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0, "font": {"size": 12}},
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": colours.soft, "activecolor": colours.accent},
        dragmode=False,  # a finger on the chart scrolls the page; the mode bar has the zoom
        showlegend=False,
        xaxis=axis,
        yaxis=axis,
    )
    return figure


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
        figure.update_xaxes(dtick="D2")


def quality_per_dollar(
    points: Sequence[Point], metric: str, way: str, colours: Palette, *, log: bool = False
) -> go.Figure:
    """Dollars across, quality up; the Pareto front as a staircase, what it beats faded, what still trains hollow."""
    figure = frame(colours)
    money_axis(figure, colours, "useful dollars ($)", log)
    figure.update_yaxes(title_text=f"{metric}, {'lower' if way == 'minimize' else 'higher'} is better")
    done = [p for p in points if not p.running]
    front = [done[i] for i in pareto_front([(p.usd, p.quality) for p in done], way)]
    _staircase(figure, front, max((p.usd for p in points), default=0.0), colours)
    for point in points:
        who = identity(point.run_id, colours.ink)
        on_front = point in front
        if point.running and point.forecast_usd and point.forecast_usd > point.usd:
            figure.add_scatter(
                x=[point.usd, point.forecast_usd],
                y=[point.quality, point.quality],
                mode="lines",
                line={"color": colours.money, "width": 1, "dash": "dot"},
                hoverinfo="skip",
            )
        figure.add_scatter(
            x=[point.usd],
            y=[point.quality],
            mode="markers+text",
            name=point.name,
            marker={
                "symbol": who.symbol + ("-open" if point.running else ""),
                "color": who.colour,
                "size": 12,
                "line": {"color": who.colour if point.running else colours.paper, "width": 2 if point.running else 1},
            },
            opacity=1.0 if on_front or point.running else 0.45,
            text=[point.name if on_front or len(points) <= 6 else f"#{point.run_id}"],
            textposition="top left" if point.usd > 0.6 * max(p.usd for p in points) else "top right",
            textfont={"size": 11, "color": colours.ink if on_front else colours.soft},
            cliponaxis=False,
            hovertemplate=(
                f"<b>#{point.run_id} {point.name}</b><br>{metric} {metric_value(point.quality)}"
                f"<br>{usd(point.usd)}{' so far' if point.running else ''}<extra></extra>"
            ),
        )
    return figure


def _staircase(figure: go.Figure, front: Sequence[Point], end_usd: float, colours: Palette) -> None:
    if front:
        figure.add_scatter(
            x=[*(p.usd for p in front), max(end_usd, front[-1].usd)],
            y=[*(p.quality for p in front), front[-1].quality],
            mode="lines",
            line={"shape": "hv", "color": colours.soft, "width": 1},
            hoverinfo="skip",
            name="Pareto front",
        )


def overlay(
    series: Sequence[Series],
    names: Mapping[int, str],
    metric: str,
    colours: Palette,
    *,
    x: str = "dollars",
    smoothing: float = 0.0,
    log_y: bool = False,
) -> go.Figure:
    """Curves of one metric, a run each; with smoothing the raw curve stays, thin and pale."""
    field, title = X_AXES[x]
    figure = frame(colours)
    if x == "dollars":
        money_axis(figure, colours, title)
    else:
        figure.update_xaxes(title_text=title, rangemode="tozero")
    figure.update_yaxes(title_text=metric, type="log" if log_y else "linear")
    figure.update_layout(hovermode="closest", showlegend=len(series) > 1)
    for one in series:
        who = identity(one.run_id, colours.ink)
        keep = thin(len(one.value))
        xs, ys = [getattr(one, field)[i] for i in keep], [one.value[i] for i in keep]
        line = {"color": who.colour, "width": 2, "dash": who.dash}
        if smoothing:
            pale = {**line, "width": 1, "dash": "solid"}
            figure.add_scatter(x=xs, y=ys, mode="lines", line=pale, opacity=0.3, hoverinfo="skip", showlegend=False)
            ys = smooth(ys, smoothing)
        figure.add_scatter(
            x=xs,
            y=ys,
            mode="lines+markers" if len(xs) <= MARKERS_UP_TO else "lines",
            name=names[one.run_id],
            line=line,
            marker={"symbol": who.symbol, "size": 7, "color": who.colour},
            hovertemplate=(f"<b>{names[one.run_id]}</b><br>{metric} %{{y:.4g}}<br>{x} %{{x:.4~g}}<extra></extra>"),
        )
    return figure


def thin(n_points: int, most: int = MAX_POINTS) -> list[int]:
    """Indices of at most `most` of `n_points`, evenly spread, both ends kept."""
    if n_points <= most:
        return list(range(n_points))
    return sorted({round(i * (n_points - 1) / (most - 1)) for i in range(most)})


def smooth(values: Sequence[float], weight: float) -> list[float]:
    """Exponential moving average without the bias of its start; `weight` in [0, 1), 0 changes nothing."""
    smoothed, total, average = [], 0.0, 0.0
    for number in values:
        average = weight * average + (1 - weight) * number
        total = weight * total + (1 - weight)
        smoothed.append(average / total)
    return smoothed
