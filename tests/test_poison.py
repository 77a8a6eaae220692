"""One poisonous row does not stop the queue, nor a page: rows are really damaged, by SQL."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
from shoestring import actions, queries, runs
from shoestring.cli.main import app
from shoestring.db import Database
from shoestring.dispatcher import MARK
from shoestring.errors import Conflict
from shoestring.executors.local import LocalExecutor
from shoestring.home import Home
from shoestring.standings import measured_on, standings
from shoestring.worker import Worker
from shoestring_trainer import config as c
from sqlalchemy import text
from test_app import Project, draw, home, new_database, project
from test_app import text as said_on
from test_dispatcher import dispatcher, idle, slurm
from test_worker import QUICK, script
from typer.testing import CliRunner

__all__ = ["home", "idle", "new_database", "project", "slurm"]  # fixtures
NOW = 1_000_000.0
SUCCEED = (
    "from pathlib import Path\nfrom shoestring_trainer.run_dir import Result, RunDir\n"
    "RunDir(Path(run_dir)).write_result(Result(token, 'succeeded', '', '', 100))"
)


def config(row: str, **changes: object) -> str:
    """The stored config `row` with fields changed, as JSON."""
    return json.dumps({**json.loads(row), **changes})


# name → (the config as it is then, from the one that was stored; what the sentence says of it)
DAMAGES: dict[str, tuple[Callable[[str], str], str]] = {
    "null": (lambda row: "null", "it is null, not a mapping"),
    "a list": (lambda row: "[1, 2]", "it is a list, not a mapping"),
    "text": (lambda row: '"x"', "it is text, not a mapping"),
    "empty": (lambda row: "{}", "Field required"),
    "a field is gone": (lambda row: json.dumps({k: v for k, v in json.loads(row).items() if k != "seed"}), "seed: "),
    "a field of a newer program": (lambda row: config(row, telepathy=1), "telepathy: Extra inputs are not permitted"),
    "an impossible value": (lambda row: config(row, batch_size=-4), "batch_size: Input should be greater than"),
    "stages are text": (lambda row: config(row, stages="abc"), "stages is text, not a list"),
    "a stage is null": (lambda row: config(row, stages=[None]), "stages.0 is null, not a mapping"),
    "no price": (lambda row: config(row, price=None), "price is null, not a mapping"),
    "a price in words": (lambda row: config(row, price={"usd_per_hour": "dear"}), "price.usd_per_hour is text"),
    "a list as deep as the sea": (lambda row: "[" * 3000 + "]" * 3000, "it is no JSON (maximum recursion depth"),
    "a lone surrogate": (lambda row: config(row, name="\ud800"), "surrogate"),
}
NO_JSON = {  # which PostgreSQL does not take
    "cut off": ("'{\"name\": '", "it is no JSON (Expecting value"),
    "nothing": ("''", "it is no JSON (Expecting value"),
    "bytes": ("X'ff00'", "it is no JSON ("),
    "text that is no UTF-8": ("CAST(X'22ff22' AS TEXT)", "it is text, not a mapping"),
}


def damage(db: Database, run_id: int, name: str) -> None:
    with db.write() as conn:
        if name in NO_JSON:
            conn.exec_driver_sql(f"UPDATE runs SET config = {NO_JSON[name][0]} WHERE id = {run_id}")
            return
        as_text = "CAST(config AS TEXT)"
        stored = conn.exec_driver_sql(f"SELECT {as_text} FROM runs WHERE id = {run_id}").scalar_one()
        into = "CAST(:new AS JSON)" if conn.dialect.name == "postgresql" else ":new"
        new = DAMAGES[name][0](stored)
        conn.execute(text(f"UPDATE runs SET config = {into} WHERE id = :id"), {"new": new, "id": run_id})


@pytest.fixture
def here(db: Database, tmp_path: Path) -> Home:
    return Home(root=tmp_path, state=tmp_path / "state")


@pytest.fixture
def damaged(db: Database, enqueue) -> dict[int, str]:
    """run → how it was damaged; they are all before the good ones."""
    names = [*DAMAGES, *(NO_JSON if db.path else ())]
    made = {enqueue(f"poison/{i}", priority=9): name for i, name in enumerate(names)}
    for run_id, name in made.items():
        damage(db, run_id, name)
    return made


def test_poisonous_rows_are_quarantined_one_by_one_and_the_good_ones_are_trained(db, enqueue, damaged, here):
    good, after = enqueue("good"), enqueue("after", depends_on=(next(iter(damaged)),))
    newer, nowhere = enqueue("newer", priority=8), enqueue("nowhere", priority=8)
    with db.write() as conn:
        conn.exec_driver_sql(f"UPDATE runs SET spec_version = 99 WHERE id = {newer}")
        conn.exec_driver_sql(f"UPDATE runs SET run_dir = '' WHERE id = {nowhere}")
    done = Worker(here, db, script(SUCCEED), pace=QUICK).work(until_empty=True)
    assert dict(done.states) == {"failed": len(damaged) + 2, "succeeded": 1}
    assert queries.run(db, good).state == "succeeded"
    wanted = {run_id: (DAMAGES | NO_JSON)[name][1] for run_id, name in damaged.items()}
    wanted |= {newer: "it has version 99, and this program knows versions up to 1", nowhere: "no absolute path"}
    for run_id, words in wanted.items():
        run = queries.run(db, run_id)
        assert (run.state, run.failure_class, run.failures, run.attempts) == ("failed", "poisonous", 1, 0)
        assert words in run.failure_detail and "--again" in run.failure_detail, damaged.get(run_id)
        event = queries.events(db, run_id)[-1]
        assert (event.kind, event.detail["failure_class"]) == ("failed", "poisonous")
        with pytest.raises(Conflict, match="cannot be retried") as caught:
            actions.retry(db, run_id)
        assert "--again" in caught.value.hint
    assert queries.run(db, after).failure_class == "dependency_failed"  # and nothing waits for ever behind one
    assert not (here.root / "config.json").exists()


def test_a_poisonous_row_is_shown_with_what_is_known_before_and_after_it_is_claimed(db, enqueue, damaged):
    runs.register(db, runs.new_worker_id(), "cpu", 0.1, now=NOW)
    for _ in range(2):
        every = {run.id: run for run in queries.runs(db)}
        assert every.keys() >= damaged.keys() and queries.totals(db).n_runs == len(every)
        for run_id in damaged:
            run = queries.run(db, run_id)
            assert run == every[run_id] == queries.find_run(db, run.name)
            assert (run.experiment, run.project, run.n_steps) == ("poison", "emoji", 100)
            assert isinstance(queries.why_waiting(db, run, now=NOW), str) and isinstance(measured_on(run), str)
            assert queries.speed_ups(db, run_id) == [] and queries.attempts(db, run_id) == []
            assert json.dumps(asdict(run))
        assert standings(db, list(every.values())).places == ()
        for run_id in damaged:
            actions.tag(db, run_id, ["seen"])
            actions.cancel(db, run_id) if run_id % 2 and every[run_id].state == "queued" else None


def test_what_of_a_row_cannot_be_read_is_named_and_what_trains_is_trained(db, enqueue, here):
    run_id = enqueue()
    with db.write() as conn:
        conn.exec_driver_sql("UPDATE runs SET plan = '[]', tags = '{}', provenance = '\"x\"'")
    run = queries.run(db, run_id)
    assert (run.plan, run.tags, run.provenance) == ({}, (), {}) and c.TrainConfig.model_validate(run.config)
    assert run.unreadable == (
        "plan: it is a list, not a mapping; provenance: it is text, not a mapping; tags: it is a mapping, not a list"
    )
    assert dict(Worker(here, db, script(SUCCEED), pace=QUICK).work(until_empty=True).states) == {"succeeded": 1}


def test_a_poisonous_run_that_is_to_be_tried_again_keeps_no_worker_waiting(db, enqueue, here):
    run_id = enqueue()
    failing = script("raise SystemExit(3)")
    assert dict(Worker(here, db, failing, pace=QUICK).work(idle_exit_s=0).states) == {"queued": 1}
    with db.write() as conn:
        conn.exec_driver_sql("UPDATE runs SET config = 'null', run_after = 0")
    assert dict(Worker(here, db, LocalExecutor(), pace=QUICK).work(until_empty=True).states) == {"failed": 1}
    assert queries.run(db, run_id).failure_class == "poisonous"


def test_events_sweeps_and_trials_of_a_damaged_row_are_there_without_what_cannot_be_read(db, enqueue):
    run_id = enqueue()
    with db.write() as conn:
        conn.exec_driver_sql("UPDATE events SET detail = '[]'")
        conn.exec_driver_sql(
            "INSERT INTO sweeps (name, project, spec, spec_hash, created_at) VALUES ('s', 'p', 'null', 'h', 0)"
        )
        conn.exec_driver_sql(
            f"INSERT INTO trials (sweep_id, number, run_id, params, results) VALUES (1, 0, {run_id}, '[]', '[\"x\"]')"
        )
    assert [event.detail for event in queries.events(db)] == [{}]
    assert [sweep.spec for sweep in queries.sweeps(db)] == [{}]
    assert [(trial.params, trial.values) for trial in queries.trials(db, 1)] == [({}, ())]


def test_a_run_whose_row_went_bad_after_its_job_had_begun_is_left_to_that_job(db, enqueue, here):
    begun, waiting = enqueue("begun"), enqueue("waiting")
    ask = "from shoestring import runs; print(runs.new_worker_id(), end='')"
    ended = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True).stdout
    for run_id in (begun, waiting):
        lease = runs.claim(db, MARK + ended, f"n{run_id}")
        assert lease.run_id == run_id
        if run_id == begun:
            runs.start(db, lease, 0, engine="slurm", handle="7")
        damage(db, run_id, next(iter(DAMAGES)))
    dispatcher(here, db)._adopt()
    assert [queries.run(db, run_id).state for run_id in (begun, waiting)] == ["running", "failed"]


@pytest.mark.slow
def test_a_dispatcher_fails_poisonous_rows_and_submits_nothing_for_them(idle, db, damaged, here):
    dispatcher(here, db, partition="main").work(until_empty=True)
    assert {queries.run(db, run_id).failure_class for run_id in damaged} == {"poisonous"}
    assert idle.jobs(here.runs) == []


def test_every_page_and_status_show_the_others_beside_poisonous_rows(project: Project):
    project.train(project.queue("good"))
    poison = {project.queue(f"poison-{i}"): name for i, name in enumerate([*DAMAGES, *NO_JSON])}
    for run_id, name in poison.items():
        damage(project.db, run_id, name)
    for view in ("overview", "queued", "run", "compare", "samples"):
        page = draw(view)
        assert not page.exception, view
        assert "good/s0" in said_on(page) + str([w.options for w in (*page.selectbox, *page.multiselect)])
    for run_id, name in poison.items():
        page = draw("run", run=str(run_id))
        assert not page.exception and "poison-" in said_on(page), name
        said = CliRunner().invoke(app, ["status", str(run_id)])
        assert said.exit_code == 0 and "poison-" in said.output, name
    for argv in (["status"], ["status", "--json"]):
        said = CliRunner().invoke(app, argv)
        assert said.exit_code == 0 and said.output.count("poison-") >= len(poison)
