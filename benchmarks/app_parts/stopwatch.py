"""Times in the browser itself: from the navigation, or from a real click, to the last change of what it shows."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from playwright.sync_api import BrowserContext, Page, TimeoutError

PATIENCE_MS = 240_000  # a busy machine
LOST_S = 20.0  # after which a click that nothing followed is lost
QUIET_MS = 250  # without any change: then the page is done
# `shown` is when the wanted content was first there to be seen, in a page's first drawing or in the page; `ready` when
# it was in the page itself, to be worked with; `last` when anything in `inside` last changed: milliseconds since the
# navigation. `ran` says that the server has answered since the click: a run of its script that takes a few milliseconds
# begins and ends before the page could show it.
WATCH = """
(() => {
  const inside = %(inside)r, wanted = (main) => main && (%(wanted)s);
  const watch = window.__watch = {shown: null, ready: null, last: 0, clicked: null, ran: false};
  const look = () => {
    const now = performance.now(), first = document.getElementById('first');
    if (watch.shown === null && wanted(first && first.contentDocument && first.contentDocument.body)) watch.shown = now;
    if (watch.ready === null && !first && wanted(document.querySelector(inside))) {
      watch.ready = now;
      watch.shown ??= now;
    }
  };
  new MutationObserver((changes) => {
    const now = performance.now();
    if (changes.some((c) => { const e = c.target.nodeType === 1 ? c.target : c.target.parentElement;
                              return e && e.closest(inside); })) watch.last = now;
    if (watch.ready === null) look();
  }).observe(document, {subtree: true, childList: true, attributes: true, characterData: true});
  window.WebSocket = class extends window.WebSocket {
    constructor(...how) {
      super(...how);
      this.addEventListener('message', () => { watch.ran = true; });
    }
  };
  // a picture or a frame that is there changes nothing of the document
  document.addEventListener('load', () => { if (watch.ready === null) look(); }, {capture: true});
  for (const kind of ['pointerdown', 'keydown'])
    document.addEventListener(kind, () => { watch.clicked ??= performance.now(); }, {capture: true});
})()
"""
DONE = f"""([mustRun]) => {{
  const watch = window.__watch, idle = !document.querySelector('[data-test-script-state=running]');
  return idle && (watch.ran || !mustRun) && watch.last > watch.clicked && performance.now() - watch.last > {QUIET_MS};
}}"""


@dataclass(frozen=True)
class Site:
    """A web application to be timed: where it is, and what of its pages is content that changes."""

    name: str
    url: str
    inside: str  # a CSS selector
    says_when: bool = False  # nothing is done before the server has answered, through a WebSocket


@dataclass(frozen=True)
class Arrival:
    """Seconds from the navigation until the wanted content was seen, and until it was there to be worked with."""

    shown_s: float
    ready_s: float


def arrive(context: BrowserContext, site: Site, address: str, wanted: str) -> tuple[Page, Arrival]:
    """Open a page in a new tab, until `wanted` is true: a JavaScript expression of `main`, the site's `inside`."""
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.add_init_script(WATCH % {"wanted": wanted, "inside": site.inside})
    page.goto(f"{site.url}/{address}", wait_until="commit")
    page.wait_for_function("window.__watch && window.__watch.ready !== null", polling=50)
    shown, ready = page.evaluate("[window.__watch.shown, window.__watch.ready]")
    return page, Arrival(shown / 1000, ready / 1000)


def rest(page: Page) -> None:
    """Wait until nothing changes any more, at most five seconds: a live page goes on."""
    end = time.monotonic() + 5
    quiet = f"performance.now() - window.__watch.last > {QUIET_MS}"
    running = "document.querySelector('[data-test-script-state=running]')"
    while time.monotonic() < end and not page.evaluate(f"{quiet} && !{running}"):
        page.wait_for_timeout(50)


def react(page: Page, site: Site, act: Callable[[Page], None]) -> float:
    """Do something on the page; seconds from its click or key to the last change that followed; LOST_S for nothing."""
    page.evaluate("Object.assign(window.__watch, {clicked: null, ran: false, last: 0})")
    act(page)
    try:
        page.wait_for_function(DONE, arg=[site.says_when], polling=50, timeout=1000 * LOST_S)
    except TimeoutError:
        print(f"nothing followed on {page.url}: {page.evaluate('window.__watch')}", file=sys.stderr, flush=True)
        return LOST_S
    return page.evaluate("window.__watch.last - window.__watch.clicked") / 1000
