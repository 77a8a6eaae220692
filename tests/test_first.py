"""A page's first drawing: it comes with the document, before any of Streamlit's scripts, and to this machine only."""

from __future__ import annotations

import html
import http.client
import re
import shutil
import time
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import streamlit as st
from browser import Server, Visit, chromium, chromium_browser, served
from playwright.sync_api import FrameLocator, Route
from projects import Project
from shoestring.home import Home
from shoestring_ui import first as first_drawing
from shoestring_ui import plain
from shoestring_ui.cost_charts import burn_down
from shoestring_ui.navigation import ADDRESSES
from shoestring_ui.served import ENTRY, THEME, FirstDrawing
from shoestring_ui.server import APP, streamlit_argv
from shoestring_ui.theme import DARK, LIGHT

needs_chromium = pytest.mark.skipif(chromium() is None, reason="Chromium is not installed")
ROOT = '<div id="root">'
SCRIPTS = "**/static/js/**"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Home:
    root = tmp_path_factory.mktemp("first")
    made = Home(root, root / "state")
    made.state.mkdir()
    shutil.copy(migrated, made.state / "shoestring.db")
    project = Project(made)
    for name in ("dense", "masked <b>"):
        project.train(project.queue(name), 0.2)
    return made


@pytest.fixture(scope="module")
def server(home: Home) -> Iterator[Server]:
    with served(env={"SHOESTRING_HOME": str(home.state), "SHOESTRING_DB": home.db_url}) as found:
        yield found


def get(server: Server, address: str, **headers: str) -> str:
    """The document at that address, before any script has run."""
    asked = urllib.request.Request(f"{server.url}/{address}", headers={"Accept": "text/html", **headers})
    with urllib.request.urlopen(asked, timeout=60) as answer:
        return answer.read().decode()


def drawn(document: str) -> str:
    """The first drawing in a document, without its styles; empty without one."""
    found = re.search(r'<iframe id="first".* srcdoc="([^"]*)"', document, re.DOTALL)
    return re.sub(r"<style>.*?</style>", "", html.unescape(found.group(1)), flags=re.DOTALL) if found else ""


def first(server: Server, address: str, words: str, **headers: str) -> str:
    """The first drawing of that page once it says so; a busy machine may be too slow for one at first."""
    for _ in range(40):
        document = get(server, address, **headers)
        if words in (page := drawn(document)):
            assert ROOT in document
            return page
        time.sleep(0.5)
    raise AssertionError(f"{address!r} never came with {words!r}, but with {page[-600:]!r}")


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("", "Cheapest to reach"),
        ("run?run=2", "<h1>masked &lt;b&gt;/s0</h1>"),
        ("compare?runs=1,2", "Only what differs"),
        ("queue", "Done in about"),
    ],
)
def test_a_document_holds_what_the_database_says(server: Server, address: str, words: str):
    first(server, address, words)


@pytest.mark.parametrize("page", sorted(ADDRESSES), ids=lambda page: page or "overview")
def test_every_page_of_the_app_has_one_whose_header_leads_to_all_of_them(server: Server, page: str):
    header = first(server, page, "<h1>").partition("</header>")[0]
    links = re.findall(r"<a href='([^']+)' target='_top'( aria-current=page)?>", header.partition("<nav>")[2])
    assert {name.replace(".", "") for name, _ in links} == ADDRESSES
    assert [name.replace(".", "") for name, here in links if here] == [page]


def test_the_apps_scripts_are_fetched_meanwhile_and_named_to_the_frame_or_begin_where_there_is_none(server: Server):
    first(server, "queue", "Done in about")
    document = get(server, "queue")
    (entry,) = re.findall(r'<iframe id="first"[^>]* data-entry="(\./static/js/[^"]+)"', document)
    assert f'<link rel="modulepreload" crossorigin href="{entry}">' in document and not ENTRY.search(document)
    alone = FirstDrawing(st.App(APP))._around("", dark=False).decode()
    assert (found := ENTRY.fullmatch(alone)) and found[1] == entry


