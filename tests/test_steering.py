"""What people ask of a sweep while it runs: it is noticed between trials, also by a process that starts later."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from shoestring import actions, queries, sweep
from shoestring.errors import BudgetRefused, Conflict, NotFound, UsageError
from shoestring.spec_parts import Budget, Search
from test_cli_sweeping import project, shoestring  # noqa: F401  (fixture)
from test_sweep import Trainer, bench_of, empty, home, make_home, request_of, trials_of  # noqa: F401  (fixtures)

RATIO, EXPERTS = "stages.0.mask.ratio", "model.experts.count"
POINT = {RATIO: 0.25, EXPERTS: 2}


def capped(usd: float, **changes: object):
    """The request of a sweep whose file says that it may cost so much."""
    asked = request_of(max_usd=usd, **changes)
    return replace(asked, spec=asked.spec.model_copy(update={"budget": Budget(max_usd=usd)}))


def during(bench: sweep.Bench, number: int, act) -> sweep.Bench:
    """The bench, where `act` happens while the trial of this number trains."""
    calls = iter(range(10_000))

    def work(run_ids: Sequence[int]) -> None:
        if next(calls) == number:
            act()
        bench.work(run_ids)

    return replace(bench, work=work)


def test_a_sweep_that_is_stopped_proposes_no_more_and_what_is_in_flight_is_told(home):  # noqa: F811
    bench = bench_of(home)
    done = sweep.run_sweep(during(bench, 1, lambda: actions.stop_sweep(bench.db, 1)), request_of())
    assert done.state == "stopped" == queries.sweeps(bench.db)[0].state
    assert [(number, state) for number, _, state, _ in trials_of(bench)] == [(0, "complete"), (1, "complete")]
    with pytest.raises(Conflict, match="stopped already"):
        actions.stop_sweep(bench.db, 1)
    again = sweep.run_sweep(bench, request_of(trials=3))
    assert again.state == "finished" and len(trials_of(bench)) == 3, "run again, it goes on"


def test_a_stop_between_two_trials_is_not_lost_to_the_next_proposal(home):  # noqa: F811
    bench = bench_of(home)

    def tell(line: str) -> None:
        if line.startswith("trial 0: run "):  # it has just been proposed
            actions.stop_sweep(bench.db, 1)

    assert sweep.run_sweep(replace(bench, tell=tell), request_of()).state == "stopped"
    assert len(trials_of(bench)) == 1


def test_a_point_that_was_asked_for_comes_next_and_counts_beside_the_others(home):  # noqa: F811
    bench = bench_of(home)
    sweep.run_sweep(during(bench, 1, lambda: actions.ask_point(bench.db, 1, POINT)), request_of(trials=3))
    params = [params for _, params, _, _ in trials_of(bench)]
    assert len(params) == 4 and params[2] == POINT
    sweep.run_sweep(bench, request_of(trials=3))
    assert len(trials_of(bench)) == 4, "it is tried once"


def test_a_point_asked_of_a_finished_sweep_is_tried_when_it_is_run_again_even_after_a_crash(home):  # noqa: F811
    bench = bench_of(home)
    sweep.run_sweep(bench, request_of(trials=2))
    actions.ask_point(bench.db, 1, POINT)

    class Crash(Exception):
        """The process is gone."""

    def price(request):
        raise Crash

    for _ in range(2):
        with pytest.raises(Crash):
            sweep.run_sweep(replace(bench, price=price), request_of(trials=2))
    done = sweep.run_sweep(bench, request_of(trials=2))
    assert done.state == "finished"
    assert [params for _, params, _, _ in trials_of(bench)][2:] == [POINT]


@pytest.mark.parametrize(
    ("point", "says"),
    [
        ({RATIO: 0.95, EXPERTS: 2}, r"stages.0.mask.ratio 0.95 is outside the search"),
        ({RATIO: 0.5, EXPERTS: 3}, "model.experts.count 3 is outside the search"),
        ({RATIO: "half", EXPERTS: 2}, "outside the search"),
        ({RATIO: True, EXPERTS: 2}, "outside the search"),
        ({RATIO: 0.5}, "model.experts.count has no value"),
        ({**POINT, "lr": 1e-3}, "does not search lr"),
    ],
)
def test_a_point_outside_the_search_is_refused_with_what_there_is(home, point, says):  # noqa: F811
    db = bench_of(home).db
    actions.create_sweep(db, request_of())
    with pytest.raises(UsageError, match=says):
        actions.ask_point(db, 1, point)
    with pytest.raises(NotFound, match="no sweep 9"):
        actions.ask_point(db, 9, POINT)


def test_a_point_is_asked_for_once_and_not_where_a_trial_has_it(home):  # noqa: F811
    db = bench_of(home).db
    actions.create_sweep(db, request_of())
    actions.propose_trial(db, 1, 0, {RATIO: 0.75, EXPERTS: 1})
    with pytest.raises(Conflict, match="trial 0 of sweep small has these values"):
        actions.ask_point(db, 1, {EXPERTS: 1, RATIO: 0.75})
    number = actions.ask_point(db, 1, POINT)
    assert queries.asked_points(db, 1) == {number: POINT} and queries.asked_points(db, 2) == {}
    with pytest.raises(Conflict, match="asked for this point before"):
        actions.ask_point(db, 1, POINT)


def test_a_value_that_no_whole_number_field_takes_is_said_and_not_tried(home):  # noqa: F811
    wide = {**request_of().spec.search, EXPERTS: Search(low=1, high=4)}
    (experts,) = [p for p in request_of().parameters if p.path == EXPERTS]
    whole = dataclasses.replace(experts, choices=None, low=1, high=4)
    others = tuple(p for p in request_of().parameters if p.path != EXPERTS)
    asked = request_of(
        trials=1, parameters=(*others, whole), spec=request_of().spec.model_copy(update={"search": wide})
    )
    said: list[str] = []
    bench = bench_of(home)
    sweep.run_sweep(bench, asked)
    actions.ask_point(bench.db, 1, {RATIO: 0.25, EXPERTS: 2.5})
    sweep.run_sweep(replace(bench, tell=said.append), asked)
    assert len(trials_of(bench)) == 1 and "model.experts.count is outside the search" in said[0]


def test_values_between_the_steps_of_a_search_are_not_of_it():
    search = Search(low=0.1, high=0.9, step=0.2)
    assert search.holds(0.3) and search.holds(0.9) and not search.holds(0.4)
    assert search.words == "0.1 to 0.9 in steps of 0.2" and Search(choices=(1, "a")).words == "one of 1, a"


def test_a_higher_cap_is_noticed_while_the_sweep_runs(home):  # noqa: F811
    bench = bench_of(home)
    raised = during(bench, 1, lambda: actions.set_sweep_cap(bench.db, 1, 1.0))
    sweep.run_sweep(raised, capped(0.018, trials=4))
    assert len(trials_of(bench)) == 4
    other = bench_of(home)
    assert queries.sweeps(other.db)[0].max_usd == 1.0


def test_of_a_cap_the_newest_word_counts(home):  # noqa: F811
    db = bench_of(home).db
    actions.create_sweep(db, capped(0.1))
    assert actions.set_sweep_cap(db, 1, 0.5).max_usd == 0.5
    assert actions.create_sweep(db, capped(0.1)).max_usd == 0.5, "the file says what it said before"
    assert actions.create_sweep(db, capped(0.2)).max_usd == 0.2, "the file was changed"


def test_a_cap_that_cannot_be_paid_or_is_spent_already_is_refused(home):  # noqa: F811
    bench = bench_of(home)
    sweep.run_sweep(bench, capped(0.1, trials=1))
    actions.set_budget(bench.db, "toy", 0.3)
    with pytest.raises(BudgetRefused, match=r"up to \$0\.5 needs"):
        actions.set_sweep_cap(bench.db, 1, 0.5)
    with pytest.raises(Conflict, match="has spent"):
        actions.set_sweep_cap(bench.db, 1, 0.001)
    for nonsense in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError):
            actions.set_sweep_cap(bench.db, 1, nonsense)
    assert actions.set_sweep_cap(bench.db, 1, 0.25).max_usd == 0.25


def test_the_verbs_say_what_they_did_and_when_it_counts(project):  # noqa: F811
    from shoestring import plan
    from shoestring.db import Database

    db = Database(project.db_url)
    asked = plan.survey(Path("experiments.yaml"), project).sweep("ratio")
    actions.create_sweep(db, asked)
    code, text = shoestring("sweep", "enqueue", "ratio", f"{RATIO}=0.25")
    assert code == 0 and "sweep ratio tries stages.0.mask.ratio 0.25; its process takes it up" in text
    assert list(queries.asked_points(db, 1).values()) == [{RATIO: 0.25}]
    code, text = shoestring("sweep", "extend", "1", "--max-usd", "0.5", "--json")
    assert code == 0 and json.loads(text)["max_usd"] == 0.5
    code, text = shoestring("sweep", "stop", "ratio")
    assert code == 0 and "stopped" in text and queries.sweeps(db)[0].state == "stopped"
    code, text = shoestring("sweep", "enqueue", "ratio", f"{RATIO}=0.3")
    assert code == 0 and "Next: shoestring sweep run FILE ratio" in text
    assert shoestring("sweep", "stop", "ratio")[0] == 7
    assert shoestring("sweep", "stop", "rtio")[0] == 6
    assert shoestring("sweep", "enqueue", "ratio", "nonsense")[0] == 2
    assert shoestring("sweep", "enqueue", "ratio", f"{RATIO}=7")[0] == 2
