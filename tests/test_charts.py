"""The app's figures and words are pure functions: what they draw and say for given records."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import pytest
from shoestring.ranking import Curve, rank
from shoestring.records import Series, Trial
from shoestring.rungs import Rung
from shoestring_ui import amounts, takeaways, words
from shoestring_ui.charts import Point, apart, quality_per_dollar, tint, trials_per_dollar
from shoestring_ui.curve_charts import MAX_POINTS, X_AXES, overlay, smooth, thin
from shoestring_ui.differences import flatten, telling
from shoestring_ui.identity import COLOURS, identity, mark
from shoestring_ui.points import nearest
from shoestring_ui.reaches import Goal, Reach, goal_of, usual
from shoestring_ui.sweep_charts import at_equal_dollars, heatmap, levels, of_rungs, parallel, rungs
from shoestring_ui.theme import DARK, LIGHT, Palette

POINTS = [
    Point(1, "dense/s0", 0.02, 0.15),
    Point(2, "deferred-75/s0", 0.02, 0.13),
    Point(3, "cheap/s0", 0.01, 0.16),
    Point(4, "showcase/s0", 0.015, 0.14, running=True, forecast_usd=0.04),
]
GOAL = (0, "val/loss", "minimize")


def series(run_id: int, values: list[float], usd_per_step: float = 0.001) -> Series:
    steps = [10 * (i + 1) for i in range(len(values))]
    axis = [float(s) for s in steps]
    return Series(run_id, "val/loss", steps, values, axis, axis, [s * usd_per_step for s in axis], axis)


def trial(number: int, ratio: float, experts: int, loss: float, usd: float = 0.01) -> Trial:
    params = {"stages.0.mask.ratio": ratio, "model.experts.count": experts}
    return Trial(1, number, number + 1, params, "complete", (loss, usd))


def contrast(one: str, other: str) -> float:
    """WCAG 2.2's contrast ratio of two colours."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=lambda c: c.name)
def test_every_text_colour_can_be_read_on_every_surface(colours: Palette):
    for ink in ("ink", "soft", "accent", "money", "good", "bad"):
        for surface in ("paper", "panel"):
            assert contrast(getattr(colours, ink), getattr(colours, surface)) >= 4.5, (ink, surface)
    assert contrast(colours.bad, colours.bad_wash) >= 4.5


def test_runs_differ_in_colour_and_in_symbol_and_a_run_always_looks_the_same():
    first_eight = [identity(i, LIGHT) for i in range(1, 9)]
    assert len({who.colour for who in first_eight}) == len({who.symbol for who in first_eight}) == len(COLOURS)
    looks = {(who.colour, who.symbol) for who in (identity(i, LIGHT) for i in range(1, 65))}
    assert len(looks) == 64
    assert identity(3, LIGHT) == identity(3, LIGHT)
    assert identity(9, LIGHT).symbol != identity(1, LIGHT).symbol
    assert mark(2) == identity(2, DARK).mark


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0, "$0"), (0.00154, "$0.00154"), (0.000032, "$0.0000320"), (0.0200, "$0.0200"), (1.5, "$1.50"), (1890, "$1,890"),
     (None, "–"), (-0.01, "−$0.0100")],
)  # fmt: skip
def test_dollars_keep_at_least_three_significant_digits(amount, text):
    assert amounts.usd(amount) == text


def test_numbers_are_written_as_people_read_them():
    assert [amounts.count(n) for n in (999, 5_120_332, 3.2e15)] == ["999", "5.12 M", "3.2 P"]
    assert [amounts.span(s) for s in (8, 200, 7500, 273_600)] == ["8 s", "3 min 20 s", "2 h 5 min", "3 d 4 h"]
    assert amounts.share(1, 8) == "12 %" and amounts.share(0, 0) == "–"
    assert amounts.size(61_234_567) == "61.2 MB"


