"""The top of every page: money, workers, and the switch that stops what moves by itself."""

from __future__ import annotations

import time

import pytest
from projects import USD, Project
from shoestring import actions, queries
from shoestring.pulse import Meter
from shoestring_ui import server
from shoestring_ui.masthead import pulse_words
from streamlit.testing.v1 import AppTest
from test_app import home, new_database, project, text  # noqa: F401  (fixtures)

# ruff: noqa: F811


def app(**address: str) -> AppTest:
    page = AppTest.from_file(str(server.APP), default_timeout=60)
    page.query_params.update(address)
    return page.run()


def test_the_pulse_is_the_sum_of_what_runs_spent_and_who_beats(project: Project):
    project.train(project.queue("dense"))
    project.train(project.queue("other"), fails="x")
    actions.set_budget(project.db, "tiny", 0.5)
    actions.set_budget(project.db, "empty", 0.25)
    pulse = queries.pulse(project.db)
    assert pulse.meters == (Meter("tiny", 1.5 * USD, 0.5), Meter("empty", 0.0, 0.25))
    assert (pulse.n_alive, pulse.usd_per_hour) == (1, 0.1)
    assert queries.pulse(project.db, now=time.time() + 61).n_alive == 0


def test_money_is_amber_and_names_are_escaped(project: Project):
    project.train(project.queue("dense"))
    said = pulse_words(queries.pulse(project.db))
    assert "spent, no cap" in said and "<span class='money mono'>$0.0200</span>" in said and "class='bar'" not in said
    actions.set_budget(project.db, "tiny", 0.04)
    said = pulse_words(queries.pulse(project.db))
    assert "width:50.0%" in said and "1 worker alive" in said
    actions.set_budget(project.db, "<b>", 1)
    actions.set_budget(project.db, "c", 1)
    said = pulse_words(queries.pulse(project.db))
    assert "<b>" not in said and "&lt;b&gt;" in said and "and 1 more" in said


def test_every_page_has_it_and_it_can_be_paused_in_the_address(project: Project):
    project.queue("dense")
    page = app()
    assert not page.exception and "class='pulse'" in text(page)
    assert page.toggle(key="live").value
    still = app(live="false")
    assert not still.exception and not still.toggle(key="live").value


@pytest.mark.parametrize("address", [{}, {"live": "false"}, {"live": "garbage"}])
def test_a_paused_app_refreshes_nothing_by_itself(project: Project, address: dict[str, str]):
    project.queue("dense")
    page = AppTest.from_string(
        "import streamlit as st\n"
        "from shoestring_ui import masthead, pace\n"
        "masthead.draw()\n"
        "st.text(str(pace.is_live()))\n",
        default_timeout=60,
    )
    page.query_params.update(address)
    page.run()
    assert not page.exception
    paused = address.get("live") == "false"
    assert page.text[0].value == str(not paused)
    page.toggle(key="live").set_value(paused).run()
    assert page.text[0].value == str(paused)
