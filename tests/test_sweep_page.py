"""What can be done to a sweep from its page: the buttons write what the commands write, and say what came of it."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from projects import Project
from shoestring import actions, queries, runs
from shoestring.rungs import REASON
from shoestring_trainer.run_dir import Result
from streamlit.testing.v1 import AppTest
from test_app import draw, home, new_database, project, text  # noqa: F401  (fixtures)

RATIO, EXPERTS = "stages.0.mask.ratio", "model.experts.count"


@pytest.fixture
def swept(project: Project, tmp_path: Path) -> Project:  # noqa: F811
    project.sweep(tmp_path, [(0.5, 1, 0.3), (0.75, 4, 0.2), (0.9, 1, 0.4)])
    return project


def press(page: AppTest, key: str) -> AppTest:
    page = page.button(key=key).click().run()
    assert not page.exception
    return page


def said(page: AppTest) -> str:
    return "\n".join(str(one.value) for one in (*page.success, *page.error))


def test_stop_asks_once_then_proposes_no_more(swept: Project):
    page = draw("sweep")
    assert "Those in flight train to their end" in text(page)
    page = press(page, "stop-1")
    assert queries.sweeps(swept.db)[0].state == "stopped" and "Sweep masks is stopped" in said(page)
    assert "stopped" in text(page)


def test_a_stop_that_comes_too_late_says_so(swept: Project):
    page = draw("sweep")
    actions.stop_sweep(swept.db, 1)
    assert "stopped already" in said(press(page, "stop-1"))


def test_the_cap_is_extended_and_one_that_is_spent_already_is_refused(swept: Project):
    page = draw("sweep")
    page.number_input(key="cap-1-usd").set_value(0.5)
    page = press(page, "cap-1")
    assert queries.sweeps(swept.db)[0].max_usd == 0.5 and "may cost \\$0.5000" in said(page)
    page.number_input(key="cap-1-usd").set_value(0.001)
    assert "has spent" in said(press(page, "cap-1")) and queries.sweeps(swept.db)[0].max_usd == 0.5


def test_a_point_begins_at_the_best_trial_is_checked_and_asked_for_once(swept: Project):
    page = draw("sweep")
    ratio = page.number_input(key=f"point-1-{RATIO}")
    assert (ratio.value, ratio.min, ratio.max) == (0.75, 0.0, 0.9)
    assert page.selectbox(key=f"point-1-{EXPERTS}").value == 4
    assert "trial 1 of sweep masks has these values" in said(press(page, "point-1"))
    page.number_input(key=f"point-1-{RATIO}").set_value(0.6)
    assert "tried next" in said(press(page, "point-1"))
    assert list(queries.asked_points(swept.db, 1).values()) == [{RATIO: 0.6, EXPERTS: 4}]


@pytest.mark.parametrize(("asked", "shown"), [("", 1), ("0", 0), ("99", 1), ("x", 1)])
def test_the_address_says_which_trial_is_looked_at_else_it_is_the_best(swept: Project, asked: str, shown: int):
    page = draw("sweep", trial=asked)
    assert not page.exception
    assert page.selectbox(key="steer-trial").value == shown
    run_id = queries.trials(swept.db, 1)[shown].run_id
    assert f"new?from={run_id}" in text(page) and (f"compare?runs={run_id}," in text(page)) == (shown != 1)
    page.selectbox(key="steer-trial").select(2).run()
    assert page.query_params["trial"] == "2"


def test_a_trial_that_waits_at_a_rung_is_promoted_by_hand(project: Project, tmp_path: Path):  # noqa: F811
    sweep_id = project.sweep(tmp_path, [(0.5, 1, 0.3)], rungs="    rungs: {usd: [0.01, 0.02]}\n")
    run_id = project.queue("t1", kind="trial", sweep_id=sweep_id)
    actions.propose_trial(project.db, sweep_id, 1, {RATIO: 0.75, EXPERTS: 4}, run_id)
    lease = runs.claim(project.db, project.worker, uuid.uuid4().hex)
    assert lease is not None
    runs.start(project.db, lease, 0)
    runs.rest(project.db, lease, REASON)
    runs.finish(project.db, lease, Result(lease.token, "stopped", "", "", 20), 10_000)
    assert queries.run(project.db, run_id).state == "paused"
    page = press(draw("sweep", trial="1"), f"promote-{run_id}")
    assert "Trial 1 goes on to its next rung" in said(page)
    assert queries.run(project.db, run_id).state == "queued" and queries.promotions(project.db, [run_id]) == {run_id: 1}
    assert f"promote-{run_id}" not in [b.key for b in page.button]


def test_a_sweep_without_a_trial_can_be_asked_for_its_first(project: Project, tmp_path: Path):  # noqa: F811
    project.sweep(tmp_path, [])
    page = draw("sweep")
    assert not page.exception and "No trial yet" in text(page)
    press(page, "point-1")
    assert list(queries.asked_points(project.db, 1).values()) == [{RATIO: 0.0, EXPERTS: 1}]