def test_the_staircase_joins_only_what_nothing_beats_and_what_runs_is_hollow():
    figure = quality_per_dollar(POINTS, "val/loss", "minimize", LIGHT)
    front = next(t for t in figure.data if t.name == "Pareto front")
    assert list(front.x)[:2] == [0.01, 0.02] and list(front.y)[:2] == [0.16, 0.13]
    (drawn,) = [t for t in figure.data if t.mode == "markers"]
    at = {name: i for i, (_, name, *_) in enumerate(drawn.customdata)}
    inks, symbols = drawn.marker.color, drawn.marker.symbol
    assert inks[at["dense/s0"]] == tint(identity(1, LIGHT).colour, 0.5)
    assert inks[at["deferred-75/s0"]] == identity(2, LIGHT).colour
    assert symbols[at["showcase/s0"]].endswith("-open") and not symbols[at["dense/s0"]].endswith("-open")


def test_five_hundred_runs_are_a_handful_of_traces():
    front = [Point(i, f"r{i}", 0.01 * i, 1 / i, curve=((0.0, 1.0), (0.01 * i, 1 / i))) for i in range(1, 21)]
    beaten = [Point(i, f"r{i}", 0.01 * i, 2.0, curve=((0.0, 3.0), (0.01 * i, 2.0))) for i in range(21, 501)]
    figure = quality_per_dollar([*front, *beaten], "val/loss", "minimize", LIGHT)
    assert len(figure.data) < 25 and len(figure.layout.annotations) == 12
    assert len(next(t for t in figure.data if t.mode == "markers").x) == 500


def test_a_quality_asked_for_is_a_thin_line_with_the_price_of_its_first_run():
    goal = Goal("val/loss", 0.145, (Reach(2, 0.012), Reach(4, 0.015)))
    figure = quality_per_dollar(POINTS, "val/loss", "minimize", LIGHT, goal=goal, picked=1)
    (line,) = figure.layout.shapes
    assert line.y0 == line.y1 == 0.145 and line.line.width == 1
    drop = next(t for t in figure.data if t.name == "first")
    assert list(drop.x) == [0.012, 0.012] and drop.line.color == LIGHT.money
    assert {"goal 0.145", "$0.0120"} <= {a.text for a in figure.layout.annotations}
    marks = next(t for t in figure.data if t.mode == "markers").marker
    assert marks.size[0] > marks.size[1] and marks.color[0] == identity(1, LIGHT).colour, "the picked one is not faded"


def test_who_reaches_a_quality_stands_in_order_of_dollars_and_the_usual_one_is_what_the_second_best_ends_at():
    runs = [series(1, [0.5, 0.3, 0.1]), series(2, [0.5, 0.2]), series(3, [0.5, 0.1234])]
    assert usual(runs, "minimize") == 0.124 and usual(runs, "maximize") == 0.123
    assert usual(runs[:1], "minimize") == 0.1 and usual([], "minimize") is None
    goal = goal_of(runs, "val/loss", "minimize", 0.2)
    assert [r.run_id for r in goal.reaches] == [3, 2, 1]
    assert [r.usd for r in goal.reaches] == pytest.approx([0.01 + 0.01 * 0.3 / 0.3766, 0.02, 0.025])
    assert goal_of(runs, "val/loss", "minimize", 0.01).first is None


def test_the_cheapest_run_to_reach_a_quality_is_named_and_when_none_does_the_nearest():
    goal = Goal("val/loss", 0.145, (Reach(2, 0.012), Reach(4, 0.015)))
    said = takeaways.of_goal(goal, POINTS, "minimize")
    assert said == (
        "deferred-75/s0 is the cheapest to reach val/loss of at most 0.145, at $0.0120; showcase/s0, next, takes "
        "1.25 × as much, and 2 of 4 runs reach it."
    )
    assert takeaways.of_goal(replace(goal, reaches=()), POINTS, "minimize") == (
        "No run reaches val/loss of at most 0.145; deferred-75/s0 comes nearest, with 0.13 at $0.0200."
    )
    alone = replace(goal, reaches=goal.reaches[:1])
    assert takeaways.of_goal(alone, POINTS, "minimize").endswith("; no other run reaches it.")


