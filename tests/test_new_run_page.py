"""The page for new runs: mistakes where they stand, dollars before submission, once into the queue, a run cloned."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import doors
import pytest
from shoestring import actions, queries
from shoestring.db import Database
from shoestring.home import Home
from shoestring.plan import plan_file
from shoestring.prices import read_prices
from shoestring.tables import runs
from shoestring_ui import priced, words
from sqlalchemy import update
from streamlit.testing.v1 import AppTest
from test_app import draw, new_database, text  # noqa: F401  (a fixture)

BAD = doors.GOOD.replace("preset: nano", "preset: nan").replace("lr: 1e-3", "lrr: 1e-3")


@pytest.fixture
def root(tmp_path: Path, new_database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: F811
    """A project's folder, which is also where the app runs."""
    monkeypatch.delenv("SHOESTRING_DB", raising=False)
    monkeypatch.delenv("SHOESTRING_HOME", raising=False)
    doors.project(tmp_path)
    (tmp_path / ".shoestring").mkdir()
    shutil.copy(new_database, tmp_path / ".shoestring" / "shoestring.db")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def db(root: Path) -> Database:
    return Database(Home.find(root).db_url)


def said(page: AppTest) -> str:
    """Everything that the page says, its messages too."""
    boxes = (*page.error, *page.warning, *page.info, *page.success)
    return "\n".join([text(page), *(str(box.value) for box in boxes)])


def write(page: AppTest, content: str) -> AppTest:
    return page.text_area[0].set_value(content).run()


def press(page: AppTest, key: str) -> AppTest:
    return page.button(key=key).click().run()


def test_it_begins_with_the_projects_experiments_and_prices_them(root: Path, db: Database):
    page = draw("new_run")
    assert not page.exception
    assert page.text_area[0].value == doors.GOOD
    (table,) = (frame.value for frame in page.dataframe)
    assert list(table["run"]) == ["a/s0"] and list(table["queue"]) == ["new"]
    for what in ("dollars", "time", "memory"):
        assert all(f"{what} {part}" in table for part in ("p10", "p50", "p90"))
    assert 0 < table["dollars p10"][0] < table["dollars p50"][0] < table["dollars p90"][0]
    assert page.button(key="submit").label == "Submit 1 new run" and not queries.runs(db)


def test_what_is_submitted_is_in_the_queue_once_however_often_it_is_pressed(root: Path, db: Database):
    page = press(draw("new_run"), "submit")
    (run,) = queries.runs(db)
    assert run.name == "a/s0" and run.provenance["data_digest"] == "d" * 64
    assert "1 new in the queue" in said(page) and "run?run=1" in said(page)
    assert page.button(key="submit").disabled
    again = draw("new_run")
    assert "Nothing new: every run of this spec is there already." in said(again)
    assert "run?run=1" in said(again) and again.button(key="submit").disabled


def test_two_people_who_submit_the_same_text_make_one_run(root: Path, db: Database):
    first, second = draw("new_run"), draw("new_run")
    for page in (first, second):
        assert not press(page, "submit").exception
    assert len(queries.runs(db)) == 1


def test_every_mistake_stands_at_its_line_in_the_words_of_the_command(root: Path):
    page = write(draw("new_run"), BAD)
    faults = doors.faults(root, BAD)
    assert len(faults) >= 2
    shown = said(page)
    for fault in faults:
        assert f"<span class='mono'>{fault['line']}:{fault['col']}</span>" in shown
        assert words.prose(fault["message"]) in shown and words.prose(fault["hint"]) in shown
        assert f"<code>{fault['path']}</code>" in shown
    assert "did you mean <code>nano</code>" in shown
    assert not [b for b in page.button if b.key == "submit"]


def test_what_the_budget_cannot_pay_is_refused_with_the_numbers(root: Path, db: Database):
    page = write(draw("new_run"), doors.GOOD.replace("data: tiny", "data: tiny\nbudget: {max_usd: 1e-6}"))
    assert "Refused: 1 run may cost" in said(page) and "is \\$1e-06" in said(page)
    assert page.button(key="submit").disabled and queries.budget(db, "tiny") is None
    actions.set_budget(db, "tiny", 1e-6)
    page = draw("new_run")
    assert "Refused: 1 run may cost" in said(page) and page.button(key="submit").disabled


