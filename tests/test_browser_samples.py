"""The samples in Chromium: the keys that walk through them, the swipe between two runs, the contact sheet."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import HOW, PATIENCE_MS, Visit, chromium, chromium_browser, served
from PIL import Image
from playwright.sync_api import Page, expect
from projects import Project
from shoestring.home import Home
from shoestring_trainer.run_dir import RunDir

pytestmark = pytest.mark.browser


@pytest.fixture
def visit(tmp_path: Path, migrated: Path) -> Iterator[Visit]:
    """A window on a project of two runs with pictures at steps 10, 20 and 40."""
    expect.set_options(timeout=PATIENCE_MS)
    if chromium() is None:
        pytest.skip(HOW)
    home = Home(tmp_path, tmp_path / "state")
    home.state.mkdir()
    shutil.copy(migrated, home.state / "shoestring.db")
    project = Project(home)
    for name in ("dense", "naive"):
        run_id = project.queue(name)
        project.train(run_id)
        for step in (10, 20):
            project.pictures(RunDir(home.runs / f"{run_id:05d}"), step)
    env = {"SHOESTRING_HOME": str(home.state), "SHOESTRING_DB": home.db_url}
    with served(env=env) as server, chromium_browser() as browser:
        window = Visit(browser, server.url)
        yield window
        window.close()


def shows(page: Page, step: int) -> None:
    expect(page.get_by_text(f"step {step} ")).not_to_have_count(0)
    expect(page.locator(".takeaway")).to_contain_text(f"${step / 2000:.4f}" if step > 10 else "$0.00500")


def test_keys_walk_through_the_pictures_two_runs_are_swiped_and_the_sheet_is_a_picture(visit: Visit):
    page = visit.open("samples?runs=1,2")
    shows(page, 40)
    for key, step in (("ArrowLeft", 20), ("ArrowLeft", 10), ("ArrowRight", 20)):
        page.keyboard.press(key)
        shows(page, step)
    assert "usd=0.01" in page.url
    number = page.get_by_role("spinbutton", name="Exactly")
    number.click()
    page.keyboard.press("ArrowLeft")  # moves the caret
    handle = page.get_by_test_id("stMain").get_by_role("slider").first
    handle.press("ArrowRight")  # one place, not two
    shows(page, 40)
    handle.press("ArrowLeft")
    shows(page, 20)
    with page.expect_download() as asked:
        page.get_by_role("button", name="Contact sheet, PNG").click()
    with Image.open(io.BytesIO(Path(asked.value.path()).read_bytes())) as sheet:
        assert sheet.format == "PNG" and sheet.getpixel((sheet.width - 60, sheet.height - 140)) == (255, 0, 0)
    page.get_by_test_id("stMain").get_by_text("two to swipe", exact=True).click()
    expect(page.locator(".pair figure")).to_have_count(2)
    page.wait_for_url("**layout=*")
    slider = page.locator(".pair input[type=range]")
    slider.press("ArrowRight")
    expect(page.locator(".pair")).to_have_attribute("style", "--cut: 51%;")
    expect(slider).to_have_value("51")
    assert "usd=0.01" in page.url
    picture = page.locator(".pair .over").first.bounding_box()
    assert picture is not None
    page.mouse.move(picture["x"] + picture["width"] / 4, picture["y"] + 20)
    expect(slider).to_have_value("25")
    page.locator("h1").click()
    page.keyboard.press("ArrowLeft")
    shows(page, 10)
    expect(slider).to_have_value("25")  # the cut stays where it was put
    assert visit.faults() == []


def test_who_drew_what_can_be_read_however_far_the_page_was_moved(visit: Visit):
    page = visit.open("samples?runs=1,2")
    head, last = page.locator("table.matrix thead th").last, page.locator("table.matrix tbody tr").last
    page.set_viewport_size({"width": 1280, "height": 400})
    last.scroll_into_view_if_needed()
    expect(head).to_be_in_viewport(ratio=1)
    top, picture = head.bounding_box(), last.locator("img").first.bounding_box()
    assert top and picture and top["y"] >= page.get_by_test_id("stHeader").bounding_box()["height"] - 1
    assert picture["y"] >= top["y"], "the pictures lie under their head, and it under the navigation"
    page.set_viewport_size({"width": 390, "height": 844})
    assert visit.faults() == []