def test_a_run_is_held_against_the_nearest_of_the_front():
    beaten, best, cheap, _ = POINTS
    assert nearest(beaten, POINTS, "minimize") == best and nearest(best, POINTS, "minimize") == cheap
    assert nearest(best, [best, beaten], "minimize") == beaten and nearest(best, [best], "minimize") is None


def test_higher_is_better_turns_the_front_round():
    figure = quality_per_dollar(POINTS[:3], "eval/retrieval_r1", "maximize", LIGHT)
    front = next(t for t in figure.data if t.name == "Pareto front")
    assert list(front.y)[:1] == [0.16] and len(set(front.y)) == 1


def test_dollars_are_amber_and_nothing_else_is():
    figure = quality_per_dollar(POINTS, "val/loss", "minimize", DARK)
    assert figure.layout.xaxis.tickfont.color == DARK.money and figure.layout.xaxis.tickprefix == "$"
    assert overlay([series(1, [2, 1])], {1: "a"}, "val/loss", DARK, x="step").layout.xaxis.tickfont.color == DARK.soft


def test_the_name_of_the_cheapest_trial_stands_to_its_right_where_the_dollars_begin():
    points = [Point(i, f"trial {i}", 0.006 + 0.001 * i, 0.2 - 0.01 * i) for i in range(3)]
    sides = {one.text.split("> ")[-1]: one.xanchor for one in
             trials_per_dollar(points, "val/loss", "minimize", LIGHT).layout.annotations}  # fmt: skip
    assert sides == {"trial 0": "left", "trial 1": "left", "trial 2": "right"}


def test_names_on_the_map_never_lie_on_each_other():
    places = apart([0.0, 1.0, 2.0, 100.0], 15)
    assert all(b - a >= 15 for a, b in pairwise(places))
    assert places[3] == 100.0 and sum(places[:3]) / 3 == pytest.approx(1.0)
    assert apart([], 15) == []


def test_an_empty_map_is_still_a_figure():
    assert quality_per_dollar([], "val/loss", "minimize", LIGHT).layout.height


@pytest.mark.parametrize("x", X_AXES)
def test_curves_can_be_drawn_over_every_axis(x):
    figure = overlay([series(1, [3, 2, 1]), series(2, [4, 3, 2])], {1: "a", 2: "b"}, "val/loss", LIGHT, x=x)
    assert [t.name for t in figure.data] == ["a", "b"]
    assert list(figure.data[0].x) == getattr(series(1, [3, 2, 1]), X_AXES[x][0])
    assert figure.data[0].line.dash != figure.data[1].line.dash


def test_a_smoothed_curve_keeps_its_raw_one_behind_it():
    figure = overlay([series(1, [4.0, 0.0, 4.0, 0.0])], {1: "a"}, "val/loss", LIGHT, smoothing=0.9)
    raw, smoothed = figure.data
    assert list(raw.y) == [4, 0, 4, 0] and max(smoothed.y[1:]) < 4
    assert smooth([5.0, 5.0, 5.0], 0.99) == pytest.approx([5.0, 5.0, 5.0])
    assert smooth([3.0, 1.0], 0.0) == [3.0, 1.0]


def test_a_trace_has_at_most_two_thousand_points_and_keeps_both_ends():
    kept = thin(123_456)
    assert len(kept) <= MAX_POINTS and kept[0] == 0 and kept[-1] == 123_455
    assert thin(3) == [0, 1, 2]


def test_a_heat_map_says_the_mean_of_each_cell_and_leaves_untried_ones_empty():
    trials = [trial(0, 0.5, 1, 0.20), trial(1, 0.5, 1, 0.10), trial(2, 0.75, 4, 0.12)]
    figure = heatmap(trials, "stages.0.mask.ratio", "model.experts.count", GOAL, LIGHT)
    assert [list(row) for row in figure.data[0].z] == [[pytest.approx(0.15), None], [None, 0.12]]
    assert {a.text for a in figure.layout.annotations} == {"0.15 ×2", "0.12"}


