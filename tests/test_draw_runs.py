"""Pictures as a run of the queue: submitted, drawn by a real worker, killed, resumed, paid for, and kept apart."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import doors
import pytest
from shoestring import actions, forecasts, migrate, queries, tracking
from shoestring.attempt import Pace
from shoestring.db import Database
from shoestring.draw_plan import Order, plan_drawing
from shoestring.errors import BudgetRefused, Conflict, ShoestringError, UsageError
from shoestring.executors.local import LocalExecutor
from shoestring.home import Home
from shoestring.standings import standings
from shoestring.worker import Worker
from shoestring_trainer.run_dir import RunDir
from trained import take_in, trained_run

PROMPTS = ("a red circle", "a small orange house", "a blue cross")
FEW = ["--seed", "5", "--steps", "2"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run of four steps, to be copied into each test's project."""
    return trained_run(tmp_path_factory.mktemp("trained"))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, either: str) -> Home:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(tmp_path)
    home = Home(root=tmp_path, state=tmp_path / ".shoestring")
    migrate.upgrade(home.db_url)
    return home


@pytest.fixture
def db(home: Home) -> Iterator[Database]:
    db = Database(home.db_url)
    yield db
    db.close()


@pytest.fixture
def run_id(home: Home, db: Database, trained: RunDir) -> int:
    """A finished run with a checkpoint."""
    return take_in(home, db, trained)


def plan(home: Home, db: Database, run_id: int, *prompts: str, **how: object):
    return plan_drawing(home, queries.run(db, run_id), Order(prompts or PROMPTS, **{"n_steps": 2, "seed": 5, **how}))


def work(home: Home, db: Database) -> dict[str, int]:
    pace = Pace(beat_s=0.2, poll_s=0.05)
    return dict(Worker(home, db, LocalExecutor(), pace=pace).work(until_empty=True).states)


