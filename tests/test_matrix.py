"""The matrix of pictures: where its slider stops, which picture stands where, and what it says of each run."""

from __future__ import annotations

import itertools
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from shoestring.records import Run, Sample, Series
from shoestring_ui.matrix import BY, Matrix, build, common, floor, pick, places, quality_at, sort_rows, stale_by, start

BLANK: dict[str, Any] = {"str": "", "int": 0, "float": 0.0, "dict[str, Any]": {}, "tuple[str, ...]": ()}


def a_run(run_id: int, name: str = "", state: str = "succeeded", **more: Any) -> Run:
    kinds = {f.name: BLANK.get(str(f.type)) for f in fields(Run)}
    return Run(**kinds | {"id": run_id, "name": name or f"run-{run_id}", "state": state} | more)


def picture(run_id: int, step: int, usd: float, prompt: str = "a cat", index: int = 0) -> Sample:
    return Sample(run_id, step, index, prompt, f"{run_id}-{step}-{index}.png", usd, 16 * step)


def curve(run_id: int, points: dict[int, float], key: str = "val/loss") -> Series:
    steps = list(points)
    at = [float(step) for step in steps]
    return Series(run_id, key, steps, list(points.values()), [16 * s for s in at], at, [s / 1000 for s in at], at)


def matrix(runs: list[Run], samples: list[Sample], quality: list[Series], by: str, at: float) -> Matrix:
    return build(runs, samples, quality, (by, at))


def drawn(plans: dict[int, tuple[float, set[int]]]) -> list[Sample]:
    return [picture(r, step, step * rate / 1000) for r, (rate, steps) in plans.items() for step in sorted(steps)]


# runs that cost a little more or less a step than each other, and draw whenever they like
many_pictures = some.dictionaries(
    some.integers(1, 4),
    some.tuples(some.floats(1, 1.05), some.sets(some.integers(0, 400), min_size=1, max_size=12)),
    min_size=1, max_size=4,
).map(drawn)  # fmt: skip


@given(many_pictures, some.sampled_from(BY[:3]))
def test_every_picture_of_every_run_is_shown_at_one_of_the_slider_s_stops(samples: list[Sample], by: str):
    stops = places(samples, by)
    assert stops == sorted(set(stops))
    shown = set()
    for run_id in {s.run_id for s in samples}:
        mine = [s for s in samples if s.run_id == run_id]
        shown |= {pick(mine, by, at) for at in stops}
    assert shown - {None} == set(samples)


@given(many_pictures, some.sampled_from(BY[:3]))
def test_some_picture_changes_from_each_stop_to_the_next(samples: list[Sample], by: str):
    runs = sorted({s.run_id for s in samples})
    shown = [[pick([s for s in samples if s.run_id == r], by, at) for r in runs] for at in places(samples, by)]
    assert all(a != b for a, b in itertools.pairwise(shown))


def test_runs_that_draw_at_nearly_the_same_dollars_change_at_one_stop():
    steps = [picture(run, step, step * rate) for run, rate in ((1, 1.0), (2, 1.01), (3, 0.995)) for step in (10, 20)]
    assert places(steps, "equal dollars") == pytest.approx([10.1, 20.2])
    assert places(steps, "step") == [10, 20]
    assert places(steps, "images") == [160, 320]


def test_a_run_that_draws_often_keeps_each_of_its_pictures():
    often = [picture(1, step, step / 1000) for step in (1000, 1001, 1002)]
    assert places(often, "step") == [1000, 1001, 1002]


def test_unasked_the_slider_stands_where_all_finished_runs_have_been():
    runs = [a_run(1), a_run(2), a_run(3, state="failed")]
    samples = [picture(r, s, s / 1000) for r, last in ((1, 40), (2, 30), (3, 10)) for s in range(10, last + 1, 10)]
    assert start(runs, samples, "step") == 30
    assert start([a_run(i, state="running") for i in (1, 2, 3)], samples, "step") == 40


def test_unasked_every_finished_run_has_a_picture():
    samples = [picture(1, 10, 0.01), picture(1, 20, 0.02), picture(2, 50, 0.05), picture(2, 90, 0.09)]
    runs = [a_run(1), a_run(2)]
    assert common(runs, samples, "step") == 20 and start(runs, samples, "step") == 50


def test_ends_of_runs_that_differ_by_a_step_count_as_the_same_dollars():
    samples = [picture(1, 50, 0.5), picture(1, 100, 1.0), picture(2, 50, 0.502), picture(2, 100, 1.012)]
    at = start([a_run(1), a_run(2)], samples, "equal dollars")
    shown = [pick([s for s in samples if s.run_id == r], "equal dollars", at) for r in (1, 2)]
    assert [s.step for s in shown if s] == [100, 100] and not any(stale_by(s, "equal dollars", at) for s in shown if s)


@pytest.mark.parametrize(("asked", "found"), [(0, 1), (1, 1), (1.9, 1), (2, 2), (1.9999999, 2), (9, 3)])
def test_a_number_between_two_stops_means_the_earlier_one(asked: float, found: int):
    assert floor([1.0, 2.0, 3.0], asked) == found


