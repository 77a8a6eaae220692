"""The Cost page, and bands over seeds: what they draw and say for given records, and on a real database."""

from __future__ import annotations

import pytest
from shoestring import actions, queries
from shoestring.bands import Band
from shoestring.forecasts import Forecast
from shoestring.records import OUTCOMES, Spend
from shoestring.spending import course
from shoestring_ui import takeaways
from shoestring_ui.cost_charts import banded, burn_down, by_day, planned_against_actual
from shoestring_ui.theme import DARK, LIGHT
from test_app import Project, draw, home, new_database, project, text  # noqa: F401  (fixtures)


def parts(**micro: int) -> dict[str, int]:
    return {**dict.fromkeys(OUTCOMES, 0), **micro}


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=lambda c: c.name)
def test_days_are_stacked_by_outcome_all_amber_and_told_apart_by_pattern(colours):
    days = {"2026-11-22": parts(useful=2_000_000, failed=500_000), "2026-11-23": parts(useful=1, repeated=7)}
    figure = by_day(days, colours)
    assert [bar.name for bar in figure.data] == ["useful", "repeated", "failed"]
    assert list(figure.data[0].y) == [2.0, 1e-6] and list(figure.data[2].base) == [2.0, 8e-6], "each upon the others"
    assert {bar.marker.color for bar in figure.data} == {colours.money, colours.money_wash}
    assert len({bar.marker.pattern.shape for bar in figure.data}) == 3
    assert figure.layout.yaxis.tickfont.color == colours.money


def test_planned_dollars_stand_against_actual_ones_with_the_diagonal_and_the_range():
    forecasts = [
        Forecast(1, "a", "m", "measured", 0.9, 1.0, 1.2, 1.1),
        Forecast(2, "b", "m", "fitted", 1.5, 2.0, 2.5, 3.0),
    ]
    diagonal, _, inside, between, outside = planned_against_actual(forecasts, LIGHT).data
    assert list(diagonal.x) == list(diagonal.y)
    assert (list(inside.x), list(inside.y)) == ([1.0], [1.1])
    assert (list(outside.x), list(outside.y)) == ([2.0], [3.0])
    assert list(between.x) == [1.5, 2.5, None] and list(between.y)[:2] == [3.0, 3.0], "its range, at its actual dollars"
    assert inside.marker.symbol != outside.marker.symbol


def test_a_band_is_drawn_round_its_mean_in_the_colour_of_its_first_run():
    band = Band("dense", (1, 2), (0.1, 0.2), (0.5, 0.4), (0.01, 0.02))
    area, mean = banded([band], "val/loss", LIGHT).data
    assert list(area.y) == pytest.approx([0.51, 0.42, 0.38, 0.49])
    assert list(mean.y) == [0.5, 0.4] and area.fillcolor.startswith("rgba(0,114,178")


def test_the_title_of_the_spending_names_the_worst_waste():
    said = takeaways.of_spending(parts(useful=3_000_000, failed=900_000, repeated=100_000, idle=5))
    assert said == "75 % of the $4.00 that runs spent is useful so far; most of the waste is failed, $0.9000."
    assert takeaways.of_spending(parts(useful=10)).endswith("nothing is wasted.")


def test_what_is_left_of_a_cap_goes_down_while_runs_train_and_ends_in_what_is_kept_back():
    lines = [
        Spend(2_000_000, "useful", 1, "a", "p", "", "m", 100.0, 200.0),
        Spend(1_000_000, "failed", 2, "b", "p", "", "m", 50.0, 150.0),
        Spend(9_000_000, "idle", None, "", "", "", "m", 0.0, 300.0),
    ]
    steps = course(lines)
    assert steps == [(50.0, 0), (100.0, 500_000), (150.0, 2_000_000), (200.0, 3_000_000)] and course([]) == []
    at_once = Spend(7, "useful", 3, "a", "p", "", "m", 60.0, 60.0)
    assert course([at_once]) == [(60.0, 0), (60.0, 7)]
    left, kept = burn_down(steps, 5.0, 1.5, LIGHT).data
    assert list(left.y) == [5.0, 4.5, 3.0, 2.0] and left.line.color == LIGHT.money
    assert list(kept.y) == [2.0, 0.5]
    purse = queries.Purse(5_000_000, 3_000_000, 1_500_000)
    assert takeaways.of_budget("p", purse) == (
        "$3.00 of p's $5.00 is spent and $1.50 is kept back for what has not ended: $0.5000 is free."
    )


def test_the_page_shows_what_was_spent_wasted_forecast_and_is_left(project: Project):  # noqa: F811
    project.train(project.queue("dense"))
    project.train(project.queue("broken"), fails="train/loss is nan at step 20")
    actions.set_budget(project.db, "tiny", 0.1)
    page = draw("costs")
    assert not page.exception
    said = text(page)
    assert "67 % of the $0.0300 that runs spent is useful so far; most of the waste is failed, $0.0100." in said
    assert "broken/s0" in said and "nan: train/loss is nan at step 20" in said
    assert "this-machine: 1 run cost 0.0 % more than planned" in said and "1 of 1 within 10–90 %" in said
    assert "$0.1000" in said and "$0.0700" in said  # the budget, and what is free of it
    assert "AWS EC2" in said and "per" in said
    purse = queries.purses(project.db)["tiny"]
    assert (purse.max_micro, purse.spent_micro, purse.reserved_micro) == (100_000, 30_000, 0)


def test_seeds_are_drawn_as_bands_and_the_odds_are_said(project: Project):  # noqa: F811
    for experiment, loss in (("dense", 0.3), ("deferred-75", 0.1)):
        for seed in (0, 1):
            project.train(project.queue(experiment, seed), loss + 0.001 * seed)
    page = draw("compare", bands="true")
    assert not page.exception
    said = text(page)
    assert "deferred-75 beats dense with probability &gt; 99 % (2 seeds, paired)" in said
    assert "Seeds as bands" in [t.label for t in page.toggle]