def pictures(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.png")}


def steps_recorded(db: Database, run_id: int) -> list[int]:
    return queries.series(db, [run_id], "progress/images")[0].step


def asked(*extra: str) -> list[str]:
    return ["sample", "1", *(word for prompt in PROMPTS for word in ("-p", prompt)), *FEW, *extra]


def test_what_is_typed_is_queued_drawn_by_a_worker_and_equals_what_is_drawn_at_once(
    home: Home, db: Database, run_id: int
) -> None:
    said = doors.accepted(*asked("--queue"))
    assert (said["run_id"], said["existed"], said["state"], said["draws_from"]) == (2, False, "queued", run_id)
    assert said["usd"]["p10"] < said["usd"]["p50"] < said["usd"]["p90"] and said["seconds"]["p50"] > 0
    waiting = queries.run(db, 2)
    assert (waiting.kind, waiting.parent_id, waiting.n_steps, waiting.project) == ("drawing", run_id, 3, "tiny")
    assert "shoestring work" in queries.why_waiting(db, waiting)
    assert [run.id for run in queries.line(db, 10).first] == [2]

    assert work(home, db) == {"succeeded": 1}
    done = queries.run(db, 2)
    (attempt,) = queries.attempts(db, 2)
    assert (done.step, attempt.first_step, attempt.last_step) == (3, 0, 3) and done.spent_usd == attempt.usd > 0
    assert steps_recorded(db, 2) == [1, 2, 3]
    samples = queries.samples(done)
    assert [(s.step, s.prompt, s.usd) for s in samples] == [(4, prompt, 0.04) for prompt in PROMPTS]
    now = doors.accepted(*asked("--out", "now"))
    assert pictures(Path(now["out"])) == pictures(Path(said["pictures"])) and len(now["files"]) == 4

    again = doors.accepted(*asked("--queue"))
    assert (again["run_id"], again["existed"], again["state"]) == (2, True, "succeeded")
    other = doors.accepted(*asked("--queue", "--guidance", "1"))
    assert (other["run_id"], other["existed"]) == (3, False)
    assert "run 3 is there already (queued)" in doors.run(*asked("--queue", "--guidance", "1")).stdout


@pytest.mark.slow
@pytest.mark.parametrize("either", ["sqlite"], indirect=True)
def test_a_killed_worker_loses_no_picture_and_repeats_no_point(home: Home, db: Database, run_id: int) -> None:
    order = Order(PROMPTS * 2, seed=5, n_steps=100)
    drawing = actions.draw(db, plan_drawing(home, queries.run(db, run_id), order), runs_dir=home.runs).run_id
    env = {**os.environ, "SHOESTRING_HOME": str(home.state)}
    command = [sys.executable, "-m", "shoestring.cli.main", "work", "--json"]
    with subprocess.Popen(command, env=env, cwd=home.root, stdout=subprocess.DEVNULL) as doomed:
        try:
            deadline = time.monotonic() + 200
            while queries.run(db, drawing).step < 1:
                assert time.monotonic() < deadline and doomed.poll() is None
                time.sleep(0.02)
        finally:
            doomed.send_signal(signal.SIGKILL)
    before = queries.run(db, drawing)
    assert before.state == "running" and 1 <= before.step < 6, "it had ended before it was killed"

    assert work(home, db) == {"succeeded": 1}
    lost, finished = queries.attempts(db, drawing)
    assert (lost.outcome, finished.outcome, finished.last_step) == ("lost", "succeeded", 6)
    assert finished.first_step >= before.step and lost.usd > 0
    assert steps_recorded(db, drawing) == [1, 2, 3, 4, 5, 6]
    done = queries.run(db, drawing)
    argv = ["sample", str(run_id), "--seed", "5", "--steps", "100", "--out", "undisturbed"]
    doors.accepted(*argv, *(word for prompt in order.prompts for word in ("-p", prompt)))
    assert pictures(Path("undisturbed")) == pictures(RunDir(Path(done.run_dir)).sample_step(4))


def test_a_drawing_is_cancelled_paused_and_retried_like_every_run(home: Home, db: Database, run_id: int) -> None:
    drawing = actions.draw(db, plan(home, db, run_id), runs_dir=home.runs).run_id
    assert actions.pause(db, drawing) == "paused" and actions.resume(db, drawing) == "queued"
    assert actions.cancel(db, drawing) == "cancelled"
    same = actions.draw(db, plan(home, db, run_id), runs_dir=home.runs)
    assert (same.run_id, same.existed, same.hint) == (drawing, True, f"shoestring retry {drawing}")
    assert actions.retry(db, drawing).run_id == drawing + 1
    assert actions.draw(db, plan(home, db, run_id), runs_dir=home.runs).run_id == drawing + 1


def test_what_the_budget_cannot_pay_is_refused_with_the_numbers(home: Home, db: Database, run_id: int) -> None:
    actions.set_budget(db, "tiny", 1e-6)
    refusal = doors.refused(*asked("--queue"), exit_code=5)
    assert refusal.code == "budget_refused" and "fewer prompts" in refusal.words
    assert "1 run may cost $" in refusal.words and "project tiny is $1e-06" in refusal.words
    with pytest.raises(BudgetRefused):
        actions.draw(db, plan(home, db, run_id), runs_dir=home.runs)
    assert [run.id for run in queries.runs(db)] == [run_id]


@pytest.mark.parametrize(
    ("order", "said"),
    [
        (Order(()), "0 prompts"),
        (Order(("a",) * 17), "17 prompts"),
        (Order(("",)), "prompt 1 is empty"),
        (Order(("a\nb",)), "line break"),
        (Order(("x" * 301,)), "at most 300"),
        (Order(("a",), n_steps=0), "steps 0"),
        (Order(("a",), n_steps=1001), "steps 1001"),
        (Order(("a",), seed=-1), "seed -1"),
        (Order(("a",), seed=2**63), f"seed {2**63}"),
        (Order(("a",), guidance=-0.1), "guidance -0.1"),
        (Order(("a",), guidance=101), "guidance 101"),
        (Order(("a",), guidance=float("nan")), "guidance nan"),
    ],
)
@pytest.mark.parametrize("either", ["sqlite"], indirect=True)
def test_wrong_orders_are_named(home: Home, db: Database, run_id: int, order: Order, said: str) -> None:
    with pytest.raises(UsageError, match=said.replace("-", r"\-")) as caught:
        plan_drawing(home, queries.run(db, run_id), order)
    assert caught.value.hint


@pytest.mark.parametrize("either", ["sqlite"], indirect=True)
def test_runs_that_cannot_be_drawn_from_are_refused_with_the_next_step(
    home: Home, db: Database, run_id: int, submission
) -> None:
    drawing = actions.draw(db, plan(home, db, run_id), runs_dir=home.runs).run_id
    fresh = actions.submit(db, [submission("fresh/s0")], runs_dir=home.runs)[0].run_id
    run = queries.run(db, run_id)
    half = dataclasses.replace(run, state="paused")
    damaged = dataclasses.replace(run, config={"name": "x"})
    for one, said in (
        (queries.run(db, fresh), "no checkpoint yet"),
        (half, "checkpoints still change"),
        (queries.run(db, drawing), "is a drawing"),
        (damaged, "cannot be read"),
        (dataclasses.replace(run, run_dir=str(home.runs / "nowhere")), f"shoestring retry {run_id}"),
    ):
        with pytest.raises(ShoestringError) as caught:
            plan_drawing(home, one, Order(("a",)))
        assert said in f"{caught.value.message} {caught.value.hint}"
    for argv in (["sample", "2", "-p", "x"], ["evaluate", "2"], ["export", "2", "--out", "x.safetensors"],
                 ["plan", "--run", "2"]):  # fmt: skip
        if argv[0] == "evaluate":
            actions.cancel(db, drawing)
        refusal = doors.refused(*argv, exit_code=7)
        assert "name the run that it draws from: run 1" in refusal.words
    assert "--out" in doors.refused("sample", "1", "-p", "x", "--queue", "--out", "y", exit_code=2).words


@pytest.mark.parametrize("either", ["sqlite"], indirect=True)
def test_drawings_are_in_the_books_and_in_no_ranking_forecast_or_mirror(home: Home, db: Database, run_id: int) -> None:
    drawing = actions.draw(db, plan(home, db, run_id, "a red circle"), runs_dir=home.runs).run_id
    assert work(home, db) == {"succeeded": 1}
    done = queries.run(db, drawing)
    assert queries.totals(db).spent_usd == done.spent_usd == queries.spend_by_outcome(db, "tiny")["useful"] > 0
    assert [line.experiment for line in queries.spends(db, "tiny")] == ["drawing"]
    assert queries.spent(db, "tiny") == done.spent_usd
    assert [run.id for run in queries.runs(db, drawings=False)] == [run_id]
    assert [run.id for run in queries.runs(db, kind="drawing")] == [drawing]
    assert queries.speed_ups(db, drawing) == []
    assert not forecasts.review([done]).forecasts and not forecasts.review([done]).left_out
    assert tracking.stale(home, queries.runs(db)) == []
    assert not standings(db, queries.runs(db, kind="experiment")).places
    assert queries.find_run(db, "dense").id == run_id  # by its experiment's name, the run that was trained
    assert json.loads(doors.run("status", str(drawing), "--json").stdout)["kind"] == "drawing"


@pytest.mark.parametrize("either", ["sqlite"], indirect=True)
def test_the_forecast_grows_with_pictures_and_steps_and_uses_what_was_measured(
    home: Home, db: Database, run_id: int
) -> None:
    one, four = plan(home, db, run_id, "a"), plan(home, db, run_id, "a", "b", "c", "d")
    more = plan(home, db, run_id, "a", n_steps=20, guidance=1.0)
    assert four.flop == pytest.approx(4 * one.flop) and more.flop == pytest.approx(5 * one.flop)
    assert one.seconds.p50 < more.seconds.p50 and one.seconds.p50 < four.seconds.p50
    assert one.how == "assumed" and "uncalibrated" in one.note
    assert one.config.planned_usd_at(1) == pytest.approx(one.usd.p50)
    assert one.usd.p50 == pytest.approx(one.seconds.p50 * one.config.price.usd_per_hour / 3600)
    assert one.spec_hash != more.spec_hash and one.spec_hash == plan(home, db, run_id, " a ").spec_hash
    with pytest.raises(Conflict, match="is a drawing"):
        made = actions.draw(db, one, runs_dir=home.runs).run_id
        plan_drawing(home, queries.run(db, made), Order(("a",)))
