"""The rounds: visits and interactions of each page in turns, memory after many, the processor while nobody clicks."""

from __future__ import annotations

import itertools
import os
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import browser
import psutil
from app_parts import mlflow_beside, ours
from app_parts.beating import beating
from app_parts.stopwatch import LOST_S, Site, arrive, react, rest
from playwright.sync_api import BrowserContext
from shoestring.home import Home
from shoestring_ui.server import streamlit_argv

BLANK = Path(__file__).with_name("blank.py")
WARM = 40  # interactions before the memory is read first
MB = 2**20


@contextmanager
def opened(home: Home) -> Iterator[tuple[browser.Server, browser.Visit]]:
    """The app on that project, whose runs go on, and a window on it."""
    env = {"SHOESTRING_HOME": str(home.state)}
    os.environ.pop("SHOESTRING_DB", None)
    with chdir(home.root), browser.served(env=env) as server, browser.chromium_browser() as chromium, beating(home):
        visit = browser.Visit(chromium, server.url)
        yield server, visit
        visit.close()


def ours_alone(home: Home, args: Namespace) -> dict[str, Any]:
    """First content, whole pages and interactions of every page (s), memory (MB), processor (share of a core)."""
    views = ours.views(args.runs)
    answer: dict[str, Any] = {"first_s": {}, "ready_s": {}, "whole_s": {}, "react_s": {}, "blank_s": []}
    with opened(home) as (server, visit), browser.served(partial(streamlit_argv, app=BLANK)) as blank:
        site = ours.site(server.url)
        window = visit.context.browser.new_context(viewport=visit.page.viewport_size)  # what it asks is no page's doing
        _tell("visits of every page")
        answer["cold_s"] = _cold(visit, site, views)
        for _, view in itertools.product(range(args.rounds), views):
            if view is views[0]:
                page, came = arrive(window, ours.site(blank.url), "", ours.FIGURES)
                answer["blank_s"].append(came.ready_s)
                page.close()
            page, came = arrive(visit.context, site, view.address, view.content)
            rest(page)
            answer["first_s"].setdefault(view.name, []).append(came.shown_s)
            answer["ready_s"].setdefault(view.name, []).append(came.ready_s)
            answer["whole_s"].setdefault(view.name, []).append(page.evaluate("window.__watch.last") / 1000)
            page.close()
        _tell("interactions")
        for view in views:
            if view.acts:
                answer["react_s"][view.name] = list(_reactions(visit.context, site, view, args.clicks))
        _tell("live pages left alone")
        answer["live_core"] = {v.name: _idle(visit.context, site, v, server, args.idle_s) for v in views[:2]}
        _tell(f"memory over {args.interactions} interactions")
        answer["memory_mb"] = _memory(visit.context, site, views, server, args.interactions)
        answer["wrong"] = visit.faults()
    return answer


def _tell(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


def _cold(visit: browser.Visit, site: Site, views: list[ours.View]) -> dict[str, float]:
    """The very first visit of a server and a browser; then every page once, so that all rounds are alike."""
    page, came = arrive(visit.context, site, views[0].address, views[0].content)
    for view in views:
        page.close()
        page, _ = arrive(visit.context, site, view.address, view.content)
        rest(page)
    page.close()
    return asdict(came)


def _reactions(context: BrowserContext, site: Site, view: ours.View, n: int) -> Iterator[float]:
    page, _ = arrive(context, site, view.still, view.content)
    rest(page)
    for act in itertools.islice(itertools.cycle(view.acts), n):
        yield react(page, site, act)
        rest(page)
    page.close()


def _memory(
    context: BrowserContext, site: Site, views: list[ours.View], server: browser.Server, n: int
) -> dict[str, Any]:
    """The server's memory before and after `n` interactions, of all pages in turns."""
    with_acts = [view for view in views if view.acts]
    each = -(-n // len(with_acts))
    for view in with_acts:
        list(_reactions(context, site, view, -(-WARM // len(with_acts))))
    before = _rss_mb(server.pid)
    times = [s for view in with_acts for s in _reactions(context, site, view, each)]
    lost = sum(s >= LOST_S for s in times)
    return {"before": before, "after": _rss_mb(server.pid), "interactions": len(times), "lost": lost}


def _idle(context: BrowserContext, site: Site, view: ours.View, server: browser.Server, seconds: float) -> float:
    """The share of a core that the server takes while a live page is only looked at."""
    page, _ = arrive(context, site, view.address, view.content)
    rest(page)
    before, began = _cpu_s(server.pid), time.monotonic()
    page.wait_for_timeout(1000 * seconds)
    share = (_cpu_s(server.pid) - before) / (time.monotonic() - began)
    page.close()
    return share


def _family(pid: int) -> list[psutil.Process]:
    top = psutil.Process(pid)
    return [top, *top.children(recursive=True)]


def _rss_mb(pid: int) -> float:
    return sum(one.memory_info().rss for one in _family(pid)) / MB


def _cpu_s(pid: int) -> float:
    return sum(sum(one.cpu_times()[:2]) for one in _family(pid))


def beside(home: Home, folder: Path, args: Namespace) -> dict[str, Any]:
    """Seconds to the table of runs and to a comparison of ten, ours and MLflow's in turns, and their ratio."""
    shown: dict[str, dict[str, list[float]]] = {"table": {}, "comparison": {}}
    ready: dict[str, dict[str, list[float]]] = {"table": {}, "comparison": {}}
    _tell("beside MLflow")
    with (
        opened(home) as (_, visit),
        browser.served(partial(mlflow_beside.argv, folder), health="/health") as theirs,
    ):
        window = visit.context.browser.new_context(viewport=visit.page.viewport_size)
        sites = (
            (ours.site(visit.url), visit.context, ours.table(), ours.comparison(args.runs)),
            (mlflow_beside.site(theirs.url), window, mlflow_beside.table(), mlflow_beside.comparison(args.runs)),
        )
        for turn in range(args.rounds + 1):  # the first is for warming both
            for site, context, *pages in sites:
                for name, (address, wanted) in zip(shown, pages, strict=True):
                    page, came = arrive(context, site, address, wanted)
                    rest(page)
                    page.close()
                    if turn:
                        shown[name].setdefault(site.name, []).append(came.shown_s)
                        ready[name].setdefault(site.name, []).append(came.ready_s)
        window.close()
    return {"beside_s": {"see the table": shown["table"], "work with it": ready["table"],
                         "see the comparison": shown["comparison"], "work with that": ready["comparison"]}}  # fmt: skip
