"""Parts of a page that are drawn again by themselves, and how often: seldom enough that looking on costs little."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import CodeType

import streamlit as st
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.scriptrunner_utils.script_run_context import ThreadState

LIVE_S = 3
LIVE_MOST_S = 60
UNKNOWN_S = 0.05  # what a part is taken to need that was never drawn alone
LIVE_SHARE = 0.01  # of a core, for each of a page's live parts
STREAMLIT_S = 0.03  # what Streamlit needs for each of them besides, at least: measured where a part took 4 ms
STREAMLIT_MOST_S = 0.2  # of what is measured; more is somebody's work on another page
LIVE = "live"  # the switch in the masthead, and its word in the address: `?live=false`
_takes_s: dict[CodeType | None, float] = {}  # what every live part takes by itself, on average


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


def live(body: Callable[[], None], moving: bool, parts: int = 1) -> None:
    """Draw `body`; again every few seconds while something moves and nobody has paused the app.

    What takes long to draw is drawn less often, so that no page that is only looked at takes more than its share, or
    that of as many `parts` as it stands for. How long it takes is learnt each time it is drawn alone, and its pace set
    by it there and then: with the whole page it finds answers that the page has just asked for. By itself it may find
    those of another part, so what counts is the average.
    """
    code = getattr(body, "__code__", None)
    moves = moving and is_live()

    @functools.wraps(body)
    def timed() -> None:
        began = time.thread_time()
        body()
        took = time.thread_time() - began
        if _is_alone():
            _besides.drawn(took)
            _takes_s[code] = (took + _takes_s.get(code, took)) / 2
            if moves:
                _go_on(_every_s(code, parts))
        else:
            _besides.seen_s = None  # what a page takes is not a part's

    st.fragment(timed, run_every=_every_s(code, parts) if moves else None)()


def _every_s(code: CodeType | None, parts: int = 1) -> float:
    """Seconds between two drawings of a part."""
    takes_s = _takes_s.get(code, UNKNOWN_S)
    return min(LIVE_MOST_S, max(LIVE_S, (takes_s + _besides.each_s) / (parts * LIVE_SHARE)))


def _go_on(every_s: float) -> None:
    """Have the browser ask for the part that is being drawn so often from now on.

    What `st.fragment` tells it when the whole page is drawn, and no more while a part is drawn by itself.
    """
    context = get_script_run_ctx()
    if context is not None and (fragment_id := ThreadState.get().fragment_id):
        message = ForwardMsg()
        message.auto_rerun.interval, message.auto_rerun.fragment_id = every_s, fragment_id
        context.enqueue(message)


def _is_alone() -> bool:
    """Whether this run of the script draws a part of the page and not the page."""
    context = get_script_run_ctx()
    return context is not None and bool(context.fragment_ids_this_run)
