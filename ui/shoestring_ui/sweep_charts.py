"""Figures of a sweep, as pure functions of trials: heat map of two parameters, parallel coordinates, rungs."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import plotly.graph_objects as go
from shoestring.records import Trial
from shoestring.rungs import Rung

from shoestring_ui.amounts import usd
from shoestring_ui.amounts import value as metric_value
from shoestring_ui.charts import frame, money_axis, put
from shoestring_ui.differences import short
from shoestring_ui.identity import identity
from shoestring_ui.theme import MONO, Palette

MAX_LEVELS = 6  # a continuous parameter is cut into so many equal parts


@dataclass(frozen=True)
class Levels:
    """The rows or columns of a heat map: their labels, and which one a value falls into."""

    labels: tuple[str, ...]
    edges: tuple[float, ...]  # of the parts; empty when every value is a level of its own

    def of(self, found: object) -> int:
        if not self.edges:
            return self.labels.index(level(found))
        inside = [i for i, low in enumerate(self.edges[:-1]) if float(str(found)) >= low]
        return min(inside[-1] if inside else 0, len(self.labels) - 1)


def levels(values: Sequence[object]) -> Levels:
    """Distinct values in order, or equal parts of their range when numbers are more than six."""
    distinct = sorted(set(values), key=lambda v: (0, v, "") if isinstance(v, int | float) else (1, 0, str(v)))
    numbers = [float(v) for v in distinct if isinstance(v, int | float)]
    if len(distinct) <= MAX_LEVELS or len(numbers) < len(distinct):
        return Levels(tuple(level(v) for v in distinct), ())
    low, high = numbers[0], numbers[-1]
    edges = tuple(low + i * (high - low) / MAX_LEVELS for i in range(MAX_LEVELS + 1))
    return Levels(tuple(f"{a:.2g}–{b:.2g}" for a, b in itertools.pairwise(edges)), edges)


def level(found: object) -> str:
    return f"{found:.3g}" if isinstance(found, float) else str(found)


def heatmap(trials: Sequence[Trial], x: str, y: str, objective: tuple[int, str, str], colours: Palette) -> go.Figure:
    """Mean of an objective for each pair of levels; every cell says its number and how many trials made it.

    `objective` = (index in `Trial.values`, name, "minimize" | "maximize").
    """
    index, name, way = objective
    done = [t for t in trials if len(t.values) > index and x in t.params and y in t.params]
    across, up = levels([t.params[x] for t in done]), levels([t.params[y] for t in done])
    cells: dict[tuple[int, int], list[float]] = {}
    for trial in done:
        cells.setdefault((up.of(trial.params[y]), across.of(trial.params[x])), []).append(trial.values[index])
    grid = [
        [fmean(cells[row, column]) if (row, column) in cells else None for column in range(len(across.labels))]
        for row in range(len(up.labels))
    ]
    figure = frame(colours, height=120 + 56 * max(1, len(up.labels)))
    figure.add_heatmap(
        x=list(range(len(across.labels))),
        y=list(range(len(up.labels))),
        z=grid,
        xgap=2,
        ygap=2,
        colorscale=[[i / 5, c] for i, c in enumerate(colours.scale if way == "minimize" else colours.scale[::-1])],
        showscale=False,
        hovertemplate=f"{name} %{{z:.4g}}<extra></extra>",
    )
    found = [v for values in grid for v in values if v is not None]
    middle = (min(found) + max(found)) / 2 if found else 0.0
    said = []
    for (row, column), values in cells.items():
        dark_cell = (fmean(values) <= middle) == (way == "minimize")  # the scale's first colours are its strongest
        text = metric_value(fmean(values)) + (f" ×{len(values)}" if len(values) > 1 else "")
        font = {"family": MONO, "size": 12, "color": colours.paper if dark_cell else colours.ink}
        said.append({"x": column, "y": row, "text": text, "showarrow": False, "font": font})
    for axis, title, known in ((figure.layout.xaxis, x, across), (figure.layout.yaxis, y, up)):
        ticks = {"tickvals": list(range(len(known.labels))), "ticktext": list(known.labels)}
        axis.update(title_text=title, showgrid=False, showline=False, ticks="", ticklabelstandoff=6, **ticks)
    return put(figure, said=said)


def parallel(
    trials: Sequence[Trial],
    axes: Sequence[str],
    objectives: Sequence[str],
    colours: Palette,
    bright: Collection[int] | None = None,
) -> go.Figure:
    """One line a trial through its parameters and objectives, each axis from its least to its greatest value.

    `bright`: the numbers of the trials that are drawn in their own looks, before all others in grey; None: all.
    """
    names = [*axes, *objectives]
    done = [t for t in trials if len(t.values) == len(objectives) and all(a in t.params for a in axes)]
    rows = [[*(t.params[a] for a in axes), *t.values] for t in done]
    figure = frame(colours)
    scales = [_scale([row[i] for row in rows]) for i in range(len(names))]
    faded: dict[str, list] = {"x": [], "y": [], "hovertext": []}  # one trace: a hundred take a browser a second
    traces: list[dict[str, Any]] = []
    for trial, row in zip(done, rows, strict=True):
        x, y = list(range(len(names))), [scales[i](found) for i, found in enumerate(row)]
        said = f"<b>trial {trial.number}</b><br>" + "<br>".join(
            f"{n} {_shown(n, v)}" for n, v in zip(names, row, strict=True)
        )
        if bright is not None and trial.number not in bright:
            faded["x"] += [*x, None]
            faded["y"] += [*y, None]
            faded["hovertext"] += [said] * (len(x) + 1)
            continue
        who = identity(trial.run_id or trial.number + 1, colours)
        traces.append({
            "x": x, "y": y, "mode": "lines+markers",
            "line": {"color": who.colour, "dash": who.dash, "width": 2},
            "marker": {"symbol": who.symbol, "size": 8, "color": who.colour},
            "name": f"trial {trial.number}", "hovertemplate": f"{said}<extra></extra>",
        })  # fmt: skip
    if faded["x"]:
        line = {"color": colours.line, "width": 1}
        traces.insert(0, {**faded, "mode": "lines", "line": line, "name": "other trials", "hoverinfo": "text"})
    ends, lines = list[dict[str, Any]](), list[dict[str, Any]]()
    for i, name in enumerate(names):
        ink = colours.money if name == "cost/usd" else colours.soft
        whole = {"x0": i, "x1": i, "y0": 0, "y1": 1, "yref": "y domain"}
        lines.append({**whole, "line": {"color": colours.line, "width": 1}})
        for place, pick in ((1.0, max), (0.0, min)):
            numbers = [r[i] for r in rows if isinstance(r[i], int | float)]
            if len(numbers) == len(rows) and rows:
                ends.append({
                    "x": i, "y": place, "text": _shown(name, pick(numbers)), "showarrow": False,
                    "yshift": 14 if place else -14, "font": {"family": MONO, "size": 11, "color": ink},
                })  # fmt: skip
    broken = [short(n).replace(".", ".<br>") for n in names]  # in two lines, for a phone
    figure.update_xaxes(
        tickvals=list(range(len(names))), ticktext=broken, showgrid=False, showline=False, ticks="",
        range=[-0.3, len(names) - 0.7], tickfont={"family": "Inter", "size": 12}, side="top",
    )  # fmt: skip
    figure.update_yaxes(visible=False, range=[-0.12, 1.12])
    return put(figure, traces, ends, lines)


def rungs(at: Sequence[tuple[float, Rung]], objective: tuple[str, str], colours: Palette) -> go.Figure:
    """One line a trial through the rungs that it came to, over planned dollars; who was pruned ends in a cross.

    `objective` = (name, "minimize" | "maximize").
    """
    figure = frame(colours)
    money_axis(figure, colours, "planned dollars of the trial ($)", log=True)
    figure.update_yaxes(title_text=objective[0])
    traces: list[dict[str, Any]] = []
    for number in sorted({n for _, rung in at for n in rung.values}):
        places = [(usd, rung, rung.values[number]) for usd, rung in at if rung.values.get(number) is not None]
        if not places:
            continue
        _, last, _ = places[-1]
        fate = "waits" if number in last.waiting else "went on" if number in last.gone_on else "pruned"
        pruned = fate == "pruned"
        ink = colours.soft if pruned else colours.accent
        traces.append({
            "x": [usd for usd, _, _ in places], "y": [found for _, _, found in places], "mode": "lines+markers",
            "line": {"color": ink, "width": 1 if pruned else 2},
            "marker": {"symbol": "x-thin-open" if pruned else "circle", "size": 8, "color": ink},
            "name": f"trial {number}",
            "hovertemplate": f"<b>trial {number}</b>, {fate}<br>{objective[0]} %{{y:.4g}} at $%{{x:.4g}}"
            "<extra></extra>",
        })  # fmt: skip
    return put(figure, traces)


def of_rungs(at: Sequence[tuple[float, Rung]], objective: tuple[str, str]) -> str:
    """How many came to each rung and went on, and who is best at the last that anybody came to."""
    reached = [(money, rung) for money, rung in at if any(v is not None for v in rung.values.values())]
    if not reached:
        return "No trial has come to a rung yet."
    steps = "; ".join(f"{len(rung.gone_on)} of {len(rung.values)} went on from {usd(money)}" for money, rung in reached)
    rung = reached[-1][1]
    found = {n: v for n, v in rung.values.items() if v is not None}
    sign = 1.0 if objective[1] == "minimize" else -1.0
    best = min(found, key=lambda n: (sign * found[n], n))
    return f"{steps}; trial {best} is best there, {objective[0]} {metric_value(found[best])}."


def at_equal_dollars(trials: Sequence[Trial], at: Sequence[tuple[float, Rung]]) -> list[Trial]:
    """The trials with their values at the first rung, which all came to: the same money for each."""
    values = at[0][1].values
    found = [(t, values.get(t.number)) for t in trials]
    return [replace(t, values=(value,)) for t, value in found if value is not None]


def _shown(name: str, found: object) -> str:
    if isinstance(found, int | float) and not isinstance(found, bool):
        return usd(found) if name == "cost/usd" else metric_value(float(found))
    return str(found)


def _scale(found: Sequence[object]):
    """A function to [0, 1]: linear for numbers, evenly spread for words."""
    numbers = [float(v) for v in found if isinstance(v, int | float)]
    if len(numbers) < len(found):
        words = sorted({str(v) for v in found})
        return lambda v: words.index(str(v)) / max(1, len(words) - 1)
    low, high = min(numbers, default=0.0), max(numbers, default=1.0)
    return lambda v: 0.5 if high == low else (float(v) - low) / (high - low)
