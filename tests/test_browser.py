"""The pages in Chromium: nothing goes wrong on them, nothing is too wide, axe finds nothing grave, links hold."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import axe_core
import many_runs
import pytest
from browser import HOW, SIZES, Visit, chromium, chromium_browser, served
from playwright.sync_api import Browser, Page, expect
from projects import STEPS, Project
from shoestring import actions, queries
from shoestring.db import Database
from shoestring.home import Home
from shoestring_trainer.run_dir import RunDir

pytestmark = pytest.mark.browser  # `.ci/run` runs these beside the others
PAGES = ("", "queue", "run", "run?tab=Samples", "run?tab=Log", "compare", "samples", "sweep", "cost", "new")
LARGE = many_runs.Size(runs=300, metrics=4, points=200, grids=1, queued=400, trials=30)
BROKEN = 3  # the run that failed

Visits = Callable[..., Visit]


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    if chromium() is None:
        pytest.skip(HOW)
    with chromium_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Callable[[str], Home]:
    """Projects by name: empty, demo, large; each made when it is first asked for."""

    @cache
    def home(kind: str) -> Home:
        root = tmp_path_factory.mktemp(kind)
        made = Home(root, root / "state")
        if kind == "large":
            many_runs.fill(made, LARGE)
            return made
        made.state.mkdir()
        shutil.copy(migrated, made.state / "shoestring.db")
        if kind == "demo":
            _demo(made)
        return made

    return home


def _demo(home: Home) -> None:
    """Two experiments of two seeds, one failed, a sweep, a worker, a budget, and a queue."""
    project = Project(home)
    for experiment, seed, fails in (("dense", 0, ""), ("deferred", 0, ""), ("broken", 0, "nan"), ("deferred", 1, "")):
        run_id = project.queue(experiment, seed, ratio=0.0 if experiment == "dense" else 0.75)
        project.train(run_id, 0.1 + 0.05 * run_id, fails=fails)
        if not fails:
            project.pictures(RunDir(home.runs / f"{run_id:05d}"), STEPS // 2)
    project.sweep(home.root, [(0.5, 1, 0.3), (0.75, 4, 0.2), (0.9, 1, 0.4), (0.25, 4, 0.25)])
    actions.set_budget(project.db, "tiny", 1.0)
    for name in ("later", "sooner"):
        project.queue(name, priority=5 if name == "sooner" else 0)


@pytest.fixture(scope="module")
def visits(chrome: Browser, homes: Callable[[str], Home]) -> Iterator[Visits]:
    """A window on the app of a project, by its name, as wide as a desk; a server each, a window for each theme."""
    with ExitStack() as stack:

        @cache
        def address(kind: str) -> str:
            home = homes(kind)
            env = {"SHOESTRING_HOME": str(home.state), "SHOESTRING_DB": home.db_url}
            return stack.enter_context(served(env=env)).url

        @cache
        def visit(kind: str, theme: str) -> Visit:
            found = Visit(chrome, address(kind), theme=theme)
            stack.callback(found.close)
            return found

        shown: list[Visit] = []

        def at_desk(kind: str, theme: str = "light") -> Visit:
            found = visit(kind, theme)
            for other in shown:
                if other is not found:
                    other.page.goto("about:blank")  # or it would go on refreshing itself
            shown[:] = [found]
            found.page.set_viewport_size(dict(zip(("width", "height"), SIZES["desk"], strict=True)))
            return found

        yield at_desk


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots go: SHOESTRING_SCREENSHOTS, or pytest's own folder."""
    folder = Path(os.environ.get("SHOESTRING_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def shoot(page: Page, folder: Path, *name: str) -> None:
    page.screenshot(path=folder / (re.sub(r"\W+", "-", "-".join(name)) + ".png"))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p or "overview")
@pytest.mark.parametrize("kind", ["empty", "large"])
def test_nothing_goes_wrong_on_a_page_and_it_is_as_wide_as_its_window(
    visits: Visits, pictures: Path, kind: str, page: str
):
    visit = visits(kind)
    visit.open(page)
    for size, (width, height) in SIZES.items():
        if size != "desk":
            visit.resize(width, height)
        shoot(visit.page, pictures, kind, page or "overview", size)
        assert visit.faults() == []


def test_every_page_of_the_navigation_is_walked_here(visits: Visits):
    page = visits("demo").open("")
    expect(page.get_by_test_id("stTopNavLink").first).to_be_visible()
    links = page.get_by_test_id("stTopNavLink").evaluate_all("all => all.map(a => new URL(a.href).pathname.slice(1))")
    assert len(links) >= 7 and set(links) <= {address.split("?")[0] for address in PAGES}


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("page", PAGES, ids=lambda p: p or "overview")
def test_axe_finds_nothing_serious_on_a_page_and_nothing_else_is_wrong(
    visits: Visits, pictures: Path, page: str, theme: str
):
    axe_core.install()
    visit = visits("demo", theme)
    address = f"run?run={BROKEN}&tab=Log" if page == "run?tab=Log" else page
    visit.open(f"{address}{'&' if '?' in address else '?'}live=false", settle_s=0.3)  # nothing fades while it refreshes
    shoot(visit.page, pictures, "demo", page or "overview", theme)
    assert axe_core.grave_findings(visit.page) == []
    visit.resize(*SIZES["phone"])
    shoot(visit.page, pictures, "demo", page or "overview", theme, "phone")
    assert visit.faults() == []


def test_the_slider_of_the_samples_moves_what_is_shown_and_the_address(visits: Visits):
    visit = visits("demo")
    page = visit.open("samples?runs=1,2")
    assert page.get_by_text("step 40").count()
    handle = page.get_by_test_id("stMain").get_by_role("slider").first
    before = page.url
    handle.press("Home")
    expect(page.get_by_text("step 40")).to_have_count(0)
    assert page.url != before and "usd=" in page.url
    assert visit.faults() == []


def test_an_address_holds_all_that_was_chosen(chrome: Browser, visits: Visits):
    visit = visits("demo")
    page = visit.open("compare?runs=1,2")
    page.get_by_test_id("stMain").get_by_text("step", exact=True).first.click()
    page.wait_for_url(re.compile("x=step"))
    visit.settle(0.3)  # on a busy machine the second click fell into the drawing that follows the first, and was lost
    page.get_by_test_id("stMain").get_by_text("Logarithmic", exact=True).click()
    page.wait_for_url(re.compile("x=step.*logy=true|logy=true.*x=step"))
    visit.settle(0.3)
    other = Visit(chrome, visit.url)
    try:
        again = other.open(page.url.removeprefix(visit.url + "/"), settle_s=0.3)
        assert again.url == page.url
        for part in (".takeaway", ".legend", ".graph .ticks.up span"):
            assert again.locator(part).all_inner_texts() == page.locator(part).all_inner_texts() != []
        assert other.faults() == visit.faults() == []
    finally:
        other.close()


def test_a_run_is_cancelled_on_its_page_after_a_question(visits: Visits, homes: Callable[[str], Home]):
    db = Database(homes("demo").db_url)
    run_id = queries.find_run(db, "later").id
    visit = visits("demo")
    page = visit.open(f"run?run={run_id}")
    page.get_by_role("button", name="Cancel", exact=True).click()
    assert queries.run(db, run_id).state == "queued"
    page.get_by_role("button", name=f"Cancel run {run_id} for good").click()
    expect(page.locator(".state", has_text="cancelled").first).to_be_visible()
    assert queries.run(db, run_id).state == "cancelled"
    assert visit.faults() == []


def test_a_run_is_cloned_into_a_spec_by_a_link(visits: Visits):
    visit = visits("large")
    page = visit.open("run?run=6")
    page.get_by_test_id("stMain").get_by_role("link", name="Clone").click()
    page.wait_for_url("**/new?from=6")
    visit.settle()
    expect(page.get_by_test_id("stMain").locator("textarea").first).to_have_value(re.compile("2e-07|2.0e-07"))
    assert visit.faults() == []


def test_which_key_applies_what_was_written_can_be_read_beside_it(visits: Visits):
    visit = visits("demo")
    hint = visit.page.get_by_test_id("InputInstructions")
    page = visit.open("?live=false")
    number = page.get_by_role("spinbutton", name=re.compile("^Reach"))
    number.fill("0.36")
    expect(hint).to_be_in_viewport(ratio=0.9, timeout=60_000)  # a busy machine
    said, field = hint.bounding_box(), number.bounding_box()
    assert said and field and said["y"] >= field["y"] + field["height"] - 4, "it lies over the number"
    page = visit.open("new?live=false")
    page.get_by_role("textbox", name="Spec").press_sequentially("x")
    expect(hint).to_be_in_viewport(ratio=0.9, timeout=60_000)  # a busy machine
    assert visit.faults() == []


def test_a_point_of_the_map_is_picked_by_a_click_also_where_plotly_has_drawn_it(visits: Visits):
    visit = visits("demo")
    page = visit.open("?live=false")
    main, zoom = page.get_by_test_id("stMain"), page.get_by_text("Zoom", exact=True).first
    point = main.locator(".graph [data-run='1']")
    expect(point).to_have_attribute("title", re.compile("#1 dense/s0\n.*\n\\$"))
    point.click(force=True)  # another may lie over it
    page.wait_for_url(re.compile(r"pick=\d"))
    visit.settle(0.3)
    zoom.click()
    expect(main.locator(".js-plotly-plot .main-svg").first).to_be_visible(timeout=60_000)  # a busy machine
    assert "zoom-quality-per-dollar=true" in page.url
    zoom.click()
    expect(point).to_be_attached()
    assert visit.faults() == []
