"""What pages do to runs and workers: only what is allowed, seen at once, refusals in their own words."""

from __future__ import annotations

import time
import uuid

import pytest
from projects import STEPS, USD, Project
from shoestring import actions, queries, runs
from shoestring.tail import Point
from shoestring_trainer.run_dir import Result
from shoestring_ui.store import forget
from shoestring_ui.verbs import VERBS
from streamlit.testing.v1 import AppTest
from test_app import draw, home, new_database, project, text  # noqa: F401  (fixtures)

# ruff: noqa: F811


def state(project: Project, run_id: int) -> str:
    return queries.run(project.db, run_id).state


def offered(page: AppTest) -> set[str]:
    return {str(b.key).removeprefix("run-") for b in page.button if str(b.key).startswith("run-")}


def press(page: AppTest, key: str) -> AppTest:
    return page.button(key=key).click().run()


def said(page: AppTest) -> str:
    return "\n".join(str(box.value) for box in (*page.error, *page.success))


def held(project: Project, run_id: int) -> runs.Lease:
    """The run in the hands of a worker."""
    lease = runs.claim(project.db, project.worker, uuid.uuid4().hex)
    assert lease is not None and lease.run_id == run_id
    runs.start(project.db, lease, 0)
    return lease


def test_a_queued_run_is_paused_resumed_and_cancelled_from_its_page(project: Project):
    run_id = project.queue("dense")
    page = draw("run", run=str(run_id))
    assert offered(page) == {"pause", "cancel"}
    page = press(page, "run-pause")
    assert state(project, run_id) == "paused" and "Run 1 is paused." in said(page) and "‖ paused" in text(page)
    assert offered(page) == {"resume", "cancel"}
    page = press(page, "run-resume")
    assert state(project, run_id) == "queued" and "○ queued" in text(page)
    page = press(page, "run-cancel")
    assert state(project, run_id) == "cancelled" and "⊘ cancelled" in text(page)
    assert offered(page) == {"retry"}


def test_cancelling_asks_once(project: Project):
    run_id = project.queue("dense")
    page = draw("run", run=str(run_id))
    button = page.button(key="run-cancel")
    assert button.label == f"Cancel run {run_id} for good"
    assert "cannot be resumed" in "".join(str(m.value) for m in page.markdown)


def test_a_run_in_a_workers_hands_is_asked_to_pause_and_the_pause_can_be_taken_back(project: Project):
    run_id = project.queue("dense")
    held(project, run_id)
    page = press(draw("run", run=str(run_id)), "run-pause")
    assert "pauses after its next checkpoint" in said(page)
    assert queries.run(project.db, run_id).want == "pause" and "resume" in offered(page)
    press(page, "run-resume")
    assert queries.run(project.db, run_id).want == "run"


def test_the_failure_card_has_a_button_that_tries_again(project: Project):
    run_id = project.queue("dense")
    project.train(run_id, fails="loss is nan")
    page = press(draw("run", run=str(run_id)), "run-retry")
    new = queries.runs(project.db)[-1]
    assert new.parent_id == run_id and f"[run {new.id}](run?run={new.id})" in said(page)
    page = press(page, "run-retry")
    assert f"had a later run already: [run {new.id}]" in said(page) and len(queries.runs(project.db)) == 2


def test_the_second_of_two_people_is_told_what_the_first_did(project: Project):
    run_id = project.queue("dense")
    first, second = draw("run", run=str(run_id)), draw("run", run=str(run_id))
    press(first, "run-cancel")
    page = press(second, "run-pause")
    assert f"Run {run_id}: run {run_id} is cancelled" in said(page) and not page.exception
    assert state(project, run_id) == "cancelled"


def spend(project: Project, cap: float | None) -> int:
    """A run that has spent two thirds of its plan and was paused for its budget."""
    run_id = project.queue("dense", max_usd=cap)
    lease = held(project, run_id)
    runs.record(project.db, lease, [Point("train/loss", 10, 0.1, 160.0, 1e9, USD / 4, 2.0)])
    actions.pause(project.db, run_id)
    runs.finish(project.db, lease, Result(lease.token, "stopped", "", "", 30), round(2 / 3 * USD * 1e6), jitter=0.0)
    assert state(project, run_id) == "paused"
    return run_id


def test_a_run_whose_money_is_spent_is_resumed_with_a_higher_cap(project: Project):
    run_id = spend(project, cap=0.012)
    page = draw("run", run=str(run_id))
    cap = page.number_input(key=f"cap-{run_id}")
    assert cap.value > 0.013
    page = press(cap.set_value(0.001).run(), "run-resume")
    assert "give it a higher cap" in said(page) and state(project, run_id) == "paused"
    page = press(page.number_input(key=f"cap-{run_id}").set_value(0.05).run(), "run-resume")
    assert state(project, run_id) == "queued" and queries.run(project.db, run_id).max_usd == 0.05


def test_a_run_that_waits_for_its_projects_money_gets_it_here(project: Project):
    run_id = spend(project, cap=None)
    actions.set_budget(project.db, "tiny", 0.01)
    page = draw("run", run=str(run_id))
    page = press(page.number_input(key=f"budget-{run_id}").set_value(1.5).run(), "run-budget")
    assert queries.budget(project.db, "tiny") == 1.5 and state(project, run_id) == "queued"
    assert "The budget of tiny is \\$1.50." in said(page)


