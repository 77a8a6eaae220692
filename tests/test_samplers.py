"""Samplers by their names: what a file may write, and that each of them proposes inside the search."""

from __future__ import annotations

import inspect
import warnings
from pathlib import Path

import optuna
import pytest
from pydantic import ValidationError
from shoestring import study
from shoestring.home import Home
from shoestring.records import Sweep
from shoestring.resolve import Parameter
from shoestring.samplers import SAMPLERS, SHORT, SamplerSpec, importable

HERE = sorted(importable())
PARAMETERS = (
    Parameter("ratio", 0.0, 0.9, False, 0.3, None, False),
    Parameter("count", None, None, False, None, (1, 2), True),
)


def spec(**fields: object) -> SamplerSpec:
    return SamplerSpec.model_validate(fields, strict=True)


@pytest.fixture
def make(tmp_path: Path):
    def one(name: str, kind: str, directions=("minimize",), **options) -> study.Study:
        swept = Sweep(1, name, "toy", "base", {}, "running", None, 0.0, 0, 1.0)
        home = Home(tmp_path, tmp_path / "state")
        return study.Study(home, swept, PARAMETERS, list(directions), 7, spec(name=kind, **options))

    return one


@pytest.mark.parametrize("name", HERE)
def test_every_option_is_one_of_the_installed_optunas(name):
    known = inspect.signature(getattr(optuna.samplers, SAMPLERS[name].optuna).__init__).parameters
    assert set(SAMPLERS[name].options) <= set(known) and "seed" in known


def test_every_named_sampler_is_there_or_says_which_package_it_lacks():
    assert {"tpe", "random", "nsga2", "grid"} <= set(HERE)
    for name in set(SAMPLERS) - set(HERE):
        with pytest.raises(ValidationError, match="needs the package"):
            spec(name=name)


@pytest.mark.parametrize("name", HERE)
def test_a_sampler_proposes_inside_the_search_and_the_same_for_the_same_history(name, make):
    found = []
    for again in ("a", "b"):
        one = make(again, SAMPLERS[name].optuna)
        one.begin({}, [], [])
        asked = []
        for n in range(5):
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                proposal = one.ask()
            assert proposal.number == n and proposal.params["count"] in (1, 2)
            assert 0 <= proposal.params["ratio"] <= 0.9
            one.tell(n, ((proposal.params["ratio"] - 0.3) ** 2,))
            asked.append(proposal.params)
        found.append(asked)
    assert found[0] == found[1]


def test_a_grid_is_tried_point_by_point_and_then_exhausted(make):
    one = make("grid", "grid")
    one.begin({"ratio": 0.3, "count": 2}, [], [])
    seen = []
    while not one.exhausted():
        proposal = one.ask()
        seen.append(tuple(proposal.params.values()))
        one.tell(proposal.number, (1.0,))
    assert len(seen) == len(set(seen)) == 8


def test_a_constraint_is_told_by_its_excess_and_no_trial_above_it_is_optunas_best(make):
    one = make("dollars", "tpe")
    one.begin({}, [], [])
    for excess, value in ((0.004, 0.1), (-0.002, 0.3)):
        one.tell(one.ask().number, (value,), {"cost/usd": excess})
    first, second = one.study.get_trials(deepcopy=False)
    assert (first.constraints, second.constraints) == ({"cost/usd": 0.004}, {"cost/usd": -0.002})
    assert one.study.best_trial.number == 1


def test_two_proposals_in_flight_are_two_points_and_are_found_again_by_another_process(make):
    one = make("flight", "tpe")
    one.begin({}, [], [])
    asked = [one.ask(), one.ask()]
    again = make("flight", "tpe")
    assert again.unfinished() == asked and asked[0].params != asked[1].params
    again.tell(1, (0.5,))
    assert [p.number for p in again.unfinished()] == [0] and again.told()[1].values == (0.5,)


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"name": "tpee"}, "did you mean `tpe`"),
        ({"name": "TPESample"}, "did you mean `TPESampler`"),
        ({"name": "os.system"}, "known"),
        ({"name": "tpe", "population_size": 3}, "n_startup_trials"),
        ({"name": "random", "multivariate": True}, "no options"),
        ({"name": "tpe", "group": True, "multivariate": False}, "multivariate"),
    ],
)
def test_a_wrong_name_or_option_says_what_is_there(fields, word):
    with pytest.raises(ValidationError) as raised:
        spec(**fields)
    (problem,) = raised.value.errors()
    assert word in f"{problem['msg']} {problem['ctx']['hint']}"


def test_a_short_name_and_optunas_name_are_the_same_sampler():
    assert {spec(name=name).short for name in SHORT if SHORT[name] in HERE} == set(HERE)
    assert SamplerSpec.model_validate("qmc", strict=True).kind.optuna == "QMCSampler"
