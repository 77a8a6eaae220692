"""The page where prompts are typed: what it says before, what it queues, what it shows after."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from shoestring import actions, queries
from shoestring.attempt import Pace
from shoestring.db import Database
from shoestring.executors.local import LocalExecutor
from shoestring.home import Home
from shoestring.migrate import upgrade
from shoestring.worker import Worker
from shoestring_trainer.run_dir import RunDir
from shoestring_ui.store import forget
from streamlit.testing.v1 import AppTest
from trained import take_in, trained_run

TYPED = "a red circle\n\n  <b>a blue cross</b>  "
SCRIPT = "from shoestring_ui.store import recent\nfrom shoestring_ui.views import drawing\ndrawing.section(recent())\n"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    return trained_run(tmp_path_factory.mktemp("trained"))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SHOESTRING_DB", raising=False)
    monkeypatch.delenv("SHOESTRING_HOME", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    home = Home(tmp_path, tmp_path / ".shoestring")
    upgrade(home.db_url)
    forget()
    return home


@pytest.fixture
def db(home: Home) -> Iterator[Database]:
    db = Database(home.db_url)
    yield db
    db.close()


@pytest.fixture
def run_id(home: Home, db: Database, trained: RunDir) -> int:
    return take_in(home, db, trained)


def open_page(**address: str) -> AppTest:
    forget()
    page = AppTest.from_string(SCRIPT, default_timeout=60)
    for key, value in address.items():
        page.query_params[key] = value
    page.run()
    assert not page.exception
    return page


def text(page: AppTest) -> str:
    return "\n".join(str(element.proto.body) for element in page.get("html"))


def press(page: AppTest) -> AppTest:
    page.button(key="draw").click().run()
    assert not page.exception
    return page


def test_without_a_finished_run_it_says_what_to_do_first(home: Home, db: Database):
    assert "No run has ended yet" in text(open_page()) and "shoestring work" in text(open_page(drawing="9"))


def test_what_is_typed_is_forecast_queued_drawn_and_shown_under_its_address(home: Home, db: Database, run_id: int):
    page = open_page()
    assert page.button(key="draw").disabled
    page.number_input(key="steps").set_value(2)
    page.text_area(key="prompts").set_value(TYPED).run()
    assert page.button(key="draw").label == "Draw 2 pictures" and not page.button(key="draw").disabled
    assert "class='money" in text(page) and "checkpoint of step 4" in text(page)
    assert len(queries.runs(db)) == 1  # nothing before the button

    press(page)
    drawing = queries.run(db, 2)
    assert (drawing.kind, drawing.state, drawing.parent_id) == ("drawing", "queued", run_id)
    assert drawing.config["samples"]["prompts"] == ["a red circle", "<b>a blue cross</b>"]
    assert page.query_params["drawing"] == "2"
    said = text(page)
    assert "no worker is alive: run shoestring work" in said and "&lt;b&gt;a blue cross&lt;/b&gt;" in said
    assert "<b>" not in said and said.count("<figure>") == 2 and "<img class='sample'" not in said
    press(page)  # the same words again
    assert len(queries.runs(db)) == 2

    Worker(home, db, LocalExecutor(), pace=Pace(beat_s=0.2, poll_s=0.05)).work(until_empty=True)
    said = text(open_page(drawing="2"))
    assert "✓ 2 pictures" in said and said.count("<img class='sample") == 2
    assert "run=1" in said and "seed 0, steps 2, guidance 3.0" in said


def test_a_drawing_that_runs_says_how_far_it_is_and_one_that_failed_why(home: Home, db: Database, run_id: int):
    press_with(open_page(prompts="a\nb\nc"))
    assert actions.cancel(db, 2) == "cancelled"
    assert "cancelled, 0 of 3 drawn" in text(open_page())
    (RunDir(Path(queries.run(db, run_id).run_dir)).published()[0] / "MANIFEST.json").write_text("{}")
    actions.retry(db, 2)
    Worker(home, db, LocalExecutor(), pace=Pace(beat_s=0.2, poll_s=0.05)).work(until_empty=True)
    said = text(open_page())
    assert "failed with 0 of 3 drawn" in said and "bad_checkpoint" in said and "shoestring retry 3" in said


def press_with(page: AppTest) -> AppTest:
    assert not page.button(key="draw").disabled, text(page)
    return press(page)


def test_what_cannot_be_drawn_or_paid_is_said_where_it_was_asked(home: Home, db: Database, run_id: int):
    said = open_page(prompts="x" * 301)
    assert "at most 300" in text(said) and said.button(key="draw").disabled
    assert "17 prompts: 1 to 16" in text(open_page(prompts="\n".join("abcdefghijklmnopq")))
    actions.set_budget(db, "tiny", 1e-6)
    page = press_with(open_page(prompts="a red circle"))
    assert "1 run may cost $" in text(page) and "fewer prompts or steps" in text(page)
    assert len(queries.runs(db)) == 1


def test_an_address_may_say_anything(home: Home, db: Database, run_id: int):
    press_with(open_page(prompts="a red circle"))
    for word in ("<script>", "1", "9" * 30):
        assert open_page(drawing=word).warning[0].value.endswith("this is drawing 2.")
    addresses = ("from=x", "from=-1", "steps=0", "steps=1e9", "guidance=nan", "seed=-5", "prompts=")
    for key, value in (one.split("=") for one in addresses):
        assert "no worker is alive" in text(open_page(**{key: value}))
