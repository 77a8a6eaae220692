"""A figure that the server draws is what Plotly would draw: the same lines, marks, axes and words, and no script."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from xml.etree import ElementTree

import numpy as np
import plotly.graph_objects as go
import pytest
from shoestring.records import OUTCOMES
from shoestring_ui import plain
from shoestring_ui.bars import legend
from shoestring_ui.charts import Point, quality_per_dollar
from shoestring_ui.cost_charts import banded, burn_down, by_day, flop_by_part
from shoestring_ui.curve_charts import X_AXES, overlay
from shoestring_ui.glyphs import between
from shoestring_ui.hits import words
from shoestring_ui.identity import identity
from shoestring_ui.marks import DASHES_PX
from shoestring_ui.scales import scale
from shoestring_ui.sweep_charts import heatmap, parallel
from shoestring_ui.theme import DARK, LIGHT, Palette
from test_charts import POINTS, series, trial

SVG = "{http://www.w3.org/2000/svg}"


def picture(said: str) -> ElementTree.Element:
    (held,) = re.findall(r"src='data:image/svg\+xml;base64,([^']+)'", said)
    return ElementTree.fromstring(base64.b64decode(held))


def ticks(said: str, way: str) -> list[str]:
    (inside,) = re.findall(rf"<div class='ticks {way}[^>]*>(.*?)</div>", said)
    return re.findall(r"<span[^>]*>([^<]*)</span>", inside)


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=lambda c: c.name)
def test_curves_have_their_runs_colour_dash_and_symbol_and_dollars_are_amber(colours: Palette):
    runs = [series(2, [0.5, 0.3, 0.2]), series(3, [0.4, 0.35])]
    said = plain.html(overlay(runs, {2: "a", 3: "b"}, "val/loss", colours), "a has the lowest", colours)
    drawn = picture(said)
    lines = [p for p in drawn.iter(f"{SVG}path") if p.get("stroke")]
    looks = [identity(run_id, colours) for run_id in (2, 3)]
    assert [p.get("stroke") for p in lines] == [who.colour for who in looks]
    assert [p.get("stroke-dasharray") for p in lines] == [" ".join(map(str, DASHES_PX[who.dash])) for who in looks]
    assert len(list(drawn.iter(f"{SVG}use"))) == 5 and len(list(drawn.iter(f"{SVG}polygon"))) == 2
    assert "<img alt='a has the lowest'" in said and "class='title across money'" in said
    assert "class='title up'" in said and all(t.startswith("$") for t in ticks(said, "across"))


@pytest.mark.parametrize("x", [x for x in X_AXES if x != "dollars"])
def test_every_axis_says_its_unit_and_only_dollars_are_amber(x: str):
    said = plain.html(overlay([series(1, [0.5, 0.3])], {1: "a"}, "val/loss", LIGHT, x=x), "…", LIGHT)
    assert f">{X_AXES[x][1]}</div>" in said and ">val/loss</div>" in said and "money" not in said


def test_long_curves_are_lines_without_marks_and_smoothing_keeps_the_raw_one_pale():
    one = series(1, [1 / (1 + i) for i in range(900)])
    drawn = picture(plain.html(overlay([one], {1: "a"}, "val/loss", LIGHT, smoothing=0.9), "…", LIGHT))
    assert len(list(drawn.iter(f"{SVG}path"))) == 2 and not list(drawn.iter(f"{SVG}use"))
    assert [g.get("opacity") for g in drawn.iter(f"{SVG}g")] == ["0.3"]


def test_a_line_is_broken_where_a_value_is_missing_and_where_a_logarithm_has_none():
    figure = go.Figure(layout={"yaxis": {"type": "log"}})
    figure.add_scatter(x=[0, 1, 2, 3, 4, 5, 6], y=[1, 10, None, 10, 100, 0, 7], mode="lines", line={"color": "#000000"})
    (line,) = picture(plain.html(figure, "…", LIGHT)).iter(f"{SVG}path")
    assert (line.get("d") or "").count("M") == 2, "a point alone is no line"
    nothing = go.Figure().add_scatter(x=[], y=[], mode="lines")
    assert "<img" in plain.html(nothing, "…", LIGHT)


def test_points_say_what_is_read_off_them_and_which_run_a_click_means_where_it_means_one():
    figure = quality_per_dollar([*POINTS, Point(9, "<img src=x>", 0.03, 0.2)], "val/loss", "minimize", LIGHT)
    said = plain.html(figure, "a <b>sentence</b> with 'quotes'", LIGHT, picks=True)
    assert "<i title='#1 dense/s0\nval/loss 0.15\n$0.0200'" in said and said.count("data-run=") == 5
    assert "<img src=x>" not in said and "<b>sentence" not in said and "data-run='9'" in said
    assert "data-run" not in plain.html(figure, "…", LIGHT)
    hollow = [g for g in picture(said).iter(f"{SVG}g") if g.get("fill") == "none"]
    assert len(hollow) == 1 and hollow[0].get("stroke") == identity(4, LIGHT).colour


def test_a_heat_map_has_a_cell_for_every_pair_with_its_number_on_it_and_the_best_is_the_strongest():
    trials = [trial(i, ratio, experts, loss) for i, (ratio, experts, loss) in enumerate(
        [(0.0, 1, 0.30), (0.5, 1, 0.20), (0.5, 4, 0.12)])]  # fmt: skip
    figure = heatmap(trials, "stages.0.mask.ratio", "model.experts.count", (0, "val/loss", "minimize"), LIGHT)
    said = plain.html(figure, "…", LIGHT)
    fills = [cell.get("fill") for cell in picture(said).iter(f"{SVG}rect")]
    assert len(fills) == 3 and fills[2] == LIGHT.scale[0].lower() and fills[0] == LIGHT.scale[-1].lower()
    assert ticks(said, "across") == ["0", "0.5"] and ticks(said, "up") == ["1", "4"]
    assert re.findall(r"<span class='said[^>]*>([^<]*)</span>", said) == ["0.3", "0.2", "0.12"]
    assert between(("#000000", "#ffffff"), 0.5) == "#808080"


def test_areas_bands_and_parallel_axes_are_drawn_too():
    trials = [trial(i, 0.1 * i, 1 + i % 2, 0.1 * i + 0.1) for i in range(5)]
    left = burn_down([(1e9, 0), (1e9 + 7200, 400_000)], 1.0, 0.1, LIGHT)
    drawn = [
        left, banded([], "val/loss", LIGHT),
        parallel(trials, ["stages.0.mask.ratio", "model.experts.count"], ["val/loss", "cost/usd"], LIGHT, {1}),
    ]  # fmt: skip
    assert all("<svg" not in plain.html(figure, "…", DARK) for figure in drawn), "pages let none through"
    said = plain.html(left, "…", LIGHT)
    assert ticks(said, "across") and all(":" in t for t in ticks(said, "across")), "times of a day"
    assert picture(said).find(f".//{SVG}path[@fill='{LIGHT.money_wash}']") is not None


def rects(figure: go.Figure) -> list[tuple[float, float, float, float, str]]:
    """Left, top, width, height (%) and filling of each bar."""
    found = picture(plain.html(figure, "…", LIGHT)).iter(f"{SVG}rect")
    sides = ("x", "y", "width", "height")
    return [(*(float(one.get(side, "").rstrip("%")) for side in sides), one.get("fill", "")) for one in found]


def test_days_stand_upon_each_other_and_each_outcome_has_its_pattern():
    spent = {**dict.fromkeys(OUTCOMES, 0), "useful": 3_000_000, "failed": 1_000_000}
    figure = by_day({"2026-01-01": spent, "2026-01-02": {**spent, "failed": 0}}, LIGHT)
    first, second, failed, hatched, nothing, _ = rects(figure)
    assert first[4] == LIGHT.money and failed[4] == LIGHT.money_wash and hatched[4].startswith("url(#hatch-")
    assert first[0] < 50 < second[0] and failed[:3:2] == hatched[:3:2] == first[:3:2], "over the same day, as wide"
    assert failed[1] + failed[3] == pytest.approx(first[1], abs=0.1)
    assert first[3] == pytest.approx(3 * failed[3], abs=0.1)
    assert nothing[3] == 0 and ticks(plain.html(figure, "…", LIGHT), "across") == ["2026-01-01", "2026-01-02"]
    assert "title='2026-01-01\nfailed $1.00'" in plain.html(figure, "…", LIGHT)
    assert re.findall(r"<li><img[^>]*> (\w+)</li>", legend(figure)) == ["useful", "failed"]


def test_bars_that_lie_say_their_share_at_their_end():
    figure = flop_by_part({"patch_mixer": 3e15, "backbone": 1e15}, LIGHT)
    (short, long), said = rects(figure), plain.html(figure, "…", LIGHT)
    assert short[0] == long[0] == 0 and long[2] == pytest.approx(3 * short[2], abs=0.1) and long[1] < short[1]
    assert ticks(said, "up") == ["backbone", "patch mixer"] and ">75 %</span>" in said
    assert "title='patch mixer\n3 PFLOP, 75 %'" in said


@pytest.mark.parametrize(
    ("axis", "values", "labels"),
    [
        ({"tickprefix": "$", "rangemode": "tozero"}, [0.004, 0.02], ["$0", "$0.005", "$0.010", "$0.015", "$0.020"]),
        ({}, [0.31, 0.43], ["0.32", "0.34", "0.36", "0.38", "0.40", "0.42"]),
        ({"rangemode": "tozero"}, [0, 2.4e12], ["0", "500 G", "1 T", "1.5 T", "2 T"]),
        ({"type": "log"}, [0.001, 9.0], ["0.001", "0.01", "0.1", "1", "10"]),
        ({"type": "log"}, [0.1, 0.6], ["0.1", "0.2", "0.3", "0.4", "0.5", "0.6"]),
        ({"type": "log"}, [0.11, 0.19], ["0.12", "0.14", "0.16", "0.18"]),
        ({}, [5, 5], ["4.85", "4.90", "4.95", "5.00", "5.05", "5.10", "5.15"]),
        ({"range": [-1, 1]}, [], ["−1.0", "−0.5", "0", "0.5", "1.0"]),
    ],
)  # fmt: skip
def test_ticks_are_round_numbers_in_words(axis: dict[str, object], values: list[float], labels: list[str]):
    along = scale(go.Figure(layout={"xaxis": axis}).layout.xaxis, [values] if values else [])
    assert [text for _, text in along.ticks] == labels
    places = [at for at, _ in along.ticks]
    assert places == sorted(places) and all(-1e-9 <= at <= 1 + 1e-9 for at in places)


def test_values_that_are_no_numbers_have_no_place():
    along = scale(go.Figure().layout.xaxis, [[0.0, 10.0]])
    assert np.isnan(along.of([None, float("nan")])).all()
    moments = [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 11)]
    days = scale(go.Figure().layout.xaxis, [moments])
    assert [text for _, text in days.ticks][:2] == ["01 Jan", "08 Jan"] and days.of(moments)[0] > 0


def test_a_hovers_words_are_filled_in():
    template = "<b>%{customdata[1]}</b><br>%{x:.2f} %{y:.4~g} %{customdata[0]:+.1%}<extra>no</extra>"
    assert words(template, 1.005, 0.12345, (0.25, "a<b>")) == "a<b>\n1.00 0.1235 +25.0%"