def test_it_has_the_colours_of_the_browsers_last_visit(server: Server):
    papers = {}
    for theme in ("dark", "light"):
        first(server, "", "<h1>", Cookie=f"{THEME}={theme}")
        document = get(server, "", Cookie=f"{THEME}={theme}")
        assert f'data-theme="{theme}"' in document
        papers[theme] = re.findall(r"--paper:(#\w+)", document)
    assert papers == {"dark": [DARK.paper], "light": [LIGHT.paper]}


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "192.0.2.1:8501", ""])
def test_a_site_that_calls_this_machine_by_another_name_gets_the_empty_page(server: Server, host: str):
    page = get(server, "", Host=host)
    assert ROOT in page and not drawn(page) and "Cheapest" not in page


@pytest.mark.parametrize("host", ["localhost:1", "127.0.0.1", "[::1]:8501"])
def test_this_machine_by_its_own_names_gets_it(server: Server, host: str):
    first(server, "", "Cheapest to reach", Host=host)


@pytest.mark.parametrize("address", ["nowhere", "static/nowhere.js", "queue/nowhere"])
def test_other_addresses_are_streamlits(server: Server, address: str):
    assert not drawn(get(server, address))


def test_an_address_with_a_slash_at_its_end_is_led_to_the_page(server: Server):
    asked = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=60)
    asked.request("GET", "/queue/")
    answer = asked.getresponse()
    assert (answer.status, answer.headers["location"]) == (301, "/queue")


def test_where_somebody_has_to_sign_in_nothing_is_drawn(home: Home):
    env = {"HOME": str(home.root), "SHOESTRING_HOME": str(home.state), "SHOESTRING_DB": home.db_url}
    with served(partial(streamlit_argv, address="0.0.0.0"), env) as beyond:
        assert ROOT in get(beyond, "") and not drawn(get(beyond, ""))


def before_the_scripts(visit: Visit, address: str, held: list[Route]) -> FrameLocator:
    """The first drawing of a page whose scripts are held; a busy machine may be too slow for one at first."""
    visit.page.route(SCRIPTS, lambda one: held.append(one))
    for _ in range(40):
        held.clear()
        visit.page.goto(f"{visit.url}/{address}", wait_until="commit")
        visit.page.wait_for_selector("#root", state="attached")  # it comes after the drawing
        if visit.page.locator("#first").count():
            return visit.page.frame_locator("#first")
    raise AssertionError(f"{address!r} never came with a first drawing")


@pytest.mark.browser
@needs_chromium
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_is_there_before_the_scripts_and_gone_once_the_app_is_drawn(server: Server, theme: str):
    with chromium_browser() as browser:
        visit = Visit(browser, server.url, theme=theme)
        visit.open("")  # says which theme it has
        held: list[Route] = []
        shown = before_the_scripts(visit, "", held)
        shown.get_by_text("Cheapest to reach").first.wait_for()
        paper = shown.locator("body").evaluate("(e) => getComputedStyle(e).backgroundColor")
        assert visit.page.get_by_test_id("stMain").count() == 0
        for one in held:
            one.continue_()
        visit.page.unroute(SCRIPTS)
        visit.settle()
        assert visit.page.locator("#first").count() == 0
        visit.page.get_by_test_id("stMain").get_by_text("Cheapest to reach").first.wait_for()
        assert visit.page.get_by_test_id("stApp").evaluate("(e) => getComputedStyle(e).backgroundColor") == paper
        assert visit.faults() == []
        visit.close()


@pytest.mark.browser
@needs_chromium
def test_its_links_lead_away_before_the_app_has_come(server: Server):
    with chromium_browser() as browser:
        visit = Visit(browser, server.url)
        before_the_scripts(visit, "queue", []).get_by_role("link", name="Cost").click()
        visit.page.wait_for_url("**/cost", wait_until="commit")
        visit.close()


def test_the_boxes_of_a_first_drawing_have_names_that_no_part_of_a_chart_has():
    boxes = re.findall(r'_(?:box|widget)\(\(?"(\w+)"', Path(first_drawing.__file__).read_text())
    own = {*boxes, *first_drawing.WIDGETS.values()}
    chart = plain.html(burn_down([(1e9, 0), (1e9 + 7200, 400_000)], 1.0, 0.1, LIGHT), "…", LIGHT)
    assert {"abreast", "toggle"} <= own
    assert not own & {name for said in re.findall(r"class='([^']*)'", chart) for name in said.split()}
