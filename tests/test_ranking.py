"""Quality at equal dollars: what is compared, and what is called a tie."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shoestring.errors import UsageError
from shoestring.ranking import Curve, pareto_front, rank, usd_to_reach, value_at
from shoestring.records import Series


def curve(experiment: str, usd: list[float], value: list[float], seed: int = 0, run_id: int = 1) -> Curve:
    axis = [float(i) for i in range(len(usd))]
    series = Series(run_id, "val/loss", list(range(len(usd))), value, axis, axis, usd, axis)
    return Curve(experiment, seed, series)


def test_a_run_is_read_off_its_own_curve_at_the_largest_dollars_that_all_have_reached():
    cheap = curve("cheap", [0.1, 0.2], [1.0, 0.8], run_id=1)
    long = curve("long", [0.1, 0.3, 0.5], [1.0, 0.6, 0.1], run_id=2)
    ranking = rank([cheap, long])
    assert ranking.at_usd == 0.2
    assert {p.experiment: round(p.value, 9) for p in ranking.places} == {"cheap": 0.8, "long": 0.8}


def test_given_dollars_beyond_a_run_leave_it_out_and_say_why():
    ranking = rank([curve("a", [0.1, 0.2], [1, 0.8], run_id=7), curve("b", [0.1, 0.4], [1, 0.5], run_id=8)], at_usd=0.4)
    assert [p.experiment for p in ranking.places] == ["b"]
    assert ranking.left_out == ((7, "its val/loss spans $0.1 to $0.2"),)


def test_a_run_without_the_metric_is_left_out():
    ranking = rank([curve("a", [], [], run_id=3), curve("b", [0.1], [1.0], run_id=4)])
    assert [p.experiment for p in ranking.places] == ["b"]
    assert ranking.left_out == ((3, "no val/loss recorded"),)


def test_whole_steps_do_not_throw_a_run_out():
    assert value_at(curve("a", [0.1, 0.198], [1.0, 0.5]).series, 0.2) == 0.5
    assert value_at(curve("a", [0.1, 0.18], [1.0, 0.5]).series, 0.2) is None


def test_a_quality_is_reached_where_the_curve_first_crosses_it():
    falls = curve("a", [0.0, 0.1, 0.2, 0.3, 0.4], [1.0, 0.6, 0.2, 0.5, 0.1]).series
    assert usd_to_reach(falls, 0.4) == pytest.approx(0.15), "and not at its second crossing"
    assert usd_to_reach(falls, 1.5) == 0.0 and usd_to_reach(falls, 0.1) == 0.4
    assert usd_to_reach(falls, 0.05) is None and usd_to_reach(curve("b", [], []).series, 1.0) is None
    rises = curve("a", [0.1, 0.3], [0.2, 0.6]).series
    assert usd_to_reach(rises, 0.4, "maximize") == pytest.approx(0.2) and usd_to_reach(rises, 0.7, "maximize") is None


@given(
    st.lists(st.floats(0.01, 10.0), min_size=2, max_size=12), st.floats(0.01, 10.0), st.sampled_from([1e-6, 0.01, 50.0])
)
def test_at_the_dollars_that_reach_a_quality_the_curve_has_it_and_not_before(values, quality, usd_a_point):
    series = curve("a", [i * usd_a_point for i in range(len(values))], values).series
    at = usd_to_reach(series, quality)
    if at is None:
        assert min(values) > quality
    else:
        assert value_at(series, at) <= quality * (1 + 1e-9)
        assert all(value > quality for usd, value in zip(series.usd, values, strict=True) if usd < at * (1 - 1e-9))


def test_a_difference_within_the_seeds_noise_is_a_tie_and_shares_a_place():
    runs = [
        curve("a", [1.0], [0.500], 0, 1), curve("a", [1.0], [0.520], 1, 2),
        curve("b", [1.0], [0.505], 0, 3), curve("b", [1.0], [0.519], 1, 4),
        curve("far", [1.0], [0.900], 0, 5), curve("far", [1.0], [0.910], 1, 6),
    ]  # fmt: skip
    ranking = rank(runs)
    assert ranking.noise == "seeds"
    assert [(p.place, p.experiment, p.tied_with) for p in ranking.places] == [
        (1, "a", ("b",)),
        (1, "b", ("a",)),
        (3, "far", ()),
    ]


def test_two_seeds_of_one_experiment_alone_prove_little():
    runs = [curve("a", [1.0], [0.50], 0, 1), curve("a", [1.0], [0.52], 1, 2), curve("b", [1.0], [0.60], 0, 3)]
    assert [p.place for p in rank(runs).places] == [1, 1]  # one degree of freedom: t is 12.7


def test_with_one_seed_the_runs_own_scatter_is_the_noise():
    usd = [0.1, 0.2, 0.3, 0.4, 0.5]
    shaky = [1.00, 0.70, 0.85, 0.55, 0.62]
    ranking = rank([curve("a", usd, shaky, run_id=1), curve("b", usd, [v + 0.02 for v in shaky], run_id=2)])
    assert ranking.noise == "scatter"
    assert [p.place for p in ranking.places] == [1, 1]
    smooth = [0.5 + (1.0 - x) ** 2 for x in usd]  # bending is no noise
    ranking = rank([curve("a", usd, smooth, run_id=1), curve("b", usd, [v + 0.02 for v in smooth], run_id=2)])
    assert [p.place for p in ranking.places] == [1, 2]


def test_retrieval_is_better_when_it_is_larger():
    runs = [curve("low", [1.0], [0.1], run_id=1), curve("high", [1.0], [0.3], run_id=2)]
    assert [p.experiment for p in rank(runs, "eval/retrieval_r1").places] == ["high", "low"]


def test_a_metric_without_a_direction_is_refused_with_the_ones_that_have():
    with pytest.raises(UsageError) as raised:
        rank([], "eval/niceness")
    assert "eval/niceness" in raised.value.message and "val/loss" in raised.value.hint


def test_nothing_to_rank_is_an_empty_ranking():
    assert rank([]).places == ()


def test_the_order_of_the_runs_does_not_matter():
    runs = [curve(f"e{i % 4}", [0.1, 0.2], [1.0, 0.5 + 0.01 * i], i // 4, i) for i in range(8)]
    expected = rank(runs)
    random.Random(3).shuffle(runs)
    assert rank(runs) == expected


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 10)), max_size=30), st.sampled_from(["minimize", "maximize"]))
def test_nothing_beats_the_front_and_the_front_beats_the_rest(points, way):
    front = pareto_front(points, way)
    sign = 1 if way == "minimize" else -1

    def beats(a: tuple[float, float], b: tuple[float, float]) -> bool:
        return a[0] <= b[0] and sign * a[1] <= sign * b[1]

    for index in range(len(points)):
        if index in front:
            rivals = [p for p in points if beats(p, points[index]) and p != points[index]]
            assert not rivals
        else:
            assert any(beats(points[f], points[index]) for f in front)
