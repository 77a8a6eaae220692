"""Every page of the app, drawn by Streamlit itself on a real database: empty, with runs, with a failed run."""

from __future__ import annotations

import shutil
import sqlite3
import time
from pathlib import Path

import pytest
from postgres import Postgres
from projects import USD, Project
from shoestring import runs
from shoestring.home import Home
from shoestring.migrate import VERSION_TABLE, upgrade
from shoestring.tail import Point
from shoestring_ui import server
from shoestring_ui.store import forget
from streamlit.testing.v1 import AppTest

TABS = ("Samples", "System", "Stages", "Log", "Spec", "Cost by attempt", "Checkpoints", "Events")
PAGES = ("overview", "queued", "run", "compare", "samples", "sweep", "costs")

server.serve_nobody()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("SHOESTRING_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("SHOESTRING_DB", raising=False)
    forget()
    return Home.find()


@pytest.fixture(scope="module")
def new_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("new") / "shoestring.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def project(home: Home, new_database: Path) -> Project:
    home.state.mkdir()
    shutil.copy(new_database, home.state / "shoestring.db")
    return Project(home)


def draw(view: str, **address: str) -> AppTest:
    page = AppTest.from_string(f"from shoestring_ui.views import {view}\n{view}.page()\n", default_timeout=60)
    page.query_params.update(address)
    forget()  # as if two seconds had passed
    return page.run()


def text(page: AppTest) -> str:
    """Everything that the page says."""
    said = [str(e.proto.body) for e in page.get("html")] + [str(t.value) for t in page.title]
    return "\n".join([*said, *(str(m.value) for m in page.markdown), *(f.value.to_string() for f in page.dataframe)])


@pytest.mark.parametrize("view", PAGES)
def test_a_page_without_runs_says_the_next_command(project: Project, view: str):
    page = draw(view)
    assert not page.exception
    assert "shoestring submit experiments.yaml" in text(page) or "shoestring sweep run" in text(page)


@pytest.mark.parametrize("view", PAGES[:5])
def test_a_page_shows_the_first_run(project: Project, view: str):
    project.train(project.queue("dense", ratio=0.0))
    page = draw(view)
    assert not page.exception
    assert "dense/s0" in text(page) + str([w.options for w in (*page.selectbox, *page.multiselect)])


def test_every_page_reads_from_postgresql_too(home: Home, postgres: Postgres, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SHOESTRING_DB", postgres.new())
    project = Project(home)
    project.train(project.queue("dense", ratio=0.0))
    project.train(project.queue("naive"), fails="loss is nan")
    for view in PAGES:
        page = draw(view)
        assert not page.exception, view
    assert "dense/s0" in text(draw("overview"))
    for tab in TABS:
        assert not draw("run", tab=tab).exception, tab


def test_the_overview_ranks_experiments_at_equal_dollars(project: Project):
    for experiment, loss in (("dense", 0.3), ("deferred-75", 0.1)):
        for seed in (0, 1):
            project.train(project.queue(experiment, seed), loss + 0.001 * seed)
    said = text(draw("overview"))
    assert "At $0.0200 each, deferred-75 is best" in said
    assert "has the lowest val/loss" in said and "$0.0800" in said


def test_a_failed_run_shows_first_what_happened_what_it_cost_and_what_to_do(project: Project):
    run_id = project.queue("dense")
    project.train(run_id, fails="train/loss is nan at step 20")
    said = text(draw("run", run=str(run_id)))
    card = said[said.index("card failure") :]
    assert "✕ nan" in card and "train/loss is nan at step 20" in card
    assert "$0.0100" in card and f"shoestring retry {run_id}" in card


@pytest.mark.parametrize("tab", TABS)
def test_every_tab_of_a_run_opens(project: Project, tab: str):
    project.train(project.queue("dense"))
    page = draw("run", tab=tab)
    assert not page.exception
    assert "dense/s0" in text(page)


def test_a_run_that_resumed_inexactly_says_so_where_it_is_looked_at_and_compared(project: Project):
    for experiment in ("dense", "other"):
        project.train(project.queue(experiment))
    run_id = project.queue("moved")
    lease = runs.claim(project.db, project.worker, "n")
    assert lease is not None and lease.run_id == run_id
    runs.start(project.db, lease, 0)
    runs.record(project.db, lease, [Point("val/loss", 10, 0.1, 160.0, 1e9, USD / 4, 2.0)])
    runs.tell(project.db, lease, "resumed_inexact", 10, "at step 10: threads was 1, now 2", time.time())
    said = [w.value for w in draw("run", run=str(run_id)).warning]
    assert said == ["It resumed inexactly, so its numbers may differ from an uninterrupted run's: at step 10: "
                    "threads was 1, now 2."]  # fmt: skip
    assert not draw("run", run="1").warning
    (info,) = draw("compare", runs=f"1,{run_id}").info
    assert info.value.startswith(f"#{run_id} moved/s0 resumed inexactly (at step 10: threads was 1, now 2)")


def test_a_run_that_is_not_there_is_said_and_another_shown(project: Project):
    project.train(project.queue("dense"))
    page = draw("run", run="77")
    assert page.warning[0].value == "There is no run 77 here; this is run 1."


def test_the_queue_is_in_claim_order_and_says_why_runs_wait(project: Project):
    project.queue("later", seed=1)
    project.queue("sooner", seed=2, priority=5)
    first = project.queue("needed", seed=3, priority=1)
    project.queue("blocked", seed=4, depends_on=(first,))
    table = draw("queued").dataframe[0].value
    assert list(table["run"]) == ["sooner/s2", "needed/s3", "later/s1", "blocked/s4"]
    assert list(table["why"])[3] == f"waits for run {first}" and all(table["why"])


def test_curves_of_the_runs_in_the_address_are_compared(project: Project):
    for experiment, ratio in (("dense", 0.0), ("deferred-75", 0.75), ("deferred-50", 0.5)):
        project.train(project.queue(experiment, ratio=ratio))
    said = text(draw("compare", runs="2,3"))
    assert "deferred-50/s0" in said and "dense/s0" not in said
    assert "stages.0.mask.ratio" in said and "0.75" in said


def test_pictures_stand_beside_their_prompt_with_their_own_step_and_age(project: Project):
    project.train(project.queue("dense"))
    project.train(project.queue("broken"), fails="nan")
    said = text(draw("samples", runs="1,2"))
    assert said.count("data:image/png;base64") == 4
    assert "stale by $0.0100" in said and "step 40" in said
    assert "&lt;b&gt;a blue square" in said and "<b>a blue" not in said


def test_cancelling_asks_first_and_the_other_buttons_wait_for_a_choice(project: Project):
    project.queue("dense")
    page = draw("queued")
    buttons = {b.key: b.disabled for b in page.button}
    assert buttons["act-Cancel"] and buttons["act-Pause"] and buttons["act-Resume"]
    assert "A cancelled run cannot be resumed." in text(page)


def test_a_database_that_is_not_there_is_a_page_with_the_command(home: Home):
    page = AppTest.from_file(str(server.APP), default_timeout=60).run()
    assert not page.exception
    assert page.title[0].value == "The database is not ready"
    assert "shoestring db upgrade" in text(page)


def test_a_database_of_an_older_program_is_a_page_with_the_command(project: Project):
    with sqlite3.connect(project.home.state / "shoestring.db") as conn:
        conn.execute(f"UPDATE {VERSION_TABLE} SET version_num = '0007'")
    page = AppTest.from_file(str(server.APP), default_timeout=60).run()
    assert not page.exception
    assert page.title[0].value == "The database is not ready"
    assert "has schema 0007" in text(page) and "shoestring db upgrade" in text(page)


def test_the_app_draws_its_first_page(project: Project):
    project.train(project.queue("dense"))
    page = AppTest.from_file(str(server.APP), default_timeout=60).run()
    assert not page.exception
    assert "dense/s0" in text(page)


def test_the_app_is_served_on_this_machine_only():
    argv = server.streamlit_argv(8501)
    assert argv[argv.index("--server.address") + 1] == "127.0.0.1"


def test_a_sweep_shows_its_trials_its_front_and_its_map(project: Project, tmp_path: Path):
    sweep = project.sweep(tmp_path, [(0.5, 1, 0.3), (0.75, 4, 0.2), (0.9, 1, 0.4)])
    page = draw("sweep", sweep=str(sweep))
    assert not page.exception
    said = text(page)
    assert "trial 1 has the lowest val/loss, 0.2" in said and "2 of 3 trials are on the Pareto front" in said
    assert "Best val/loss 0.2 at mask.ratio 0.75, experts.count 4" in said
    assert "can afford about 2 more" in said


def test_a_sweep_with_rungs_shows_who_went_on_and_maps_its_fields_at_equal_dollars(project: Project, tmp_path: Path):
    sweep = project.sweep(tmp_path, [(0.5, 1, 0.3), (0.75, 4, 1.3)], "    rungs: {usd: [0.01, 0.02]}\n")
    page = draw("sweep", sweep=str(sweep))
    assert not page.exception
    said = text(page)
    assert "2 of 2 went on from $0.01" in said and "val/loss at $0.01" in said, said
