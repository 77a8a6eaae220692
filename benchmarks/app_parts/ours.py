"""The app's pages: where each is, what its first content is, and what one does there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from app_parts.stopwatch import Site
from playwright.sync_api import Page

Act = Callable[[Page], None]
FIGURES = "document.querySelector('[data-testid=stMain] .figures dd')"
CHART = "document.querySelector('[data-testid=stMain] .js-plotly-plot .main-svg .trace')"
COMPARED = 10


@dataclass(frozen=True)
class View:
    """A page: its address, when its first content is there (JavaScript), and what is done on it in turns."""

    name: str
    address: str
    content: str
    acts: tuple[Act, ...] = field(default=())


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


def choose(label: str) -> Act:
    """Take the next entry of a list."""

    def act(page: Page) -> None:
        box = page.get_by_test_id("stMain").get_by_role("combobox", name=label).first
        box.press("ArrowDown")
        box.press("ArrowDown")
        box.press("Enter")

    return act


def views(n_runs: int) -> list[View]:
    """Every page, with runs chosen where it takes some."""
    ids = ",".join(map(str, range(1, 1 + min(COMPARED, n_runs))))
    middle = max(1, n_runs // 2)
    return [
        View("overview", "", FIGURES, (press("Logarithmic dollars"),)),
        View("queue", "queue", FIGURES),
        View("run", f"run?run={middle}", FIGURES, (press("Log"), press("Charts"), press("step"), press("dollars"))),
        View("compare", f"compare?runs={ids}", CHART, (press("step"), press("images"), press("dollars"))),
        View("samples", f"samples?runs={ids}", "document.querySelector('[data-testid=stMain] img.sample')",
             (slide("ArrowLeft"), slide("ArrowLeft"), press("latest"), press("step"))),
        View("sweep", "sweep", FIGURES, (choose("Up"),)),
        View("cost", "cost", FIGURES),
    ]  # fmt: skip


def table() -> tuple[str, str]:
    """Where the table of runs is, and when that is there: ten runs by name, with their quality and dollars."""
    return (
        "",
        "document.querySelectorAll('[data-testid=stMain] table.plain[aria-label^=\"The newest\"] .who').length >= 10",
    )


def comparison(n_runs: int) -> tuple[str, str]:
    """Where ten runs are compared, and when that is there: the curves, and the table of what differs."""
    ids = ",".join(map(str, range(1, 1 + min(COMPARED, n_runs))))
    drawn = f"""document.querySelectorAll('[data-testid=stMain] .js-plotly-plot .main-svg .trace').length
        >= {min(COMPARED, n_runs)} && document.querySelectorAll('[data-testid=stMain] table.plain .who').length
        >= {min(COMPARED, n_runs)}"""
    return f"compare?runs={ids}", drawn
