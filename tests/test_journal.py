"""The journal: whole lines only, and a resumed one is the old one up to the checkpoint and nothing after."""

from __future__ import annotations

import pytest
from shoestring_trainer.failures import BadCheckpoint
from shoestring_trainer.journal import Journal, read


def test_points_and_events_are_lines(tmp_path):
    journal = Journal(tmp_path / "a" / "metrics.jsonl")
    journal.point(1, {"train/loss": 0.5})
    journal.event(2, "checkpoint", path="checkpoints/step-00000002.t0")
    point, event = read(journal.path)  # flushed, not closed
    assert (point["step"], point["metrics"]) == (1, {"train/loss": 0.5})
    assert (event["step"], event["event"], event["path"]) == (2, "checkpoint", "checkpoints/step-00000002.t0")
    assert point["t"] <= event["t"]
    assert journal.offset == journal.path.stat().st_size


def test_a_resumed_journal_keeps_the_bytes_up_to_the_offset_and_goes_on(tmp_path):
    old = Journal(tmp_path / "old.jsonl")
    old.point(1, {"train/loss": 0.1 + 0.2})
    offset = old.offset
    old.point(2, {"train/loss": 9.0})
    new = Journal.start_from(tmp_path / "new.jsonl", old.path, offset)
    assert new.path.read_bytes() == old.path.read_bytes()[:offset]
    new.point(2, {"train/loss": 0.25})
    assert [(line["step"], line["metrics"]["train/loss"]) for line in read(new.path)] == [(1, 0.1 + 0.2), (2, 0.25)]
    assert new.offset == new.path.stat().st_size


def test_a_journal_can_resume_itself(tmp_path):
    journal = Journal(tmp_path / "metrics.jsonl")
    journal.point(1, {})
    offset = journal.offset
    journal.point(2, {})
    again = Journal.start_from(journal.path, journal.path, offset)
    assert [line["step"] for line in read(again.path)] == [1]


@pytest.mark.parametrize("wrong", [-1, 1])
def test_an_offset_that_is_no_end_of_a_line_is_refused(tmp_path, wrong):
    journal = Journal(tmp_path / "metrics.jsonl")
    journal.point(1, {})
    with pytest.raises(BadCheckpoint):
        Journal.start_from(tmp_path / "new.jsonl", journal.path, journal.offset + wrong)


def test_a_line_that_was_not_finished_is_not_read(tmp_path):
    path = tmp_path / "metrics.jsonl"
    Journal(path).point(1, {})
    with open(path, "ab") as file:
        file.write(b'{"step": 2, "t": 1')
    assert [line["step"] for line in read(path)] == [1]


def test_a_value_that_is_not_finite_never_reaches_the_file(tmp_path):
    journal = Journal(tmp_path / "metrics.jsonl")
    with pytest.raises(ValueError, match="not JSON compliant"):
        journal.point(1, {"train/loss": float("nan")})
    assert journal.offset == 0
