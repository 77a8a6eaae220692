"""How often a live part is drawn again: seldom enough that what it takes stays a small share of a core."""

from __future__ import annotations

import time

import pytest
from shoestring_ui import pace, server
from shoestring_ui.pace import ALONE, LIVE_MOST_S, LIVE_S, LIVE_SHARE, STREAMLIT_S
from streamlit.testing.v1 import AppTest

server.serve_nobody()
PAGE = """
import test_pace
from shoestring_ui.pace import live

live(test_pace.body, moving=True)
"""
takes_s = 0.0


def body() -> None:
    end = time.thread_time() + takes_s
    while time.thread_time() < end:
        pass


@pytest.fixture(autouse=True)
def unknown(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pace, "_alone_s", {})
    monkeypatch.setattr(pace, "_guess_s", {})
    monkeypatch.setattr(pace, "_besides", pace.Besides())


def draw(seconds: float, alone: bool = False) -> float:
    """Draw the page whose part takes so long; seconds to its next drawing."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("test_pace.takes_s", seconds)
        patched.setattr(pace, "_is_alone", lambda: alone)
        AppTest.from_string(PAGE, default_timeout=60).run()
    return pace._every_s(body.__code__)


@pytest.mark.parametrize(("takes_s", "pause_s"), [(0.0, LIVE_S), (0.1, 13), (30, LIVE_MOST_S)])
def test_what_takes_long_is_drawn_less_often(takes_s: float, pause_s: float):
    pace._alone_s[None] = takes_s
    assert pace._every_s(None) == pytest.approx(pause_s)
    assert (takes_s + STREAMLIT_S) / pace._every_s(None) <= LIVE_SHARE + 1e-9 or pause_s == LIVE_MOST_S


def test_what_was_only_drawn_with_its_page_is_taken_to_need_more_alone():
    assert draw(0.05) >= ALONE * 0.05 / LIVE_SHARE


def test_a_part_goes_by_what_it_takes_alone_on_average():
    assert draw(0.2, alone=True) >= 20
    assert 13 <= draw(0.001, alone=True) < 18  # it found the answers of another part


def test_a_visit_of_its_page_does_not_make_a_part_look_cheap():
    assert draw(0.2, alone=True) == draw(0.01) >= 20


def test_what_the_server_takes_beside_a_part_counts_too_but_not_what_a_page_takes(monkeypatch: pytest.MonkeyPatch):
    def processor(*seconds: float) -> None:
        monkeypatch.setattr(pace.time, "process_time", iter(seconds).__next__)

    besides = pace.Besides()
    processor(5.0, 5.13, 5.26, 5.39)  # .13 s from one part to the next, of which .03 s are the part's
    for _ in range(4):
        besides.drawn(0.03)
    assert STREAMLIT_S < besides.each_s < 0.1
    before, besides.seen_s = besides.each_s, None
    processor(9.0)
    besides.drawn(0.03)
    assert besides.each_s == before
    processor(99.0)
    besides.drawn(0.03)
    assert besides.each_s < before + pace.STREAMLIT_MOST_S / 2
