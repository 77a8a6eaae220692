"""Finished runs refine the calibration of the machine they ran on: how far each is followed, and trusted."""

from __future__ import annotations

import math

import pytest
from shoestring.experience import ENOUGH, KEPT, Experience


def taught(*ratios: float) -> Experience:
    experience = Experience()
    for ratio in ratios:
        experience = experience.after(ratio)
    return experience


def test_nothing_is_taught_before_a_run_has_ended():
    assert Experience().pace == 1.0 and Experience().spread is None and Experience().words() == ""


def test_one_run_counts_as_much_as_the_calibration_did():
    assert taught(0.81).pace == pytest.approx(0.9)


def test_runs_that_agree_are_believed_and_their_spread_vanishes():
    steady = taught(*[0.8] * KEPT)
    assert steady.pace == pytest.approx(0.8, rel=1e-3)
    assert steady.spread is not None and steady.spread < 0.06, "what is left is how wrong the calibration was"


def test_a_machine_that_became_slower_is_followed_within_a_few_runs():
    assert taught(*[1.0] * 20, *[1.3] * 6).pace == pytest.approx(1.3, rel=0.06)


def test_a_run_that_a_laptop_slept_through_moves_the_pace_by_an_eighth_at_most():
    assert taught(*[1.0] * 20, 50.0).pace <= 1.125


def test_the_spread_is_how_far_runs_were_from_what_was_expected_of_them():
    apart = taught(*[math.exp((-1) ** n * 0.1) for n in range(KEPT)])
    assert apart.spread is not None and 0.09 < apart.spread < 0.13
    assert taught(*[1.1] * (ENOUGH - 1)).spread is None
