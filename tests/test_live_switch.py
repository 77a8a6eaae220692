"""In Chromium: a paused app hears nothing from its server, a live one does; what is being typed or asked survives."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import HOW, Visit, chromium, chromium_browser, served
from playwright.sync_api import Browser, expect
from projects import Project
from shoestring import queries, runs
from shoestring.home import Home

pytestmark = pytest.mark.slow
TWO_REFRESHES_MS, PATIENT_MS = 7000, 60_000


@pytest.fixture
def chrome() -> Iterator[Browser]:
    if chromium() is None:
        pytest.skip(HOW)
    with chromium_browser() as browser:
        yield browser


@pytest.fixture
def project(tmp_path: Path, migrated: Path) -> Project:
    home = Home(tmp_path, tmp_path / "state")
    home.state.mkdir()
    shutil.copy(migrated, home.state / "shoestring.db")
    return Project(home)


def test_the_switch_stops_every_refresh_and_a_question_outlives_them(chrome: Browser, project: Project):
    run_id = project.queue("dense")
    lease = runs.claim(project.db, project.worker, uuid.uuid4().hex)
    assert lease is not None
    runs.start(project.db, lease, 0)
    with served(env={"SHOESTRING_HOME": str(project.home.state)}) as server:
        visit, heard = Visit(chrome, server.url), list[int]()
        page = visit.page
        page.on("websocket", lambda socket: socket.on("framereceived", lambda _: heard.append(1)))
        visit.open(f"run?run={run_id}")
        page.get_by_role("button", name="Cancel").first.click()
        sure = page.get_by_role("button", name=f"Cancel run {run_id} for good")
        expect(sure).to_be_visible(timeout=PATIENT_MS)
        before = len(heard)
        page.wait_for_timeout(TWO_REFRESHES_MS)
        assert len(heard) > before
        expect(sure).to_be_visible(timeout=PATIENT_MS)
        sure.click()
        expect(page.get_by_text(f"Run {run_id} stops: its worker was asked to.")).to_be_visible(timeout=PATIENT_MS)
        assert queries.run(project.db, run_id).want == "cancel"
        visit.open(f"run?run={run_id}&live=false")
        page.wait_for_timeout(1000)
        before = len(heard)
        page.wait_for_timeout(TWO_REFRESHES_MS)
        assert len(heard) == before
        page.get_by_test_id("stTopNavLink").get_by_text("Queue", exact=True).click()
        expect(page.get_by_role("heading", name="Queue and workers")).to_be_visible(timeout=PATIENT_MS)
        assert "live=false" in page.url and visit.faults() == []
        visit.close()
