"""Figures of money, as pure functions: spend by day and outcome, what is left of a cap, forecasts, bands.

All bars are dollars, so all are amber: outcomes differ in their pattern, what was wasted is pale.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import plotly.graph_objects as go
from shoestring.bands import Band
from shoestring.forecasts import Forecast
from shoestring.records import MICRO, OUTCOMES

from shoestring_ui.amounts import count, share, usd
from shoestring_ui.charts import frame, money_axis, put, tint
from shoestring_ui.curve_charts import thin
from shoestring_ui.identity import identity
from shoestring_ui.theme import MONO, Palette

PATTERNS = {"unfinished": ".", "repeated": "/", "pruned": "\\", "failed": "x", "cancelled": "-"}
DAYS_SHOWN = 60
DAYS_NAMED = 8
ROOM = 1.15  # of the longest bar: its share stands beside it


def by_day(days: Mapping[str, Mapping[str, int]], colours: Palette) -> go.Figure:
    """Micro-dollars by day and outcome, as stacked bars: useful at the bottom, idle workers on top."""
    figure = frame(colours, 320)
    shown = list(days)[-DAYS_SHOWN:]
    below = [0.0] * len(shown)
    for outcome in OUTCOMES:
        micro = [days[day][outcome] for day in shown]
        if any(micro):
            pale = outcome != "useful"
            figure.add_bar(
                x=list(range(len(shown))),
                y=[amount / MICRO for amount in micro],
                base=below,
                name=outcome,
                marker={
                    "color": colours.money_wash if pale else colours.money,
                    "line": {"color": colours.money, "width": 1},
                    "pattern": {"shape": PATTERNS.get(outcome, ""), "fgcolor": colours.money, "size": 6},
                },
                customdata=[(day, usd(amount / MICRO)) for day, amount in zip(shown, micro, strict=True)],
                hovertemplate=f"<b>%{{customdata[0]}}</b><br>{outcome} %{{customdata[1]}}<extra></extra>",
            )
            below = [base + amount / MICRO for base, amount in zip(below, micro, strict=True)]
    legend = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "font": {"size": 12}, "traceorder": "normal"}
    gap = max(0.35, 1 - 0.08 * len(shown))
    figure.update_layout(barmode="overlay", showlegend=True, legend=legend, bargap=gap)  # each bar knows its base
    every = -(-len(shown) // DAYS_NAMED)
    days_named = {"tickvals": list(range(0, len(shown), every)), "ticktext": shown[::every]}
    figure.update_xaxes(title_text="day (UTC)", showgrid=False, range=[-0.5, len(shown) - 0.5], **days_named)
    _money_up(figure, colours, "dollars")
    return figure


def burn_down(course: Sequence[tuple[float, int]], cap_usd: float, kept_usd: float, colours: Palette) -> go.Figure:
    """Dollars left of a cap over time; at its end what is kept back for runs that have not ended.

    `course` is (unix seconds, micro-dollars gone by then), oldest first.
    """
    figure = frame(colours, 240)
    _money_up(figure, colours, "dollars left")
    figure.update_xaxes(title_text="time (UTC)", showgrid=False, nticks=6)
    keep = thin(len(course))
    times = [datetime.fromtimestamp(course[i][0], UTC) for i in keep]
    left = [cap_usd - course[i][1] / MICRO for i in keep]
    figure.add_scatter(
        x=times, y=left, mode="lines", fill="tozeroy", fillcolor=colours.money_wash, name="left",
        line={"color": colours.money, "width": 2}, customdata=[usd(amount) for amount in left],
        hovertemplate="%{x|%d %b %H:%M}<br>%{customdata} left<extra></extra>",
    )  # fmt: skip
    if kept_usd and times:
        line = {"color": colours.money, "width": 2, "dash": "dot"}
        ends = [left[-1], left[-1] - kept_usd]
        figure.add_scatter(
            x=[times[-1]] * 2, y=ends, mode="lines+markers", line=line, name="kept back",
            marker={"symbol": "line-ew-open", "size": 9, "color": colours.money},
            hovertemplate=f"{usd(kept_usd)} kept back<extra></extra>", cliponaxis=False,
        )  # fmt: skip
    return figure


def flop_by_part(flop: Mapping[str, float], colours: Palette) -> go.Figure:
    """Training FLOPs by component of the model, the largest on top; each bar says its share."""
    names, whole, most = list(flop)[::-1], sum(flop.values()), max(flop.values())
    places = list(range(len(names)))
    figure = frame(colours, 56 + 32 * max(1, len(names)))
    shares, written = [share(flop[name], whole) for name in names], [name.replace("_", " ") for name in names]
    figure.add_bar(
        x=[flop[name] for name in names], y=places, orientation="h", marker={"color": colours.soft},
        customdata=[(said, count(flop[name]), part) for name, said, part in zip(names, written, shares, strict=True)],
        hovertemplate="<b>%{customdata[0]}</b><br>%{customdata[1]}FLOP, %{customdata[2]}<extra></extra>",
    )  # fmt: skip
    figure.update_xaxes(title_text="training FLOPs", exponentformat="power", nticks=5, range=[0, ROOM * most])
    figure.update_yaxes(showgrid=False, ticks="", showline=False, ticklabelstandoff=8)
    figure.update_yaxes(tickvals=places, ticktext=written, range=[-0.5, len(names) - 0.5])
    figure.update_layout(bargap=0.4)
    font = {"family": MONO, "size": 11, "color": colours.ink}
    beside = {"xref": "x", "yref": "y", "xanchor": "left", "yanchor": "middle", "xshift": 6, "showarrow": False}
    said = ({"x": flop[names[i]], "y": i, "text": shares[i], "font": font, **beside} for i in places)
    return put(figure, said=said)


def planned_against_actual(forecasts: Sequence[Forecast], colours: Palette) -> go.Figure:
    """Planned dollars across with their 10th to 90th percentile, actual ones up; the diagonal is a perfect forecast."""
    figure = frame(colours, 420)
    money_axis(figure, colours, "planned, with 10–90 %", log=True)
    _money_up(figure, colours, "actual")
    ticks = {name: figure.layout.xaxis[name] for name in ("tickvals", "ticktext")}
    figure.update_yaxes(type="log", tickprefix="", rangemode="normal", **ticks)
    ends = [amount for one in forecasts for amount in (one.p10_usd, one.p90_usd, one.actual_usd) if amount > 0] or [1.0]
    low, high = min(ends) / 1.2, max(ends) * 1.2
    line = {"color": colours.soft, "width": 1, "dash": "dot"}
    ends = [low, high]
    traces: list[dict[str, Any]] = [
        {"x": ends, "y": ends, "mode": "lines", "hoverinfo": "skip", "line": line, "name": "as planned"}
    ]
    for inside, symbol, ink in ((True, "circle", colours.ink), (False, "x", colours.bad)):
        some = [one for one in forecasts if one.inside == inside]
        ranges = {  # each a line that a gap ends
            "x": [end for one in some for end in (one.p10_usd, one.p90_usd, None)],
            "y": [end for one in some for end in (one.actual_usd, one.actual_usd, None)],
            "mode": "lines", "line": {"color": colours.soft, "width": 1}, "hoverinfo": "skip", "name": "10–90 %",
        }  # fmt: skip
        said = [(f"#{one.run_id} {one.name}", usd(one.p50_usd), usd(one.actual_usd), one.error) for one in some]
        marks = {
            "x": [one.p50_usd for one in some], "y": [one.actual_usd for one in some], "mode": "markers",
            "name": "within 10–90 %" if inside else "outside", "customdata": said,
            "marker": {"symbol": symbol, "size": 9, "color": ink, "opacity": 0.8},
            "hovertemplate": "<b>%{customdata[0]}</b><br>planned %{customdata[1]}"
            "<br>actual %{customdata[2]} (%{customdata[3]:+.1%})<extra></extra>",
        }  # fmt: skip
        traces += [ranges, marks]
    span = [math.log10(low), math.log10(high)]
    figure.update_xaxes(range=span)
    figure.update_yaxes(range=span)
    return put(figure, traces)


def banded(bands: Sequence[Band], metric: str, colours: Palette, *, log_y: bool = False) -> go.Figure:
    """The mean over the seeds of each experiment over useful dollars, and a standard error to either side."""
    figure = frame(colours)
    money_axis(figure, colours, "useful dollars ($)")
    figure.update_yaxes(title_text=metric, type="log" if log_y else "linear")
    figure.update_layout(hovermode="closest")
    for band in bands:
        who = identity(band.run_ids[0], colours)
        edges = [[m + s for m, s in zip(band.mean, band.se, strict=True)],
                 [m - s for m, s in zip(band.mean, band.se, strict=True)]]  # fmt: skip
        figure.add_scatter(
            x=[*band.usd, *band.usd[::-1]], y=[*edges[0], *edges[1][::-1]], mode="lines", fill="toself",
            fillcolor=tint(who.colour, 0.16), line={"width": 0}, hoverinfo="skip", name=f"{band.experiment} ± se",
        )  # fmt: skip
        figure.add_scatter(
            x=band.usd, y=band.mean, mode="lines+markers", name=band.experiment,
            line={"color": who.colour, "width": 2, "dash": who.dash},
            marker={"symbol": who.symbol, "size": 7, "color": who.colour}, customdata=band.se,
            hovertemplate=f"<b>{band.experiment}</b>, {band.seeds} seeds<br>{metric} %{{y:.4g}} ± %{{customdata:.2g}}"
            "<br>$%{x:.4~g}<extra></extra>",
        )  # fmt: skip
    return figure


def _money_up(figure: go.Figure, colours: Palette, title: str) -> None:
    figure.update_yaxes(
        title_text=title,
        title_font_color=colours.money,
        tickfont={"color": colours.money, "family": MONO, "size": 11},
        tickprefix="$",
        exponentformat="none",
        rangemode="tozero",
    )
