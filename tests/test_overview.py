"""Overview and Compare: the cheapest run that reaches a quality, one run in short, what is left, equal dollars."""

from __future__ import annotations

import uuid

import pytest
from projects import STEPS, USD, Project, config
from shoestring import actions, runs
from shoestring.actions import Submission, submit
from shoestring.tail import Point
from shoestring_ui import takeaways
from streamlit.testing.v1 import AppTest
from test_app import draw, home, new_database, project, text  # noqa: F401  (fixtures)
from test_charts import series


@pytest.fixture
def two(project: Project) -> Project:  # noqa: F811
    """Run 1, dense, comes to val/loss 0.325; run 2, masked, to 0.125."""
    project.train(project.queue("dense", ratio=0.0), 0.3)
    project.train(project.queue("deferred-75"), 0.1)
    return project


def on_other_data(project: Project, loss: float) -> int:  # noqa: F811
    """A run that has trained on another set."""
    made = config("elsewhere/s0", 0, 0.0)
    made = made.model_copy(update={"data": made.data.model_copy(update={"digest": "cd" * 32})})
    one = Submission(
        name=made.name, experiment="elsewhere", project="tiny", seed=0, spec_hash=uuid.uuid4().hex * 2, config=made,
        spec={}, plan={}, planned_usd=USD,
    )  # fmt: skip
    run_id = submit(project.db, [one], runs_dir=project.home.runs)[0].run_id
    project.train(run_id, loss)
    return run_id


def test_the_cheapest_run_to_reach_a_quality_is_said_first_and_the_others_stand_in_order_of_dollars(two: Project):
    page = draw("overview", reach="0.36")
    said = text(page)
    assert not page.exception
    assert "Cheapest to reach 0.36" in said and "■ #2 deferred-75/s0" in said
    assert (
        "deferred-75/s0 is the cheapest to reach val/loss of at most 0.36, at $0.00500; dense/s0, next, takes" in said
    )
    assert "1.80 × as much, and 2 of 2 runs reach it" in said, "between 0.4 at $0.005 and 0.35 at $0.01"


def test_unasked_it_is_the_quality_that_the_second_best_ends_at(two: Project):
    said = text(draw("overview"))
    assert "Cheapest to reach 0.325" in said and "dense/s0, next, takes 4.00 × as much" in said


def test_a_quality_that_nobody_reaches_is_said_with_who_comes_nearest(two: Project):
    said = text(draw("overview", reach="0.01"))
    assert "No run reaches val/loss of at most 0.01; deferred-75/s0 comes nearest, with 0.125 at $0.0200." in said
    assert "no run reaches it" in said


@pytest.mark.parametrize(
    "address",
    [{"reach": "abc"}, {"reach": "nan"}, {"reach": "inf"}, {"reach": "-1e308"}, {"pick": "abc"}, {"pick": "99"},
     {"metric": "val/joy"}, {"set": "nothing"}, {"log": "maybe", "reach": "0"}],
    ids=str,
)  # fmt: skip
def test_whatever_the_address_says_the_overview_is_drawn(two: Project, address: dict[str, str]):
    page = draw("overview", **address)
    assert not page.exception
    assert "Best val/loss" in text(page)


def test_the_card_of_the_picked_run_has_its_pictures_what_is_different_and_where_to_go(two: Project):
    said = text(draw("overview", pick="1"))
    card = said[said.index("class='card'") :]
    assert "run?run=1" in card and "compare?runs=1,2" in card and "new?from=1" in card
    assert "nearest on the front" in card and "ratio" in card and "0.75" in card
    assert card.count("data:image/png;base64") == 2 and "&lt;b&gt;a blue square" in card


def test_unasked_the_card_is_of_the_cheapest_and_choosing_another_changes_the_address(two: Project):
    page = draw("overview")
    box = page.selectbox(key="card")
    assert box.value == 2 and "pick" not in page.query_params
    box.select(1).run()
    assert page.query_params["pick"] == "1" and "compare?runs=1,2" in text(page)


def test_one_run_alone_has_a_card_and_nothing_to_be_held_against(project: Project):  # noqa: F811
    project.train(project.queue("dense"))
    said = text(draw("overview"))
    assert "dense/s0 is the cheapest to reach val/loss of at most 0.125, at $0.0200." in said
    assert "Against" not in said


def test_the_best_and_the_cheapest_are_of_runs_that_can_be_compared(two: Project):
    on_other_data(two, 0.001)
    two.train(two.queue("newest"), 0.2)  # what is compared is what the newest run can be compared with
    said = text(draw("overview", reach="0.36"))
    assert "Best val/loss" in said and "■ #2 deferred-75/s0" in said
    assert "elsewhere/s0 has" not in said and "elsewhere/s0 is" not in said


def measure(project: Project, run_id: int, key: str, value: float) -> None:  # noqa: F811
    actions.record_evaluation(project.db, run_id, STEPS, {key: value})


