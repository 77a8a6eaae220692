"""What is shown of a worker: one table on a terminal, a line now and then elsewhere, JSON lines for programs."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console
from shoestring.attempt import Progress
from shoestring.live import LiveView, duration, line

AT = Progress(7, "dense/s0", "running", 30, 60, 0.0012, 0.0031, loss=0.5, val_loss=0.25, images_per_s=88.4, eta_s=75)


def test_a_line_says_how_far_how_good_how_fast_and_how_dear() -> None:
    assert line(AT) == (
        "run 7 dense/s0 · training · step 30/60 · loss 0.5000 · val 0.2500 · 88 images/s · $0.00120 / $0.00310"
        " · 1m 15s left"
    )


def test_without_a_terminal_a_change_of_state_is_a_line_and_a_step_is_not() -> None:
    out = io.StringIO()
    with LiveView(out) as view:
        for state, step in (("leased", 0), ("running", 0), ("running", 1), ("running", 2), ("succeeded", 60)):
            view(Progress(7, "dense/s0", state, step, 60, 0.0, 0.1))
    said = [text.split(" · ")[1] for text in out.getvalue().splitlines()]
    assert said == ["starting", "training", "succeeded"]


def test_for_a_program_each_line_is_an_object() -> None:
    out = io.StringIO()
    with LiveView(out, as_json=True) as view:
        view(AT)
    assert json.loads(out.getvalue())["val_loss"] == 0.25


def test_the_table_has_a_row_for_every_run_seen() -> None:
    view = LiveView(io.StringIO())
    view(AT)
    view(Progress(8, "masked/s0", "paused", 10, 60, 0.002, 0.003, note="budget"))
    console = Console(file=io.StringIO(), width=140)
    console.print(view.table())
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "dense/s0" in text and "$0.00120 / $0.00310" in text and "1m 15s" in text and "30/60" in text
    assert "masked/s0" in text and "paused (budget)" in text


@pytest.mark.parametrize(("seconds", "text"), [(4.4, "4s"), (200, "3m 20s"), (7500, "2h 05m"), (None, "")])
def test_durations_read_like_a_clock(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text