def test_the_budget_that_is_asked_is_the_one_that_is_left(root: Path, db: Database):
    page = write(draw("new_run"), doors.GOOD.replace("data: tiny", "data: tiny\nbudget: {max_usd: 5}"))
    assert "of $5.00" in said(page)
    press(page, "submit")
    assert queries.budget(db, "tiny") == 5.0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "Nothing to plan yet"),
        ("version: 1\n" + "# x\n" * 300_000, "the file is larger than 256 KiB"),
        ("a: &a [x, x]\nb: [*a, *a]\nc: [*b, *b]\n", "anchor &amp;a is not allowed"),
        ("version: 1\n\tproject: x\n", "indent with spaces, not tabs"),
        ("version: 1\nproject: \u202ex\n", "U+202E"),
        ("[" * 5000, "nested deeper than 32 levels"),
        ("just words", "the top of the file must be a mapping"),
        (doors.GOOD.replace("data: tiny", "data: elsewhere"), "is not built"),
        (doors.GOOD.replace("data: tiny", "data: tiny\nhardware: abacus"), "no price row is called"),
    ],
    ids=["nothing", "1-MB", "aliases", "tabs", "direction", "deep", "words", "no-data", "no-price"],
)
def test_any_text_has_an_answer_and_no_traceback(root: Path, content: str, words: str):
    page = write(draw("new_run"), content)
    assert not page.exception
    assert words in said(page)
    assert not [b for b in page.button if b.key == "submit" and not b.disabled]


def test_what_its_hardware_cannot_hold_is_said_with_both_numbers(root: Path):
    plan, prices = plan_file(root / "experiments.yaml"), read_prices(root)
    assert priced.too_large(plan, prices) == []
    small = prices["this-machine"].model_copy(update={"memory_gb": 0.01})
    (line,) = priced.too_large(plan, {"this-machine": small})
    assert line.startswith("a/s0 likely does not fit: it needs ") and line.endswith("this-machine has 0.01 GB.")


def test_a_set_that_is_only_described_is_priced_and_not_submitted(root: Path, db: Database):
    described = "{space: pixels, shape: [3, 16, 16], size_px: 16, n_train: 9, caption_dim: 32, caption_tokens: 3}"
    page = write(draw("new_run"), doors.GOOD.replace("data: tiny", f"data: later\nsets: {{later: {described}}}"))
    assert "not built yet: data/later" in said(page)
    page = press(page, "submit")
    assert "is described in the file, not built" in said(page) and not queries.runs(db)


def test_a_spec_file_that_is_no_text_is_said(root: Path):
    (root / "experiments.yaml").write_bytes(b"experiments:\n  caf\xe9: {}\n")
    page = draw("new_run")
    assert not page.exception
    assert "byte 0xe9 is not UTF-8" in said(page) and page.text_area[0].value == ""


def test_only_files_of_the_project_are_offered(root: Path, tmp_path_factory: pytest.TempPathFactory):
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret.yaml").write_text("experiments: {}\n")
    os.symlink(outside / "secret.yaml", root / "linked.yaml")
    (root / "studies").mkdir()
    (root / "studies" / "paper.yaml").write_text(doors.GOOD.replace("project: tiny", "project: paper"))
    (root / "prices.yaml").write_text("{}\n")
    page = draw("new_run", file="../secret.yaml")
    assert not page.exception
    assert page.selectbox(key="file").options == ["experiments.yaml", "studies/paper.yaml", "an empty page"]
    assert "project: paper" in draw("new_run", file="studies/paper.yaml").text_area[0].value


def test_a_clone_submitted_unchanged_is_the_same_run_and_changed_another(root: Path, db: Database):
    press(draw("new_run"), "submit")
    page = draw("new_run", **{"from": "1"})
    assert not page.exception and "A copy of" in said(page)
    assert "seed: 0" in page.text_area[0].value
    assert "Nothing new: every run of this spec is there already." in said(page)
    press(write(page, page.text_area[0].value.replace("seed: 0", "seed: 5")), "submit")
    assert [run.seed for run in queries.runs(db)] == [0, 5]


def test_a_clone_of_a_run_of_other_code_says_that_it_is_another_run(root: Path, db: Database):
    press(draw("new_run"), "submit")
    assert "has changed since" not in said(draw("new_run", **{"from": "1"}))
    spec = queries.run(db, 1).spec | {"code_digest": "0" * 64}
    with db.write() as conn:
        conn.execute(update(runs).where(runs.c.id == 1).values(spec=spec))
    assert "The trainer's code has changed since" in said(draw("new_run", **{"from": "1"}))


def test_markdown_shows_a_message_as_it_is():
    assert words.in_markdown("run 3 has spent $0.01 of max_usd $0.02: `a_b $x` <b>") == (
        "run 3 has spent \\$0.01 of max\\_usd \\$0.02: `a_b $x` \\<b\\>"
    )


@pytest.mark.parametrize("asked", ["77", "0", "-1", "x/y", "9" * 40, "<b>"])
def test_a_run_that_cannot_be_cloned_is_said_and_the_page_goes_on(root: Path, asked: str):
    page = draw("new_run", **{"from": asked})
    assert not page.exception
    assert "There is no run" in said(page).replace("there is", "There is")
    assert page.text_area[0].value == doors.GOOD
