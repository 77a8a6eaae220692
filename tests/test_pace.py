"""How often a live part is drawn again: seldom enough that what it takes stays a small share of a core."""

from __future__ import annotations

import pytest
from shoestring_ui import server, widgets
from shoestring_ui.widgets import ALONE, LIVE_MOST_S, LIVE_S, LIVE_SHARE
from streamlit.testing.v1 import AppTest

server.serve_nobody()
PAGE = """
import time
from shoestring_ui.widgets import live

def body():
    end = time.thread_time() + {takes_s}
    while time.thread_time() < end:
        pass

live(body, moving=True)
"""


@pytest.fixture(autouse=True)
def unknown(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(widgets, "_drawing_s", {})


@pytest.mark.parametrize(("takes_s", "pause_s"), [(0.001, LIVE_S), (0.1, 10), (30, LIVE_MOST_S)])
def test_what_takes_long_is_drawn_less_often(takes_s: float, pause_s: float):
    widgets._drawing_s[None] = takes_s
    assert widgets._every_s(None) == pytest.approx(pause_s)
    assert takes_s / widgets._every_s(None) <= LIVE_SHARE or pause_s == LIVE_MOST_S


def test_what_was_only_drawn_with_its_page_is_taken_to_need_more_alone():
    AppTest.from_string(PAGE.format(takes_s=0.05), default_timeout=60).run()
    (known,) = widgets._drawing_s.values()
    assert known >= ALONE * 0.05
