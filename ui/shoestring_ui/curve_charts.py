"""Curves of a metric over any x-axis, as a pure function of records. What `charts` says of figures holds here too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from shoestring.records import Series

from shoestring_ui.charts import frame, money_axis, put
from shoestring_ui.identity import identity
from shoestring_ui.theme import Palette

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
    figure.update_layout(hovermode="closest")
    traces: list[dict[str, Any]] = []
    for one in series:
        who = identity(one.run_id, colours)
        keep = thin(len(one.value))
        xs, ys = np.asarray(getattr(one, field))[keep], np.asarray(one.value)[keep]  # lists are checked item by item
        line = {"color": who.colour, "width": 2, "dash": who.dash}
        if smoothing:
            pale = {**line, "width": 1, "dash": "solid"}
            traces.append({"x": xs, "y": ys, "mode": "lines", "line": pale, "opacity": 0.3, "hoverinfo": "skip"})
            ys = np.asarray(smooth(ys.tolist(), smoothing))
        traces.append({
            "x": xs,
            "y": ys,
            "mode": "lines+markers" if len(xs) <= MARKERS_UP_TO else "lines",
            "name": names[one.run_id],
            "line": line,
            "marker": {"symbol": who.symbol, "size": 7, "color": who.colour},
            "hovertemplate": f"<b>{names[one.run_id]}</b><br>{metric} %{{y:.4g}}<br>{x} %{{x:.4~g}}<extra></extra>",
        })  # fmt: skip
    return put(figure, traces)


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
