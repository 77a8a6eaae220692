"""What pages are told again and again: one answer for a moment, and curves of ended runs that are read once."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from projects import Project
from shoestring import actions, queries
from shoestring.home import Home
from shoestring.records import Series
from shoestring_ui import store


@pytest.fixture
def project(tmp_path: Path, home: Home, sqlite, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("SHOESTRING_HOME", str(home.state))
    monkeypatch.delenv("SHOESTRING_DB", raising=False)
    store.forget()
    return Project(home)


def test_an_answer_is_shared_for_a_moment_and_forgotten_after_a_write(project: Project):
    project.queue("dense")
    first = store.ask(queries.runs, limit=5)
    assert store.ask(queries.runs, limit=5) is first
    assert store.ask(queries.runs, limit=6) is not first
    project.queue("other")
    assert len(store.ask(queries.runs, limit=5)) == 1
    store.forget()
    assert len(store.ask(queries.runs, limit=5)) == 2


def test_an_old_answer_is_not_kept_where_nobody_may_see_it(project: Project, monkeypatch: pytest.MonkeyPatch):
    project.queue("dense")
    monkeypatch.setattr(store, "FRESH_S", 0)
    first = store.ask(queries.runs, limit=5)
    assert store.ask(queries.runs, limit=5) is first, "nothing was written since"
    project.queue("other")
    monkeypatch.setattr(store, "LOOK_S", 0)
    assert len(store.ask(queries.runs, limit=5)) == 2 and len(store._answers) == 1


def test_what_depends_on_the_clock_is_asked_again_though_nothing_was_written(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    first = [store.ask(query) for query in (queries.totals, queries.purses)]
    monkeypatch.setattr(store, "FRESH_S", 0)
    again = [store.ask(query) for query in (queries.totals, queries.purses)]
    assert again == first and again[0] is not first[0] and again[1] is first[1]
    monkeypatch.setattr(store, "KEPT_S", 0)
    store.ask(queries.projects)
    assert len(store._answers) == 1, "what nobody asks for is not kept"


def test_questions_are_told_apart_by_the_runs_they_are_about(project: Project):
    one, two = (queries.run(project.db, project.queue(name)) for name in ("dense", "other"))
    assert store.ask(queries.why_each, [one]).keys() == {one.id}
    assert store.ask(queries.why_each, [one, two]).keys() == {one.id, two.id}
    assert hash(one) == hash(dataclasses.replace(one)) and one != dataclasses.replace(one, spec={"seed": 1})


def test_the_curve_of_an_ended_run_is_read_once_and_again_when_it_was_evaluated_anew(project: Project):
    run_id = project.queue("dense")
    project.train(run_id)
    run = queries.run(project.db, run_id)
    (first,) = store.curves([run], "val/loss")
    assert isinstance(first, Series) and first == queries.series(project.db, [run_id], "val/loss")[0]
    store._answers.clear()
    assert store.curves([run], "val/loss")[0] is first
    actions.record_evaluation(project.db, run_id, run.step, {"val/loss": 0.5})
    store._answers.clear()
    (again,) = store.curves([run], "val/loss")
    assert again.value[-1] == 0.5 and again.value[:-1] == first.value[:-1]
    assert store.curves([run], "none") == [] == store.curves([], "val/loss")


def test_of_curves_only_so_many_points_are_kept_the_last_asked_for(project: Project, monkeypatch: pytest.MonkeyPatch):
    runs = []
    for name in ("dense", "other"):
        run_id = project.queue(name)
        project.train(run_id)
        runs.append(queries.run(project.db, run_id))
    first, second = (store.curves([run], "val/loss")[0] for run in runs)
    assert len(store._curves) == 2
    monkeypatch.setattr(store, "POINTS_KEPT", len(second.value))
    assert store.curves(runs[1:], "val/loss")[0] is second and list(store._curves.values()) == [second]
    assert store.curves(runs[:1], "val/loss", most=2)[0].value == [first.value[0], first.value[-1]]


def test_what_is_made_of_the_same_is_made_once_and_only_so_much_is_kept(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(store, "_made", {})
    monkeypatch.setattr(store, "MADE_KEPT", 2)
    asked: list[int] = []

    def make(n: int) -> int:
        return store.made(("square", n), lambda: asked.append(n) or n * n)  # type: ignore[func-returns-value]

    assert [make(n) for n in (1, 2, 1, 3, 1, 2)] == [1, 4, 1, 9, 1, 4]
    assert asked == [1, 2, 3, 2] and len(store._made) == 2


@pytest.fixture
def hasty() -> Iterator[None]:
    """Threads change places as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_pages_that_are_drawn_at_the_same_time_may_ask_for_the_same(monkeypatch: pytest.MonkeyPatch, hasty: None):
    monkeypatch.setattr(store, "_made", {})
    monkeypatch.setattr(store, "MADE_KEPT", 2)

    def page(number: int) -> list[int]:
        return [store.made(("square", n % 3), lambda n=n: (n % 3) ** 2) for n in range(number, number + 20_000)]

    with ThreadPoolExecutor(4) as pool:
        for number, found in enumerate(pool.map(page, range(4))):
            assert found == [(n % 3) ** 2 for n in range(number, number + 20_000)]
