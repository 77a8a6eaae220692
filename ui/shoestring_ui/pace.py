"""Parts of a page that are drawn again by themselves, and how often: seldom enough that looking on costs little."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import CodeType

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

LIVE_S = 3
LIVE_MOST_S = 60
UNKNOWN_S = 0.05  # what a part is taken to need that was never drawn
ALONE = 3  # times what it takes with its page, the overview's parts took by themselves
LIVE_SHARE = 0.01  # of a core, for each of a page's live parts
STREAMLIT_S = 0.03  # what Streamlit needs for each of them besides, at least: measured where a part took 4 ms
STREAMLIT_MOST_S = 0.2  # of what is measured; more is somebody's work on another page
LIVE = "live"  # the switch in the masthead, and its word in the address: `?live=false`
_alone_s: dict[CodeType | None, float] = {}  # what every live part takes by itself, on average
_guess_s: dict[CodeType | None, float] = {}  # the same of those that were only drawn with their page


@dataclass
class Besides:
    """What this process takes beside the parts themselves, for each that is drawn: on a slow machine more."""

    each_s: float = STREAMLIT_S
    seen_s: float | None = None  # of processor time, when the last part had been drawn

    def drawn(self, took_s: float) -> None:
        """A part was drawn alone, and took so long itself."""
        now = time.process_time()
        if self.seen_s is not None:
            found = min(max(now - self.seen_s - took_s, STREAMLIT_S), STREAMLIT_MOST_S)
            self.each_s += (found - self.each_s) / 2
        self.seen_s = now


_besides = Besides()


def is_live() -> bool:
    """Whether pages may refresh by themselves: the switch, or what the address says before there is one."""
    return bool(st.session_state.get(LIVE, st.query_params.get(LIVE, "true") != "false"))


def live(body: Callable[[], None], moving: bool) -> None:
    """Draw `body`; again every few seconds while something moves and nobody has paused the app.

    What takes long to draw is drawn less often, so that no page that is only looked at takes more than its share. How
    long is known once it was drawn alone: with the whole page it finds answers that the page has just asked for, and by
    itself it may find those of another part, so what counts is the average.
    """
    code = getattr(body, "__code__", None)

    @functools.wraps(body)
    def timed() -> None:
        began = time.thread_time()
        body()
        took = time.thread_time() - began
        if _is_alone():
            _besides.drawn(took)
            _alone_s[code] = (took + _alone_s.get(code, took)) / 2
        else:
            _besides.seen_s = None  # what a page takes is not a part's
            _guess_s[code] = min(ALONE * took, _guess_s.get(code, math.inf))  # the first of all also fills caches

    st.fragment(timed, run_every=_every_s(code) if moving and is_live() else None)()


def _every_s(code: CodeType | None) -> float:
    """Seconds between two drawings of a part."""
    takes_s = _alone_s.get(code, _guess_s.get(code, UNKNOWN_S))
    return min(LIVE_MOST_S, max(LIVE_S, (takes_s + _besides.each_s) / LIVE_SHARE))


def _is_alone() -> bool:
    """Whether this run of the script draws a part of the page and not the page."""
    context = get_script_run_ctx()
    return context is not None and bool(context.fragment_ids_this_run)
