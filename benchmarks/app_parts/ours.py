"""The app's pages: where each is, what its first content is, and what one does there."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from app_parts.stopwatch import Site
from playwright.sync_api import Page

Act = Callable[[Page], None]
FIGURES = "main.querySelector('.figures dd')"
CHART = "[...main.querySelectorAll('.graph img')].some((i) => i.complete && i.naturalWidth)"
COMPARED = 10
ROW_PX = 32  # of a grid
FIELDS = ("model.experts.count", "stages.0.mask.ratio")  # of the sweep; the second is drawn unasked


@dataclass(frozen=True)
class View:
    """A page: its address, when its first content is there (JavaScript, of `main`), and what is done on it in turns.

    Each of the acts must change the page, whichever came before it.
    """

    name: str
    address: str
    content: str
    acts: tuple[Act, ...] = field(default=())

    @property
    def still(self) -> str:
        """The address of the page when nothing moves on it by itself: what changes then is what the act did."""
        return f"{self.address}{'&' if '?' in self.address else '?'}live=false"


def site(url: str) -> Site:
    return Site("Shoestring", url, "[data-testid=stMain]", says_when=True)


def press(label: str) -> Act:
    """Click the switch, tab or segment of that name."""

    def act(page: Page) -> None:
        main = page.get_by_test_id("stMain")
        main.get_by_text(label, exact=True).first.click()

    return act


def slide(key: str) -> Act:
    """Move the page's first slider by one."""

    def act(page: Page) -> None:
        page.get_by_test_id("stMain").get_by_role("slider").first.press(key)

    return act


def choose(label: str, option: str) -> Act:
    """Take that entry of a list; the time runs from the key that takes it, not from opening the list."""

    def act(page: Page) -> None:
        entry = page.get_by_role("option", name=option, exact=True)
        while not entry.is_visible():  # a list that opens while the page is drawn closes again
            page.get_by_test_id("stMain").get_by_role("combobox", name=label).first.click()
            page.wait_for_timeout(500)
        entry.hover()
        page.evaluate("window.__watch.clicked = null")
        entry.click()

    return act


def tick(row: int) -> Act:
    """Choose that row of the page's first grid, or no longer choose it."""

    def act(page: Page) -> None:
        box = {"x": ROW_PX / 2, "y": (row + 0.5) * ROW_PX}  # its cells are drawn on a canvas
        page.get_by_test_id("stMain").get_by_test_id("stDataFrame").first.click(position=box)

    return act


def train_longer(page: Page) -> None:
    """Ask for one step more than the text on the page does, and have it checked and priced."""
    text = page.get_by_test_id("stMain").get_by_role("textbox", name="Spec")
    text.fill(re.sub(r"steps: (\d+)", lambda found: f"steps: {int(found[1]) + 1}", text.input_value(), count=1))
    text.press("Control+Enter")


def views(n_runs: int) -> list[View]:
    """Every page, with runs chosen where it takes some."""
    ids = ",".join(map(str, range(1, 1 + min(COMPARED, n_runs))))
    middle = max(1, n_runs // 2)
    return [
        View("overview", "", FIGURES, (press("Logarithmic dollars"),)),
        View("queue", "queue", FIGURES, (tick(1), tick(2))),
        View("run", f"run?run={middle}", FIGURES, (press("Log"), press("Charts"), press("step"), press("dollars"))),
        View("compare", f"compare?runs={ids}", CHART, (press("step"), press("images"), press("dollars"))),
        View("samples", f"samples?runs={ids}", "main.querySelector('img.sample')",
             (slide("ArrowLeft"), slide("ArrowRight"), press("latest"), press("step"))),
        View("sweep", "sweep", FIGURES, (choose("Across", FIELDS[0]), choose("Across", FIELDS[1]))),
        View("cost", "cost", FIGURES, (choose("Size", "microdit-xl-2"), choose("Size", "microdit-tiny-2"))),
        View("new run", f"new?from={middle}", FIGURES, (train_longer,)),
    ]  # fmt: skip


def table() -> tuple[str, str]:
    """Where the table of runs is, and when that is there: ten runs by name, with their quality and dollars."""
    return (
        "",
        "main.querySelectorAll('table.plain[aria-label^=\"The newest\"] .who').length >= 10",
    )


def comparison(n_runs: int) -> tuple[str, str]:
    """Where ten runs are compared, and when that is there: the curves, and the table of what differs."""
    ids = ",".join(map(str, range(1, 1 + min(COMPARED, n_runs))))
    drawn = f"""{CHART} && main.querySelectorAll('table.plain .who').length
        >= {min(COMPARED, n_runs)}"""
    return f"compare?runs={ids}", drawn
