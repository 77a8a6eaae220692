"""Seconds and dollars: measured, fitted or assumed; and the schedule that dollars buy."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shoestring.calibration import Calibration, Measured, Overheads, fit
from shoestring.cost import Costs, full_work, stage_works
from shoestring.errors import SpecInvalid
from shoestring.prices import PriceRow, read_prices
from shoestring.request import Request
from shoestring.steps import Pace, TooLittle, times
from shoestring_trainer.config import DataConfig
from shoestring_trainer.presets import PRESETS
from shoestring_trainer.schedule import checkpoints_at, evaluates_at, samples_at

DATA = DataConfig(
    path="/data/tiny", name="tiny", digest="d" * 64, space="latents", shape=(8, 8, 8), size_px=32, n_train=5000,
    caption_dim=384, caption_tokens=8.5,
)  # fmt: skip
ROW = PriceRow(usd_per_hour=3.6, source="a test", date="2026-01-01", local=True)
USD_PER_S = 0.001
MASKED = {"kind": "random", "ratio": 0.75, "place": "deferred"}
OVERHEADS = Overheads(
    startup_s=5.0, s_per_val_flop=1e-11, s_per_sample_flop=2e-11, s_per_sample_image=0.01, s_per_checkpoint=0.2
)


def request(**changes) -> Request:
    values = {
        "model": PRESETS["spark"].model_dump(),
        "until": {"usd": 0.06},
        "stages": (
            {"share": 0.85, "mask": MASKED, "lr": 1e-3},
            {"share": 0.15, "mask": {"kind": "none"}, "lr": 1e-3},
        ),
        "evaluate": {"every_usd": 0.015, "n_images": 64},
        "samples": {"every_share": 0.5, "prompts": ("a", "b", "c", "d")},
        "name": "a/s0", "experiment": "a", "project": "tiny", "data": DATA.model_dump(), "seed": 0,
        "hardware": "here", "code_digest": "c",
    }  # fmt: skip
    return Request.model_validate(values | changes)


def costs(calibration: Calibration | None = None, row: PriceRow = ROW) -> Costs:
    return Costs("here", row, calibration or Calibration("here"), 30e9)


def measured(asked: Request, seconds_of=lambda work: work.flops / 50e9, spread: float = 0.01) -> Calibration:
    shapes = {w.key: Measured(seconds_of(w), spread, w.flops, w.parameters, w.kind) for w in stage_works(asked)}
    return Calibration("here", shapes, {full_work(stage_works(asked)).model_key: OVERHEADS})


def test_what_was_measured_is_known_best_then_what_was_fitted_then_what_is_assumed():
    asked = request()
    known = costs(measured(asked)).steps(stage_works(asked))
    other = asked.with_param("model.depth", 8)
    fitted, assumed = costs(measured(asked)).steps(stage_works(other)), costs().steps(stage_works(asked))
    assert {e.how for e in known} == {"measured"} and known[0].high < 1.06
    assert {e.how for e in fitted} == {"fitted"} and 1.1 < fitted[0].high < 1.6
    assert {e.how for e in assumed} == {"assumed"} and (assumed[0].low, assumed[0].high) == (0.5, 2.0)
    assert fitted[0].value == pytest.approx(stage_works(other)[0].flops / 50e9, rel=0.02)


def test_a_calibration_of_this_machine_says_nothing_of_another():
    asked = request()
    elsewhere = ROW.model_copy(update={"local": False})
    assert {e.how for e in costs(measured(asked), elsewhere).steps(stage_works(asked))} == {"assumed"}


def test_the_fit_finds_a_constant_flops_and_parameters():
    def law(work):
        return 0.002 + work.flops / 40e9 + work.parameters * 3e-10

    points: dict[str, Measured] = {}
    for depth in (2, 4, 6, 8):
        for count in (None, 4, 8):
            asked = request(model=PRESETS["spark"].model_dump() | {"depth": depth})
            asked = asked.with_param("model.experts.count", count) if count else asked
            points |= measured(asked, law).shapes
    found = fit(Calibration("here", points), next(iter(points.values())).kind)
    unseen = stage_works(request(model=PRESETS["spark"].model_dump() | {"depth": 5}))[0]
    assert found and found.seconds(unseen) == pytest.approx(law(unseen), rel=0.02)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(1e6, 1e12), st.integers(10**4, 10**9), st.floats(1e-4, 1e3)), max_size=8))
def test_a_fit_never_forecasts_less_than_nothing(points):
    shapes = {str(i): Measured(s, 0.0, flops, n, ("cpu",)) for i, (flops, n, s) in enumerate(points)}
    found = fit(Calibration("here", shapes), ("cpu",))
    assert found is None or min(found.coefficients) >= 0


@given(st.integers(1, 400), st.integers(1, 400), st.integers(0, 300))
def test_cadences_are_counted_as_the_trainer_counts_them(every, n, first):
    last = first + n
    assert times(every, [last], first) == [sum(s == last or s % every == 0 for s in range(first + 1, last + 1))]
    middle = first + n // 2
    assert sum(times(every, [middle, last], first)) == times(every, [last], first)[0]
    assert times(every, [middle, last], first)[0] == sum(s % every == 0 for s in range(first + 1, middle + 1))


def pace(*step_s: float) -> Pace:
    known = costs(measured(request())).overheads(request(), full_work(stage_works(request())))
    return Pace(step_s, (known,) * len(step_s), USD_PER_S)


@settings(max_examples=60, deadline=None)
@given(st.floats(0.03, 3.0), st.floats(0.005, 0.2), st.floats(0.005, 0.2))
def test_a_schedule_spends_its_dollars_to_within_a_step_and_never_more(usd, masked_s, full_s):
    asked = request(until={"usd": usd})
    schedule = pace(masked_s, full_s).buy(asked, usd / USD_PER_S)
    events_s = sum(vars(pace(masked_s, full_s).overheads[0]).values())
    assert schedule.seconds <= usd / USD_PER_S + 1e-9
    assert schedule.seconds > usd / USD_PER_S - min(masked_s, full_s) - events_s


@settings(max_examples=60, deadline=None)
@given(st.floats(0.06, 3.0), st.floats(0.01, 0.1), st.floats(0.01, 0.1), st.floats(0.1, 0.9))
def test_stages_share_the_training_seconds(usd, masked_s, full_s, share):
    stages = [{"share": s, "mask": {"kind": "none"}, "lr": 1e-3} for s in (share, 1 - share)]
    asked = request(until={"usd": usd}, stages=tuple(stages))
    schedule = pace(masked_s, full_s).buy(asked, usd / USD_PER_S)
    assert schedule.steps[0] * masked_s / schedule.training_s == pytest.approx(
        share, abs=2 * max(masked_s, full_s) / schedule.training_s
    )


def test_too_few_dollars_say_how_many_are_needed():
    with pytest.raises(TooLittle) as caught:
        pace(0.1, 0.2).buy(request(), 0.004 / USD_PER_S)
    assert caught.value.needed_s > 5


def test_steps_are_shared_as_steps():
    schedule = pace(0.1, 0.2).count(request(until={"steps": 101}), 101)
    assert sum(schedule.steps) == 101 and schedule.steps[1] == 15


def test_the_schedule_prices_what_the_trainer_will_do():
    asked = request()
    schedule = pace(0.1, 0.2).buy(asked, 0.06 / USD_PER_S)
    config = asked.to_config(list(schedule.steps), [0.0, 0.0], schedule.every, ROW.price("here"))
    over = pace(0.1, 0.2).overheads[0]
    seconds = over.startup_s + schedule.training_s
    for step in range(1, config.n_steps + 1):
        seconds += over.evaluation_s * evaluates_at(config, step) + over.grid_s * samples_at(config, step)
        seconds += over.checkpoint_s * checkpoints_at(config, step)
    assert schedule.seconds == pytest.approx(seconds)


def test_what_is_done_beside_the_steps_is_priced_in_the_stage_that_it_falls_into():
    small, large = (replace(pace(0.1).overheads[0], evaluation_s=s, grid_s=0.0, checkpoint_s=0.0) for s in (1.0, 4.0))
    asked = request(until={"steps": 100}, evaluate={"every_steps": 10})
    both, one = (Pace((0.1, 0.1), two, USD_PER_S).schedule(asked, [50, 50]) for two in ((small, large), (large, large)))
    assert both.seconds == pytest.approx(small.startup_s + 10.0 + 5 * 1.0 + 5 * 4.0)
    assert one.seconds - both.seconds == pytest.approx(5 * 3.0)


def test_the_catalogue_cites_its_prices_and_knows_the_papers_hardware():
    rows = read_prices()
    assert rows["h100-sxm"].usd_per_hour * 504 == 1890
    assert all(row.source and row.date for row in rows.values()) and rows["this-machine"].local


def test_a_projects_own_prices_replace_the_shipped_ones(tmp_path):
    own = "version: 1\nprices:\n  this-machine: {usd_per_hour: 0.5, local: true, source: my bill, date: '2026-01-01'}\n"
    (tmp_path / "prices.yaml").write_text(own)
    rows = read_prices(tmp_path)
    assert rows["this-machine"].usd_per_hour == 0.5 and "h100-sxm" in rows
    (tmp_path / "prices.yaml").write_text(own.replace("0.5", "-1"))
    with pytest.raises(SpecInvalid):
        read_prices(tmp_path)
