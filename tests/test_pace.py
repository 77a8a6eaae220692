"""How often a live part is drawn again: seldom enough that what it takes stays a small share of a core."""

from __future__ import annotations

import time

import pytest
from shoestring_ui import pace, server
from shoestring_ui.pace import LIVE_MOST_S, LIVE_S, LIVE_SHARE, STREAMLIT_S, UNKNOWN_S
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime.scriptrunner import ScriptRunContext
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
    monkeypatch.setattr(pace, "_takes_s", {})
    monkeypatch.setattr(pace, "_besides", pace.Besides())


def draw(seconds: float, alone: bool = False) -> list[float]:
    """Draw the page whose part takes so long; what the browser is told of the seconds between its drawings."""
    told: dict[str, list[float]] = {}

    def hear(self: ScriptRunContext, message: ForwardMsg) -> None:
        if message.HasField("auto_rerun"):
            told.setdefault(message.auto_rerun.fragment_id, []).append(message.auto_rerun.interval)
        else:
            enqueue(self, message)

    enqueue = ScriptRunContext.enqueue
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("test_pace.takes_s", seconds)
        patched.setattr(pace, "_is_alone", lambda: alone)
        patched.setattr(ScriptRunContext, "enqueue", hear)
        assert not AppTest.from_string(PAGE, default_timeout=60).run().exception
    (intervals,) = told.values()  # all of one part
    return intervals


@pytest.mark.parametrize(("takes_s", "pause_s"), [(0.0, LIVE_S), (0.1, 13), (30, LIVE_MOST_S)])
def test_what_takes_long_is_drawn_less_often(takes_s: float, pause_s: float):
    pace._takes_s[None] = takes_s
    assert pace._every_s(None) == pytest.approx(pause_s)
    assert (takes_s + STREAMLIT_S) / pace._every_s(None) <= LIVE_SHARE + 1e-9 or pause_s == LIVE_MOST_S


def test_a_part_that_was_never_drawn_alone_is_soon_drawn_so():
    assert draw(0.2) == [pytest.approx((UNKNOWN_S + STREAMLIT_S) / LIVE_SHARE)]


def test_the_browser_is_told_the_pace_each_time_a_part_was_drawn_alone():
    first, then = draw(0.2, alone=True)
    assert first == pytest.approx(8) and 23 <= then < 30


def test_a_part_goes_by_what_it_takes_alone_on_average():
    assert draw(0.2, alone=True)[-1] >= 23
    assert 13 <= draw(0.001, alone=True)[-1] < 18  # it found the answers of another part


def test_a_visit_of_its_page_does_not_make_a_part_look_cheap():
    slow = draw(0.2, alone=True)[-1]
    assert draw(0.01) == [slow]


def test_a_part_that_stands_for_two_has_the_share_of_two():
    pace._takes_s[None] = 0.37
    assert pace._every_s(None) == pytest.approx(40) and pace._every_s(None, parts=2) == pytest.approx(20)


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
