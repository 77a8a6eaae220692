"""The Cost page's forecast from a few choices: it is a plan of a spec, and the address holds the choices."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from projects import Project
from shoestring.home import Home
from shoestring.plan import costs_of, plan_text
from shoestring.prices import read_prices
from shoestring.quotes import quote
from shoestring_ui import amounts, frames, takeaways
from shoestring_ui.cost_charts import flop_by_part as figure_of
from shoestring_ui.sketch import DEVICES, EXPERTS, RESOLUTIONS_PX, SIZES, Sketch, flop_by_part
from shoestring_ui.theme import DARK, LIGHT
from test_app import draw, home, new_database, project, text  # noqa: F401  (fixtures)

PRICES = read_prices()


def planned(sketch: Sketch, folder: Path):
    return plan_text(sketch.spec, "sketch.yaml", Home(root=folder, state=folder / "state"), described=True).runs[0]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("hardware", "n_devices"), [("this-machine", 1), ("h100-sxm", 1), ("h100-sxm", DEVICES[-1])])
def test_every_size_at_every_resolution_is_a_spec_that_can_be_planned(size, hardware, n_devices, tmp_path: Path):
    for resolution in RESOLUTIONS_PX:
        sketch = Sketch(size, 0.75, 8, resolution, 1_000_000, hardware, PRICES[hardware].device, n_devices)
        run = planned(sketch, tmp_path)
        assert run.images == pytest.approx(1_000_000, rel=0.001) and run.usd.p10 < run.usd.p50 < run.usd.p90
        assert (run.tokens_kept[0] < run.tokens) == sketch.masks
        assert run.config.data.size_px == resolution and run.config.price.hardware == hardware


def test_a_few_images_no_mask_and_no_experts_are_a_run_too(tmp_path: Path):
    for experts in EXPERTS:
        for ratio in (0.0, 0.95):
            run = planned(Sketch("nano", ratio, experts, 256, 1, "this-machine"), tmp_path)
            assert run.n_steps == 1 and (run.config.model.experts.count if run.config.model.experts else 1) == experts


def test_flops_by_component_add_up_to_the_plans_and_are_drawn_largest_first(tmp_path: Path):
    run = planned(Sketch("microdit-tiny-2", 0.75, 8, 256, 10_000_000, "h100-sxm", "cuda"), tmp_path)
    parts = flop_by_part(run)
    assert sum(parts.values()) == pytest.approx(run.flop) and list(parts.values()) == sorted(parts.values())[::-1]
    for colours in (LIGHT, DARK):
        figure = figure_of(parts, colours)
        (bars,) = figure.data
        assert bars.x[-1] == max(bars.x) and bars.marker.color != colours.money
        assert figure.layout.yaxis.ticktext[-1] == next(iter(parts)).replace("_", " ")
    first = next(iter(parts)).replace("_", " ")
    assert takeaways.of_parts(parts).startswith(f"Of the training FLOPs, {first} ")
    assert frames.of_parts(parts)["share"].sum() == pytest.approx(1)


def test_the_cheapest_hardware_that_holds_it_is_named_and_the_fastest(tmp_path: Path):
    where = Home(root=tmp_path, state=tmp_path / "state")
    run = planned(Sketch("microdit-xl-2", 0.0, 8, 256, 10_000_000, "h100-sxm", "cuda"), tmp_path)
    quotes = {name: quote(run.config, costs_of(where, name, row)) for name, row in PRICES.items()}
    said = takeaways.of_quotes(quotes)
    fits = {name: one for name, one in quotes.items() if one.fits is not False}
    cheap = min(fits, key=lambda name: fits[name].needs.usd.p50)
    assert f"It costs least on {cheap}, {amounts.usd(fits[cheap].needs.usd.p50)}" in said
    assert len(frames.of_quotes(quotes)) == len(PRICES)
    small = {name: one for name, one in quotes.items() if one.fits is False}
    if small:
        assert takeaways.of_quotes(small) == "No hardware of the catalogue has the memory for it."


def test_the_page_forecasts_what_the_address_chooses_in_less_than_a_second(project: Project, tmp_path: Path):  # noqa: F811
    address = {"size": "microdit-xl-2", "mask": "0.5", "px": "512", "images": "2000000", "hardware": "a100-80",
               "devices": "4", "experts": "4"}  # fmt: skip
    page = draw("costs", **address)
    assert not page.exception
    sketch = Sketch("microdit-xl-2", 0.5, 4, 512, 2_000_000, "a100-80", "cuda", 4)
    began = time.process_time()
    run = planned(sketch, tmp_path)
    assert time.process_time() - began < 1
    said = text(page)
    assert f"<dd class=money>{amounts.usd(run.usd.p50)}" in said and f"{amounts.count(run.parameters)}" in said
    assert "<span class='money'>uncalibrated: assumed 18.3 % of" in said
    assert page.code[0].value == sketch.spec.rstrip() or page.code[0].value == sketch.spec


def test_what_cannot_be_planned_is_said_with_its_line(project: Project):  # noqa: F811
    page = draw("costs", size="nano", px="64", mask="0.95")
    assert not page.exception
    assert "stages.0.mask.ratio 0.95 keeps no token of 16" in text(page)


@pytest.mark.parametrize(
    "address",
    [{"size": "gigantic"}, {"mask": "x"}, {"mask": "7"}, {"px": "0"}, {"images": "-5"}, {"images": "1e99"},
     {"hardware": "abacus"}, {"hardware": "this-machine", "devices": "8"}, {"devices": "3"}, {"experts": "1000"}],
    ids=str,
)  # fmt: skip
def test_choices_that_do_not_exist_are_the_usual_ones(home: Home, new_database: Path, address: dict[str, str]):  # noqa: F811
    import shutil

    home.state.mkdir()
    shutil.copy(new_database, home.state / "shoestring.db")
    page = draw("costs", **address)
    assert not page.exception and not page.error
    assert "Forecast" in [s.value for s in page.subheader] and "Nothing has been spent yet" in text(page)
