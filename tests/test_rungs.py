"""Who goes on at a rung, by the values that were told at equal dollars and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shoestring.halving import share_of_full
from shoestring.records import Series
from shoestring.rungs import Gate, Rung, choose, gate, planned, value_of


def rung(values: dict[int, float | None], waiting: set[int] | None = None, on_the_way: int = 0) -> Rung:
    waits = frozenset(values if waiting is None else waiting)
    return Rung(values, waits, frozenset(set(values) - waits), on_the_way)


def curve(*points: tuple[float, float]) -> Series:
    usd, value = [p[0] for p in points], [p[1] for p in points]
    n = len(points)
    return Series(1, "val/loss", list(range(n)), value, [0.0] * n, [0.0] * n, usd, [0.0] * n)


def test_the_best_third_goes_on_as_soon_as_three_are_in():
    first = rung({0: 0.5, 1: 0.4})
    assert not choose([first], 1 / 3, "minimize", 4).promote
    assert choose([rung({0: 0.5, 1: 0.4, 2: 0.6})], 1 / 3, "minimize", 3).promote == ((1, 0),)


def test_who_cannot_be_among_the_best_whatever_comes_is_pruned_at_once():
    six = {0: 0.1, 1: 0.2, 2: 0.3, 3: 0.4, 4: 0.5}
    choice = choose([rung(six, waiting={1, 2, 3, 4})], 1 / 3, "minimize", 1)  # of 6 in all, 2 go on
    assert choice.prune == ((2, 0), (3, 0), (4, 0)) and choice.promote == ()


def test_when_all_are_in_at_least_one_goes_on_and_nobody_is_left_waiting():
    choice = choose([rung({3: 0.5, 7: 0.4})], 1 / 3, "minimize", 0)
    assert (choice.promote, choice.prune) == (((7, 0),), ((3, 0),))


def test_a_tie_goes_to_the_lower_number_and_no_value_is_last():
    choice = choose([rung({5: 0.4, 2: 0.4, 9: None})], 1 / 3, "minimize", 0)
    assert choice.promote == ((2, 0),) and {n for n, _ in choice.prune} == {5, 9}


def test_more_is_better_where_the_objective_is_maximized():
    assert choose([rung({0: 0.1, 1: 0.9, 2: 0.5})], 1 / 3, "maximize", 0).promote == ((1, 0),)


def test_a_higher_rung_is_served_first_and_waits_for_those_on_their_way():
    below = rung({n: float(n) for n in range(8)}, waiting={3, 4, 5, 6, 7})
    above = rung({0: 0.1, 1: 0.2}, on_the_way=1)
    choice = choose([below, above], 0.5, "minimize", 0)
    assert choice.promote == ((0, 1), (3, 0)), "three are above, and 8 below let a fourth go on"
    assert (1, 1) not in choice.prune, "two of four go on: 1 must wait for the others"


VALUES = st.dictionaries(st.integers(0, 40), st.none() | st.floats(-10, 10), max_size=20)
KEEP = st.floats(0.05, 0.95)


@given(VALUES, KEEP, st.integers(0, 20), st.sampled_from(["minimize", "maximize"]), st.randoms())
def test_the_choice_is_a_function_of_the_values_whatever_their_order(values, keep, to_come, way, chance):
    shuffled = list(values.items())
    chance.shuffle(shuffled)
    assert choose([rung(values)], keep, way, to_come) == choose([rung(dict(shuffled))], keep, way, to_come)


@given(VALUES, KEEP, st.integers(0, 20))
def test_nobody_both_goes_on_and_is_pruned_and_at_the_end_everybody_is_one_of_them(values, keep, to_come):
    choice = choose([rung(values)], keep, "minimize", to_come)
    on, out = {n for n, _ in choice.promote}, {n for n, _ in choice.prune}
    assert not on & out
    if to_come == 0:
        assert on | out == set(values) and len(on) == (max(1, int(len(values) * keep + 1e-9)) if values else 0)
    ranked = {n: (v is None, v or 0.0, n) for n, v in values.items()}
    assert all(ranked[a] < ranked[b] for a in on for b in set(values) - on), "nobody is passed over by a worse one"


@given(VALUES, KEEP, st.integers(1, 20), st.lists(st.floats(-10, 10), max_size=20))
def test_who_was_pruned_early_would_not_have_gone_on_whatever_came_later(values, keep, to_come, later):
    out = {n for n, _ in choose([rung(values)], keep, "minimize", to_come).prune}
    complete = values | {100 + i: v for i, v in enumerate(later[:to_come])}
    on = {n for n, _ in choose([rung(complete)], keep, "minimize", 0).promote}
    assert not out & on


def test_a_run_waits_at_its_next_rung_and_at_no_other():
    plan = {"rungs": planned("val/loss", [0.002, 0.006, 0.018])}
    assert [gate(plan, n) for n in range(3)] == [Gate("val/loss", 0.002), Gate("val/loss", 0.006), None]
    assert gate({}, 0) is None
    at = Gate("val/loss", 0.002)
    assert at.reached({"val/loss": 1.0, "progress/usd": 0.00197}), "steps are whole: 2 % before counts"
    assert not at.reached({"val/loss": 1.0, "progress/usd": 0.0019})
    assert not at.reached({"train/loss": 1.0, "progress/usd": 0.1}), "it waits for the metric that is compared"


@pytest.mark.parametrize("rungs", ["x", {}, {"metric": "val/loss", "usd": ["x"]}, [1]])
def test_a_plan_whose_rungs_cannot_be_read_is_an_error_of_that_run(rungs):
    with pytest.raises(ValueError, match=r"plan\.rungs"):
        gate({"rungs": rungs}, 0)


def test_the_value_at_a_rung_is_at_its_dollars_and_what_comes_later_changes_nothing():
    short = curve((0.0, 9.0), (0.001, 2.0), (0.003, 1.0))
    assert value_of(short, 0.002) == pytest.approx(1.5)
    assert value_of(curve((0.0, 9.0), (0.001, 2.0), (0.00199, 1.4)), 0.002) == 1.4
    assert value_of(curve((0.0, 9.0), (0.001, 2.0), (0.00199, 1.4), (0.003, 0.1)), 0.002) == 1.4
    assert value_of(curve((0.0, 9.0), (0.001, 2.0)), 0.002) is None


def test_a_sweep_with_rungs_is_forecast_by_replaying_who_goes_on():
    low, middle, high = share_of_full((0.002, 0.006, 0.018), 1 / 3, 9)
    sure = (9 * 0.002 + 3 * 0.004 + 1 * 0.012) / (9 * 0.018)  # if all were in before anybody goes on
    assert sure <= low <= middle <= high < 1 and middle < 2 * sure
    assert share_of_full((0.01, 0.02), 0.5, 1) == (1.0, 1.0, 1.0)  # the best of one goes on
    assert share_of_full((0.01, 0.02), 0.5, 10_000) == share_of_full((0.01, 0.02), 0.5, 30)