def test_the_newest_picture_that_is_not_past_the_place_is_shown():
    ours = [picture(1, step, step / 1000) for step in (10, 20, 30)]
    assert pick(ours, "step", 25) == ours[1] and pick(ours, "step", 9) is None
    assert pick(ours, "equal dollars", 0.02) == ours[1] and pick(ours, "images", 480) == ours[2]
    assert pick(ours, "latest", 0) == ours[2] and pick([], "latest", 0) is None


def test_an_old_picture_says_by_how_much():
    one = picture(1, 100, 0.01)
    assert stale_by(one, "step", 104) == "" and stale_by(one, "step", 150) == "stale by 50 steps"
    assert stale_by(one, "images", 3200) == "stale by 1,600 images"
    assert stale_by(one, "equal dollars", 0.015) == "stale by $0.00500" and stale_by(one, "latest", 9) == ""


def test_a_run_s_quality_is_its_last_value_at_the_place_and_says_whether_it_is_young():
    ours = curve(1, {0: 2.0, 10: 1.0, 20: 0.5, 30: float("nan"), 40: 0.25})
    assert [quality_at(ours, "step", at) for at in (0, 9, 10, 39, 40)] == [
        (2.0, True), (2.0, False), (1.0, True), (0.5, False), (0.25, True),
    ]  # fmt: skip
    assert quality_at(ours, "images", 160) == (1.0, True) and quality_at(ours, "equal dollars", 0.02) == (0.5, True)
    assert quality_at(ours, "latest", 0) == (0.25, True) and quality_at(curve(1, {10: 1.0}), "step", 5) is None


def test_a_quality_measured_long_before_the_place_makes_no_winner():
    samples = [picture(r, 40, 0.04) for r in (1, 2)]
    made = matrix([a_run(1), a_run(2)], samples, [curve(1, {40: 0.5}), curve(2, {10: 0.1})], "step", 40)
    assert made.takeaway == "2 runs at step 40." and [lane.quality for lane in made.lanes] == [0.5, 0.1]


def test_heads_say_what_differs_the_quality_and_the_dollars_at_the_place():
    runs = [a_run(1, "dense", spec={"lr": 0.1}), a_run(2, "naive", spec={"lr": 0.2})]
    samples = [picture(r, s, s / 1000) for r in (1, 2) for s in (10, 20)]
    made = matrix(runs, samples, [curve(1, {10: 3.0, 20: 2.0}), curve(2, {10: 1.0, 20: 4.0})], "step", 10)
    assert [(lane.differs, lane.metric, lane.quality, lane.usd) for lane in made.lanes] == [
        (("lr 0.1",), "val/loss", 3.0, 0.01),
        (("lr 0.2",), "val/loss", 1.0, 0.01),
    ]
    assert made.takeaway == "2 runs at step 10: naive has the lowest val/loss, 1."


def test_losses_of_different_data_name_no_winner_and_equal_ones_two():
    of = [{"data": {"name": name, "digest": "ab" * 4}} for name in ("emoji", "digits")]
    runs = [a_run(i + 1, config=config) for i, config in enumerate(of)]
    samples = [picture(r, 10, 0.01) for r in (1, 2)]
    losses = [curve(1, {10: 3.0}), curve(2, {10: 1.0})]
    assert matrix(runs, samples, losses, "latest", 0).takeaway == "2 runs at the latest of each."
    equal = [curve(r, {10: 2.00001 - r / 1e6}, "eval/kid_effnet") for r in (1, 2)]
    assert "run-1 and run-2 share the lowest eval/kid_effnet, 2." in matrix(runs, samples, equal, "latest", 0).takeaway
    kids = [curve(r, {10: 1.0 / r}, "eval/kid_effnet") for r in (1, 2)]
    assert "run-2 has the lowest eval/kid_effnet, 0.5" in matrix(runs, samples, kids, "latest", 0).takeaway


def test_the_sentence_counts_the_pictures_that_are_older_than_asked():
    samples = [picture(1, 10, 0.01), picture(2, 10, 0.01), picture(2, 40, 0.04)]
    made = matrix([a_run(1), a_run(2)], samples, [], "equal dollars", 0.04)
    assert made.takeaway == "2 runs at $0.0400 of training each; 1 of 2 pictures is older than asked."
    assert matrix([a_run(2)], samples[1:], [], "images", 640).takeaway == "run-2 after 640 images each."


def test_a_prompt_that_stands_twice_has_two_rows_and_a_run_without_it_an_empty_cell():
    samples = [picture(1, 10, 0.01, "a cat", 0), picture(1, 10, 0.01, "a cat", 1), picture(2, 10, 0.01, "a dog", 0)]
    made = matrix([a_run(1), a_run(2)], samples, [], "latest", 0)
    assert made.rows == (("a cat", 0), ("a cat", 1), ("a dog", 0))
    assert made.pictures[1, ("a cat", 1)] == samples[1] and made.pictures[2, ("a cat", 0)] is None
    assert sort_rows(samples)[2, ("a dog", 0)] == [samples[2]]
    assert [row for row, _ in build([a_run(1)], samples, [], ("latest", 0), slice(1, 2)).rows] == ["a cat"]