def test_priority_and_tags_are_written_together(project: Project):
    run_id = project.queue("dense", tags=("old",))
    page = draw("run", run=str(run_id))
    page.number_input(key=f"priority-{run_id}").set_value(7)
    page.text_input(key=f"tags-{run_id}").set_value("new,  of two words ,new,")
    press(page.run(), "file")
    run = queries.run(project.db, run_id)
    assert run.priority == 7 and run.tags == ("new", "of two words")


def test_a_finished_run_has_tags_but_no_priority_and_no_verbs_but_a_clone(project: Project):
    run_id = project.queue("dense")
    project.train(run_id)
    page = draw("run", run=str(run_id))
    assert not offered(page) and not page.number_input
    assert f"new?from={run_id}" in text(page)


def test_verbs_are_offered_in_the_states_in_which_they_are_accepted(project: Project):
    """Each verb, tried on a run in each state: what is offered works, what is not offered is refused."""

    def made(name: str) -> int:
        run_id = project.queue(name, seed=len(name))
        if name == "running":
            held(project, run_id)
        elif name == "failed":
            project.train(run_id, fails="x")
        elif name == "succeeded":
            project.train(run_id)
        elif name in ("paused", "cancelled"):
            (actions.pause if name == "paused" else actions.cancel)(project.db, run_id)
        assert state(project, run_id) == name
        return run_id

    for name in ("failed", "succeeded", "paused", "cancelled", "running", "queued"):
        for verb in VERBS.values():
            run_id = made(name)
            allowed = verb.allowed(queries.run(project.db, run_id))
            try:
                verb.act(project.db, run_id)
                worked = True
            except actions.Conflict:
                worked = False
            assert worked == allowed, (name, verb.name)
            if state(project, run_id) in ("queued", "paused"):  # so that the next claim finds its own run
                actions.cancel(project.db, run_id)


def test_the_queue_acts_through_the_same_verbs_and_says_a_refusal(project: Project):
    project.queue("dense")
    page = draw("queued")
    assert {b.key: b.disabled for b in page.button if str(b.key).startswith("act-")} == {
        "act-Pause": True, "act-Resume": True, "act-Cancel": True,
    }  # fmt: skip


def test_the_queue_says_needs_attempt_next_retry_forecast_and_age(project: Project):
    run_id = project.queue("dense")
    lease = held(project, run_id)
    runs.finish(project.db, lease, Result(lease.token, "failed", "crash", "died", 10), 1000, jitter=1.0)
    forget()
    (row,) = draw("queued").dataframe[0].value.to_dict("records")
    assert row["needs"] == "this-machine, cpu" and row["attempt"].startswith("1, next in ")
    assert row["forecast"] == USD and row["p90"] == 0.022
    assert row["age"].startswith("1 min") and row["priority"] == 0


def test_a_worker_is_drained_and_stopped_from_the_queue(project: Project):
    run_id = project.queue("dense")
    held(project, run_id)
    runs.report(project.db, project.worker, run_id)
    page = press(draw("queued"), "stop")
    assert queries.workers(project.db)[0].state == "draining" and "◕ draining" in text(page)
    assert queries.run(project.db, run_id).want == "pause" and "takes no more runs" in said(page)
    assert not [b for b in page.button if b.key == "drain"]


def test_the_log_is_searched_from_its_first_line(project: Project):
    run_id = project.queue("dense")
    project.train(run_id)
    path = next((project.home.runs / f"{run_id:05d}").glob("attempts/t*/log.txt"))
    path.write_text(
        "the first line\n" + "x" * 99 + "\n" * 1 + ("filler " * 20 + "\n") * 5000 + "the \x1b[1mlast\x1b[0m line\n"
    )
    page = draw("run", run=str(run_id), tab="Log", find="THE")
    assert "2 lines contain it" in text(page)
    assert "     1  the first line" in text(page) and "the last line" in text(page)
    assert "the first line" not in text(draw("run", run=str(run_id), tab="Log"))


def test_a_run_is_compared_with_the_run_in_the_address(project: Project):
    for ratio in (0.5, 0.75):
        project.train(project.queue("dense", ratio=ratio))
    page = draw("run", run="2", tab="Spec", against="1")
    assert "stages.0.mask.ratio" in text(page) and "One field differs." in text(page)
    for bad in ("77", "x", "2"):
        page = draw("run", run="2", tab="Spec", against=bad)
        assert not page.exception and f"There is no run {bad} to compare with." in [w.value for w in page.warning]


def test_system_and_stages_have_tabs(project: Project):
    run_id = project.queue("dense")
    project.train(run_id, fails="x")
    actions.retry(project.db, run_id)
    page = draw("run", run=str(run_id), tab="System")
    assert not page.exception and "perf/images_per_s" in text(page)
    said = text(draw("run", run=str(run_id), tab="Stages"))
    assert f"0 to {STEPS}" in said and "20 of 40" in said
    assert "(this run)" in said and "#2</span>" in said


def test_an_inexact_resume_is_said_once(project: Project):
    run_id = project.queue("moved")
    lease = held(project, run_id)
    runs.record(project.db, lease, [Point("val/loss", 10, 0.1, 160.0, 1e9, USD / 4, 2.0)])
    runs.tell(project.db, lease, "resumed_inexact", 10, "at step 10: threads was 1, now 2", time.time())
    page = draw("run", run=str(run_id))
    assert len(page.warning) == 1 and not page.info


@pytest.mark.parametrize("tab", ["System", "Stages", "Spec", "Log"])
def test_a_run_that_nobody_has_begun_has_every_tab(project: Project, tab: str):
    run_id = project.queue("dense")
    assert not draw("run", run=str(run_id), tab=tab).exception
