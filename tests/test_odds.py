"""How likely one experiment is better than another: calibrated, symmetric, and silent where nothing can be known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shoestring.bands import bands
from shoestring.odds import odds
from shoestring.ranking import Curve, rank
from shoestring.records import Series

N = 1500  # pairs of experiments drawn for a calibration
VALUES = st.lists(st.floats(-10, 10).map(lambda v: round(v, 6)), min_size=2, max_size=6)


def by_seed(values) -> dict[int, float]:
    return dict(enumerate(float(v) for v in values))


def curve(experiment: str, seed: int, usd: list[float], value: list[float], run_id: int) -> Curve:
    axis = [float(i) for i in range(len(usd))]
    return Curve(experiment, seed, Series(run_id, "val/loss", list(range(len(usd))), value, axis, axis, usd, axis))


def stated(
    n: int, paired: bool, gap: float = 0.0, spread: tuple[float, float] = (1.0, 1.0), pairs: int = N
) -> np.ndarray:
    """p of pairs of experiments whose seeds are normal, `a` truly better (lower) by `gap`."""
    rng = np.random.default_rng(7)
    found = []
    for _ in range(pairs):
        shared = rng.normal(size=n) if paired else 0.0  # what a seed does to both
        a, b = (shared + s * rng.normal(size=n) for s in spread)
        seeds_b = range(n) if paired else range(n, 2 * n)
        one = odds(("a", by_seed(a - gap)), ("b", dict(zip(seeds_b, map(float, b), strict=True))))
        assert one.paired == (n if paired else 0)
        found.append(one.p)
    return np.array(found, dtype=float)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_between_equals_every_probability_comes_as_often_as_it_says(n):
    p = stated(n, paired=True)
    for level in (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975):
        assert abs((p <= level).mean() - level) < 4 * np.sqrt(level * (1 - level) / N) + 0.005, level


@pytest.mark.parametrize(("n", "spread"), [(2, (1.0, 1.0)), (3, (1.0, 4.0)), (5, (1.0, 1.0))])
def test_unpaired_a_tie_is_called_a_difference_at_most_as_often_as_it_says(n, spread):
    p = stated(n, paired=False, spread=spread)
    for level in (0.025, 0.1):
        slack = 4 * np.sqrt(level * (1 - level) / N) + 0.005
        assert (p <= level).mean() < level + slack and (p >= 1 - level).mean() < level + slack


def test_what_is_stated_with_p_is_true_so_often_when_differences_of_every_size_are_met():
    rng = np.random.default_rng(11)
    p, true = [], []
    for _ in range(2 * N):
        gap = rng.uniform(-6, 6)
        a, b = rng.normal(gap, 1, size=3), rng.normal(size=3)
        p.append(odds(("a", by_seed(a)), ("b", by_seed(b))).p)
        true.append(gap < 0)
    p, true = np.array(p), np.array(true)
    for low, high in ((0.0, 0.1), (0.1, 0.4), (0.4, 0.6), (0.6, 0.9), (0.9, 1.0)):
        inside = (p >= low) & (p <= high)
        assert inside.sum() > 50
        assert abs(true[inside].mean() - p[inside].mean()) < 4 * np.sqrt(0.25 / inside.sum()), (low, high)


def test_a_real_difference_is_found_with_more_seeds():
    found = [(stated(n, paired=True, gap=3.0, pairs=300) >= 0.975).mean() for n in (2, 3, 5)]
    assert found[0] < found[1] < found[2] and found[2] > 0.8


@given(VALUES, st.floats(-5, 5))
def test_the_other_way_round_is_one_less(values, gap):
    a, b = by_seed(values), by_seed(v + gap + 0.1 * i for i, v in enumerate(values))
    there, back = odds(("a", a), ("b", b)), odds(("b", b), ("a", a))
    assert there.p + back.p == pytest.approx(1, abs=0.02)
    assert odds(("a", a), ("b", b), "maximize").p == pytest.approx(back.p, abs=0.02)


@given(VALUES, st.floats(-100, 100).map(lambda v: round(v, 3)))
def test_what_is_added_to_both_changes_nothing(values, shift):
    a, b = by_seed(values), by_seed(2 * v + 1 for v in values)
    moved = odds(("a", {s: v + shift for s, v in a.items()}), ("b", {s: v + shift for s, v in b.items()}))
    assert moved.p == pytest.approx(odds(("a", a), ("b", b)).p, abs=0.01)


def test_with_one_seed_it_cannot_be_known_and_says_so():
    one = odds(("dense", {0: 0.1}), ("masked", {0: 0.9, 1: 0.8}))
    assert (one.p, one.verdict) == (None, "unknown")
    assert one.words() == "dense against masked: cannot be known, dense has one seed"


def test_only_seeds_that_both_have_are_paired():
    a, b = {0: 1.0, 1: 2.0, 2: 3.0}, {1: 2.5, 2: 3.4, 9: 100.0}
    one = odds(("a", a), ("b", b))
    assert (one.paired, one.difference) == (2, pytest.approx(-0.45))
    far = odds(("a", {0: 1.0, 1: 1.1}), ("b", {2: 1.0, 3: 1.2}))
    assert (far.paired, far.verdict) == (0, "within noise") and "within the noise" in far.words()


def test_a_ranking_has_the_odds_of_every_two_places_at_its_dollars():
    runs = [curve("a", s, [0.1, 0.2], [1.0, 0.50 + 0.001 * s], s) for s in range(3)]
    runs += [curve("b", s, [0.1, 0.2], [1.0, 0.60 + 0.0011 * s], 3 + s) for s in range(3)]
    runs += [curve("c", 0, [0.1, 0.2], [1.0, 0.55], 9)]
    ranking = rank(runs)
    said = {(one.a, one.b): one for one in ranking.odds}
    assert said["a", "b"].p > 0.99 and said["a", "b"].verdict == "better"
    assert said["a", "c"].p is None and len(said) == 3
    assert rank(runs, at_usd=0.1).odds[0].p == 0.5  # all were equal there
    assert ranking.as_json()["odds"][0]["verdict"] in ("better", "unknown")


# ── bands ───────────────────────────────────────────────────────────────────────────────────────


def test_a_band_is_the_mean_of_the_seeds_and_its_standard_error_as_far_as_all_have_come():
    one = curve("a", 0, [0.0, 0.1, 0.2], [1.0, 0.5, 0.3], 1)
    two = curve("a", 1, [0.0, 0.2, 0.4], [1.0, 0.5, 0.1], 2)
    (band,) = bands([one, two, curve("alone", 0, [0.0, 0.1], [1.0, 0.9], 3)])
    assert (band.experiment, band.run_ids, band.usd) == ("a", (1, 2), (0.0, 0.1, 0.2))
    assert band.mean == pytest.approx((1.0, 0.625, 0.4))
    assert band.se == pytest.approx((0.0, 0.125, 0.1))


@given(st.lists(st.lists(st.floats(0.01, 1), min_size=1, max_size=12), min_size=2, max_size=4))
def test_a_bands_mean_lies_between_its_seeds(steps):
    curves = []
    for seed, gaps in enumerate(steps):
        usd = np.cumsum([0.0, *gaps]).tolist()
        curves.append(curve("a", seed, usd, [(seed + 1) / (1 + x) for x in usd], seed + 1))
    (band,) = bands(curves)
    assert list(band.usd) == sorted(set(band.usd)) and len(band.usd) == len(band.mean) == len(band.se)
    for x, mean, se in zip(band.usd, band.mean, band.se, strict=True):
        assert 0 <= mean <= len(steps) and se >= 0, x


def test_seeds_that_share_no_dollar_draw_no_band():
    early, late = curve("a", 0, [0.0, 0.1], [1.0, 0.9], 1), curve("a", 1, [0.2, 0.3], [0.8, 0.7], 2)
    assert bands([early, late]) == []
