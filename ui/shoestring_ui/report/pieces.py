"""Pieces of a report: a chart with its takeaway, table and CSV, a run's name, a table. Every text is escaped here."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from html import escape

import pandas as pd
import plotly.graph_objects as go

from shoestring_ui import amounts, words
from shoestring_ui.theme import DARK, LIGHT, Palette

ROWS_SHOWN = 200  # of a table; its CSV has all


def both(draw: Callable[[Palette], str]) -> str:
    """What a palette decides, once for light and once for dark; the style sheet shows one of them."""
    return f"<span class='light'>{draw(LIGHT)}</span><span class='dark'>{draw(DARK)}</span>"


def who(run_id: int, name: str) -> str:
    """A run's swatch, id and name; there is no page of it here to lead to."""
    return f"<span class='who'>{_swatch(run_id)}<span class='mono'>#{run_id}</span> {escape(name)}</span>"


def experiment(run_id: int, name: str) -> str:
    """An experiment's name, in the look of its first run."""
    return f"<span class='who'>{_swatch(run_id)}{escape(name)}</span>"


def _swatch(run_id: int) -> str:
    return both(lambda colours: words.swatch(run_id, colours))


def legend(runs: Sequence[tuple[int, str]]) -> str:
    """The runs of a chart."""
    return "<ul class='legend'>" + "".join(f"<li>{who(i, name)}</li>" for i, name in runs) + "</ul>"


def note(text: str) -> str:
    return f"<p class='note'>{escape(text)}</p>"


def section(anchor: str, title: str, lede: str, *parts: str) -> str:
    """A part of the report with a head that the contents lead to."""
    head = f"<h2>{escape(title)}</h2><p class='lede'>{escape(lede)}</p>"
    return f"<section id='{anchor}'>{head}{''.join(parts)}</section>"


def chart(
    draw: Callable[[Palette], go.Figure], said: str, data: pd.DataFrame, name: str,
    money: Sequence[str] = (), key: str = "",
) -> str:  # fmt: skip
    """The takeaway as the title, the legend `key` (HTML), the figure in both palettes, and its numbers."""
    light, dark = draw(LIGHT), draw(DARK)
    figures = f'{{"light":{light.to_json()},"dark":{dark.to_json()}}}'.replace("<", "\\u003c")
    height = int(light.layout.height or 420)
    return (
        f"<figure class='chart'>{words.takeaway(said)}{key}"
        f"<div class='plot' role='img' aria-label='{escape(said)}' style='min-height:{height}px'></div>"
        f"<script type='application/json'>{figures}</script>{details(data, name, money)}</figure>"
    )


def details(data: pd.DataFrame, name: str, money: Sequence[str] = ()) -> str:
    """The numbers of a chart, folded away."""
    listed = table(data, f"{len(data):,} rows." if len(data) != 1 else "1 row.", money)
    return f"<details><summary>Table and CSV</summary>{listed}{csv(data, name)}</details>"


def table(data: pd.DataFrame, caption: str, money: Sequence[str] = ()) -> str:
    """A frame as a plain table; the columns in `money` are amber dollars."""
    shown = data.head(ROWS_SHOWN)
    numeric = [i for i, column in enumerate(data) if pd.api.types.is_numeric_dtype(data[column])]
    rows = [
        [_cell(found, str(column) in money) for column, found in zip(shown, row, strict=True)]
        for row in shown.itertuples(index=False, name=None)
    ]
    few = f"The first {ROWS_SHOWN} of {len(data):,} rows; the CSV has all." if len(data) > ROWS_SHOWN else ""
    return words.table([str(column) for column in data], rows, few or caption, numeric)


def _cell(found: object, money: bool) -> str:
    if isinstance(found, float):
        return words.money(amounts.usd(found)) if money else escape(amounts.value(found))
    return amounts.DASH if found is None else escape(f"{found:,}" if type(found) is int else str(found))


def csv(data: pd.DataFrame, name: str) -> str:
    """A link that holds the whole table."""
    content = base64.b64encode(data.to_csv(index=False).encode()).decode()
    return f"<a class='csv' download='shoestring-{escape(name)}.csv' href='data:text/csv;base64,{content}'>CSV</a>"