def test_many_values_of_a_number_are_cut_into_parts_and_words_are_not():
    parts = levels([i / 10 for i in range(10)])
    assert len(parts.labels) == 6 and parts.of(0.0) == 0 and parts.of(0.9) == 5
    assert levels(["b", "a", "a"]).labels == ("a", "b")


def test_parallel_coordinates_draw_a_line_a_trial_and_the_ends_of_each_axis():
    trials = [trial(0, 0.5, 1, 0.2), trial(1, 0.75, 4, 0.1, 0.012)]
    figure = parallel(trials, ["stages.0.mask.ratio", "model.experts.count"], ["val/loss", "cost/usd"], LIGHT)
    assert [t.name for t in figure.data] == ["trial 0", "trial 1"]
    assert list(figure.data[1].y) == [1, 1, 0, 1]
    money = {a.text for a in figure.layout.annotations if a.font.color == LIGHT.money}
    assert money == {"$0.0100", "$0.0120"}


def test_of_many_trials_the_front_stands_out_and_the_others_are_one_grey_trace_that_says_who_each_is():
    trials = [trial(n, 0.1 * n, 1, 0.2 + 0.01 * n) for n in range(4)]
    fields, goals = ["stages.0.mask.ratio", "model.experts.count"], ["val/loss", "cost/usd"]
    others, front = parallel(trials, fields, goals, LIGHT, bright={0}).data
    assert front.name == "trial 0" and others.line.color == LIGHT.line
    assert others.x.count(None) == 3 and len(others.hovertext) == len(others.x)
    assert {said.split("</b>")[0] for said in others.hovertext} == {f"<b>trial {n}" for n in (1, 2, 3)}


def test_the_title_of_the_map_names_the_best_run_and_its_price():
    said = takeaways.of_points(POINTS, "val/loss", "minimize")
    assert said == "deferred-75/s0 has the lowest val/loss, 0.13, for $0.0200; 2 of 3 runs are on the Pareto front."
    assert "No run has finished" in takeaways.of_points([POINTS[3]], "val/loss", "minimize")


def test_a_tie_is_called_a_tie():
    def curve(name, run_id, last):
        return Curve(name, run_id, series(run_id, [0.3, 0.2, last]))

    tied = rank([curve("a", 1, 0.100), curve("a", 2, 0.110), curve("b", 3, 0.104), curve("b", 4, 0.112)])
    assert "a tie with b" in takeaways.of_ranking(tied)
    clear = rank([curve("a", 1, 0.100), curve("a", 2, 0.101), curve("b", 3, 0.204), curve("b", 4, 0.205)])
    assert "a is best, 50." in takeaways.of_ranking(clear)
    many = rank([curve(name, 2 * n + i, 0.1 + n / 1e6 + 0.02 * i) for n, name in enumerate("abcdefgh") for i in (0, 1)])
    names = many.places[0].tied_with
    assert len(names) == 7 and f"{', '.join(names[:5])} and 2 more." in takeaways.of_ranking(many)


def test_curves_are_compared_at_the_furthest_that_all_have_reached():
    short, long = series(1, [0.5, 0.4]), series(2, [0.6, 0.5, 0.1])
    said = takeaways.of_curves([short, long], {1: "a", 2: "b"}, "val/loss", "minimize", "dollars")
    assert said.startswith("At $0.0200, the furthest that all have reached, a has the lowest val/loss, 0.4")
    assert takeaways.of_curves([], {}, "val/loss", "minimize", "step") == "No val/loss has been recorded yet."