def test_another_metric_asks_for_its_own_quality_and_higher_may_be_better(two: Project):
    for run_id, recall in ((1, 0.5), (2, 0.7)):
        measure(two, run_id, "eval/retrieval_r1", recall)
    page = draw("overview", reach="0.36")
    page.get("button_group")[0].set_value("eval/retrieval_r1").run()
    assert not page.exception and "reach" not in page.query_params
    said = text(page)
    assert "Best eval/retrieval_r1" in said and "Cheapest to reach 0.5<" in said and "of at least 0.5" in said
    linked = text(draw("overview", metric="eval/retrieval_r1", reach="0.6"))
    assert "deferred-75/s0 is the cheapest to reach eval/retrieval_r1 of at least 0.6" in linked
    assert "no other run reaches it" in linked


def test_the_overview_shows_what_is_left_of_the_cap_or_how_to_set_one(two: Project):
    assert "has no cap" in text(draw("overview"))
    actions.set_budget(two.db, "tiny", 0.1)
    two.queue("waits")
    said = text(draw("overview"))
    assert "$0.0400 of tiny&#x27;s $0.1000 is spent and $0.0200 is kept back" in said and "$0.0400 is free" in said


def test_a_run_that_trains_counts_with_what_it_has_reached(two: Project):
    two.queue("trains")
    lease = runs.claim(two.db, two.worker, "n")
    assert lease is not None
    runs.start(two.db, lease, 0)
    runs.record(two.db, lease, [Point("val/loss", 10, 0.1, 160.0, 1e9, 10 * USD / STEPS / 5, 2.0)])
    assert "trains/s0 is the cheapest to reach val/loss of at most 0.12, at $0.00100" in text(
        draw("overview", reach="0.12")
    )


def test_runs_are_compared_at_the_dollars_that_the_address_asks_for(two: Project):
    page = draw("compare", usd="0.01")
    said = text(page)
    assert not page.exception
    assert "At $0.0100 each, deferred-75 is best" in said and "0.15" in said and "0.35" in said
    assert "needs two seeds of both" in said
    unasked = text(draw("compare"))
    assert "At $0.0200 each" in unasked and "0.325" in unasked


@pytest.mark.parametrize("usd", ["x", "nan", "-3", "1e99", ""])
def test_dollars_that_make_no_sense_are_moved_to_what_there_is(two: Project, usd: str):
    page = draw("compare", usd=usd)
    assert not page.exception
    assert "At equal dollars" in [s.value for s in page.subheader]


def test_with_seeds_the_table_says_with_which_probability_the_first_is_better(two: Project):
    two.train(two.queue("dense", seed=1, ratio=0.0), 0.31)
    two.train(two.queue("deferred-75", seed=1), 0.11)
    said = text(draw("compare", usd="0.02"))
    assert "At $0.0200 each: deferred-75 beats dense with probability &gt; 99 % (2 seeds, paired)." in said
    assert "0.13 ± " in said and "#2</a> 0.125" in said


def test_no_best_is_named_among_runs_whose_losses_do_not_compare(two: Project):
    other = on_other_data(two, 0.001)
    said = text(draw("compare", runs=f"1,2,{other}"))
    assert "deferred-75/s0 has the lowest val/loss" in said and "elsewhere/s0 has the lowest" not in said
    assert f"measured on something else: #{other}" in said
    pair = text(draw("compare", runs=f"1,{other}"))
    assert "val/loss of 2 runs that do not compare" in pair and "has the lowest" not in pair


def test_the_title_of_curves_that_do_not_compare_names_nobody():
    pair = [series(1, [0.5, 0.4]), series(2, [0.5, 0.1])]
    names = {1: "a", 2: "b"}
    said = takeaways.of_curves(pair, names, "val/loss", "minimize", "dollars", {2})
    assert said == "val/loss of 2 runs that do not compare: it is measured on something else for each."
    third = [*pair, series(3, [0.5, 0.3])]
    said = takeaways.of_curves(third, {**names, 3: "c"}, "val/loss", "minimize", "dollars", {2})
    assert "c has the lowest val/loss, 0.3" in said and said.endswith("measured on something else: #2.")


def charts(page: AppTest) -> int:
    """How many of the page's charts Plotly draws."""
    return len(page.get("plotly_chart"))


def test_curves_are_there_at_once_and_plotly_draws_them_when_it_is_asked_to(two: Project):
    page = draw("compare", runs="1,2")
    said = text(page)
    assert said.count("class='graph'") == 1 and charts(page) == 0
    assert "<img alt='At $0.0200, the furthest that all have reached, deferred-75/s0 has the lowest val/loss" in said
    page.toggle(key="zoom-curves-val-loss").set_value(True).run()
    assert not page.exception and charts(page) == 1 and "class='graph'" not in text(page)
    linked = draw("compare", **{"runs": "1,2", "zoom-curves-val-loss": "true"})
    assert charts(linked) == 1, "the address says it too"


def test_points_of_the_map_know_their_run(two: Project):
    said = text(draw("overview"))
    assert "data-run='1'" in said and "title='#2 deferred-75/s0\nval/loss 0.125\n$0.0200'" in said
