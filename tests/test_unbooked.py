"""What a trainer cost after its worker's last beat is booked by whoever takes the run back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fences import NOW
from shoestring import queries, runs
from shoestring_trainer.run_dir import RunDir

RATE = 1e6 / 3600  # micro-dollars a second: the test run costs a dollar an hour


@pytest.fixture
def lost(db, enqueue):
    """Start an attempt whose worker dies after this journal; take its run back, return its attempts."""

    def one(lines: list[tuple[int, float, float]], *, first_step: int = 0, beat_micro: int = 0, **changes):
        run_id = enqueue(**changes)
        lease = runs.claim(db, "w", "n", now=NOW)
        runs.start(db, lease, first_step, now=NOW)
        if beat_micro:
            runs.beat(db, lease, beat_micro, now=NOW + 1)
        write(Path(lease.run.run_dir), lease.token, lines)
        assert runs.Reaper(provably_dead=lambda owner: True).reap(db, 0.0, now=NOW + 500) == [run_id]
        return queries.attempts(db, run_id)

    return one


def write(run_dir: Path, token: int, lines: list[tuple[int, float, float]]) -> None:
    """A journal of (step, seconds on the trainer's clock, seconds since the attempt's start on the wall)."""
    path = RunDir(run_dir).journal(token)
    path.parent.mkdir(parents=True, exist_ok=True)
    made = [json.dumps({"step": s, "t": NOW + t, "metrics": {"cost/seconds": sec}}) for s, sec, t in lines]
    path.write_text("\n".join([*made, '{"step": 99, "t']))  # the last line is torn


def test_the_seconds_after_the_last_beat_are_booked(db, lost):
    (attempt,) = lost([(0, 5.0, 5.1), (10, 9.0, 9.1), (20, 18.0, 18.1)], beat_micro=round(9 * RATE))
    assert attempt.outcome == "lost" and attempt.usd * 1e6 == round(18 * RATE)
    assert queries.run(db, 1).spent_usd == attempt.usd


def test_seconds_that_an_earlier_attempt_journalled_are_not_booked_again(lost):
    (attempt,) = lost([(10, 40.0, -60.0), (50, 90.0, -10.0), (60, 97.0, 7.5)], first_step=50)
    assert attempt.usd * 1e6 == round(7 * RATE)


@pytest.mark.parametrize("jump_s", [3600.0, -3600.0])
def test_a_clock_that_jumps_books_no_hour(lost, jump_s):
    (attempt,) = lost([(0, 5.0, 5.0), (10, 9.0, 9.0 + jump_s)], beat_micro=1000)
    assert attempt.usd * 1e6 in (1000, round(9 * RATE))


def test_without_a_journal_what_the_beats_said_stays(db, lost):
    (attempt,) = lost([], beat_micro=1234)
    assert attempt.usd * 1e6 == 1234


def test_a_run_whose_cap_is_reached_by_it_is_paused_and_says_why(db, lost):
    lost([(10, 30.0, 30.0)], beat_micro=round(9 * RATE), max_usd=20 * RATE / 1e6)
    run = queries.run(db, 1)
    assert (run.state, run.reason) == ("paused", "budget")
    assert "budget_spent" in [event.kind for event in queries.events(db, 1)]
    assert runs.claim(db, "w", "another", now=NOW + 600) is None


def test_a_run_below_its_cap_goes_on(db, lost):
    lost([(10, 15.0, 15.0)], max_usd=20 * RATE / 1e6)
    assert queries.run(db, 1).state == "queued"