def test_the_field_that_tells_the_better_trials_from_the_rest_is_named():
    ratios, fields = [0.8, 0.75, 0.7, 0.7, 0.2, 0.2, 0.15, 0.1], ["stages.0.mask.ratio", "model.experts.count"]
    trials = [trial(i, ratio, 1, 0.1 + i / 10) for i, ratio in enumerate(ratios)]
    said = takeaways.of_parallel(trials, fields, GOAL)
    assert "higher mask.ratio: 0.738 on average, against 0.163" in said
    assert "7 trials" in (few := takeaways.of_parallel(trials[:7], fields, GOAL)) and "too few" in few


def test_no_field_is_named_where_chance_would_part_them_as_far():
    draw, fields, named = random.Random(7), ["stages.0.mask.ratio", "model.experts.count"], 0
    for _ in range(400):
        trials = [trial(i, draw.random(), draw.choice([1, 2, 4, 8]), draw.random()) for i in range(12)]
        named += "has the" in takeaways.of_parallel(trials, fields, GOAL)
    assert named <= 0.07 * 400  # 5 % may be


def test_a_spec_is_flattened_to_dotted_paths_and_the_telling_ones_come_first():
    flat = dict(flatten({"stages": [{"mask": {"kind": "random", "ratio": 0.75}}], "sigmas": [1, 2], "experts": None}))
    assert flat == {"stages.0.mask.kind": "random", "stages.0.mask.ratio": 0.75, "sigmas": [1, 2], "experts": None}
    found = {"seed": [0, 1], "stages.0.mask.kind": ["none", "random"], "stages.0.mask.ratio": [None, 0.75]}
    assert telling(found, 0) == ["mask.kind none"] and telling(found, 1) == ["mask.ratio 0.75"]


def test_text_from_outside_is_escaped():
    nasty = "<script>alert(1)</script>"
    for html in (
        words.who(1, nasty, LIGHT), words.state(nasty), words.empty(nasty, nasty, nasty), words.prose(f"`{nasty}`"),
        words.figures([words.Figure(nasty, nasty, nasty)]), words.table([nasty], [], nasty), words.money(nasty),
    ):  # fmt: skip
        assert "<script" not in html


def test_the_bar_marks_the_plan_inside_the_cap():
    assert "width:25.0%" in words.bar(0.01, 0.02, 0.04) and "left:50.0%" in words.bar(0.01, 0.02, 0.04)
    assert words.bar(0.0, 0.0, None) == ""


def test_a_curve_of_one_point_went_nowhere():
    one = Series(
        run_id=1, key="val/loss", step=[0], value=[0.6119], images=[0.0], flops=[0.0], usd=[0.0], seconds=[0.0]
    )
    assert takeaways.of_curves([one], {1: "a"}, "val/loss", "minimize", "dollars").endswith("its only point so far.")


def test_rungs_are_a_line_a_trial_and_the_pruned_end_in_a_cross():
    first = Rung({0: 0.5, 1: 0.4, 2: None}, frozenset(), frozenset({1}), 0)
    second = Rung({1: 0.2}, frozenset({1}), frozenset(), 0)
    at = [(0.002, first), (0.006, second)]
    figure = rungs(at, ("val/loss", "minimize"), LIGHT)
    assert [(t.name, list(t.x), list(t.y)) for t in figure.data] == [
        ("trial 0", [0.002], [0.5]),
        ("trial 1", [0.002, 0.006], [0.4, 0.2]),
    ]
    assert [t.marker.symbol for t in figure.data] == ["x-thin-open", "circle"]
    assert "1 of 3 went on" in of_rungs(at, ("val/loss", "minimize")) and "trial 1 is best" in of_rungs(
        at, ("val/loss", "minimize")
    )


def test_at_equal_dollars_pruned_trials_count_with_what_they_had_reached():
    trials = [Trial(1, 0, 1, {"a": 1}, "complete", (0.1, 0.02)), Trial(1, 1, 2, {"a": 2}, "pruned", (0.4, 0.002))]
    at = [(0.002, Rung({0: 0.3, 1: 0.4}, frozenset(), frozenset({0}), 0))]
    assert [t.values for t in at_equal_dollars(trials, at)] == [(0.3,), (0.4,)]
