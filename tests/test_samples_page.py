"""The page of samples, drawn by Streamlit on a real project: its address, its keys, and what is not there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from PIL import Image
from projects import Project
from shoestring import queries
from shoestring.home import Home
from shoestring_trainer.run_dir import RunDir
from shoestring_ui.store import forget
from streamlit.testing.v1 import AppTest

LABELS = ["$0.00500", "$0.0100", "$0.0200"]


@pytest.fixture
def project(tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Two runs with pictures at steps 20 and 40, one of them at 10 too; one dollar is 2,000 steps."""
    monkeypatch.setenv("SHOESTRING_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("SHOESTRING_DB", raising=False)
    forget()
    home = Home.find()
    home.state.mkdir()
    shutil.copy(migrated, home.state / "shoestring.db")
    made = Project(home)
    for name, steps in (("dense", (10, 20)), ("naive", (20,))):
        run_id = made.queue(name, ratio=0.5 if name == "naive" else 0.0)
        made.train(run_id)
        for step in steps:
            made.pictures(RunDir(Path(queries.run(made.db, run_id).run_dir)), step)
    return made


def draw(**address: str) -> AppTest:
    page = AppTest.from_string("from shoestring_ui.views import samples\nsamples.page()\n", default_timeout=60)
    page.query_params.update(address)
    page.run()
    assert not page.exception, page.exception[0].value
    return page


def said(page: AppTest) -> str:
    return "\n".join(str(e.proto.body) for e in page.get("html"))


def param(page: AppTest, key: str) -> str:
    found = page.query_params.get(key, [""])
    return found if isinstance(found, str) else found[0]


def test_unasked_it_shows_all_runs_at_the_dollars_that_all_have_reached(project: Project):
    page = draw()
    text = said(page)
    assert "2 runs at $0.0200 of training each: dense/s0 and naive/s0 share the lowest val/loss, 0.125." in text
    assert text.count("data:image/png;base64") == 4 and text.count("step 40 ") == 4
    assert "val/loss 0.125" in text and "mask.ratio 0.5" in text
    assert list(page.select_slider[0].options) == LABELS and param(page, "runs") == "1,2"


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ({"usd": "0.01"}, "2 runs at $0.0100 of training each"),
        ({"usd": "0.0134"}, "2 runs at $0.0100 of training each"),
        ({"by": "step", "step": "20"}, "2 runs at step 20"),
        ({"by": "images", "images": "160"}, "2 runs after 160 images each"),
        ({"by": "latest"}, "2 runs at the latest of each"),
        ({"by": "step", "step": "20", "runs": "2"}, "naive/s0 at step 20."),
    ],
)
def test_a_link_shows_what_it_says_and_stays_as_it_is(project: Project, address: dict[str, str], sentence: str):
    page = draw(**address)
    assert sentence in said(page)
    assert all(param(page, key) == value for key, value in address.items())


@pytest.mark.parametrize(
    "address",
    [
        {"by": "magic", "usd": "nan", "step": "-3", "images": "1e999", "layout": "maybe", "pair": "9,x", "part": "77"},
        {"by": "step", "step": "twelve", "runs": "x,9999999999999999999999,-1"},
        {"by": "images", "images": "-inf", "runs": ""},
        {"usd": "<script>", "runs": "2,2,2"},
    ],
)
def test_garbage_in_the_address_shows_the_page_all_the_same(project: Project, address: dict[str, str]):
    page = draw(**address)
    assert "data:image/png;base64" in said(page) and "<script>" not in said(page)


def test_the_arrow_keys_go_from_one_change_to_the_next_and_stop_at_the_ends(project: Project):
    page = draw(usd="0.005")
    earlier, later = page.button("earlier"), page.button("later")
    assert (earlier.proto.shortcut, later.proto.shortcut) == ("left", "right")
    assert earlier.disabled and not later.disabled
    shown = []
    while not page.button("later").disabled:
        shown.append(param(page, "usd"))
        page.button("later").click().run()
    assert [float(x) for x in [*shown, param(page, "usd")]] == pytest.approx([0.005, 0.01, 0.02])
    page.button("earlier").click().run()
    assert float(param(page, "usd")) == pytest.approx(0.01) and page.select_slider[0].value == pytest.approx(0.01)
    assert "step 20 " in said(page) and "step 40 " not in said(page)


def test_the_slider_and_the_number_beside_it_write_the_address(project: Project):
    page = draw(by="step")
    page.select_slider[0].set_value(20).run()
    assert param(page, "step") == "20" and page.number_input("step-exactly").value == 20
    page.number_input("step-exactly").set_value(39.0).run()
    assert param(page, "step") == "20" and "at step 20" in said(page)
    page.number_input("step-exactly").set_value(11.0).run()
    assert param(page, "step") == "10" and "at step 10" in said(page)


def test_another_rule_has_a_place_of_its_own(project: Project):
    page = draw(usd="0.01")
    page.segmented_control("by").set_value("images").run()
    assert "after 640 images each" in said(page) and "step 40, 640 images" in said(page)
    page.segmented_control("by").set_value("equal dollars").run()
    assert "at $0.0100 of training each" in said(page)


def test_the_table_turns_and_a_link_may_ask_for_it_turned(project: Project):
    page = draw()
    assert "<th scope='col'>Prompt</th>" in said(page)
    page.segmented_control("layout").set_value("runs down").run()
    assert "<th scope='col'>Run</th>" in said(page)
    turned = draw(layout="runs down")
    assert "<th scope='col'>Run</th>" in said(turned) and said(turned).count("data:image/png;base64") == 4


def test_two_runs_lie_one_over_the_other_and_change_places(project: Project):
    page = draw(layout="two to swipe")
    text = said(page)
    assert text.count("<figure>") == 2 and text.count("data:image/png;base64") == 4
    assert text.index("dense/s0") < text.index("type='range'") and "&lt;b&gt;a blue" in text and "<b>a blue" not in text
    page.selectbox("pair-Left").set_value(2).run()
    assert param(page, "pair") == "2,1" and page.selectbox("pair-Right").value == 1
    assert [s.value for s in draw(layout="two to swipe", pair="2,1").selectbox][:2] == [2, 1]
    alone = draw(layout="two to swipe", runs="1")
    assert "Choose a second run" in said(alone) and "data:image/png;base64" in said(alone)


def test_before_its_first_picture_a_run_has_an_empty_cell_and_after_its_last_a_stale_one(project: Project):
    project.train(project.queue("broken"), fails="nan")
    text = said(draw(runs="2,3", usd="0.02"))
    assert text.count("stale by $0.0100") == 2 and "2 of 4 pictures are older than asked" in text
    assert said(draw(runs="1,2", usd="0.005")).count("nothing yet") == 2


def test_one_run_with_one_grid_has_no_slider(project: Project):
    run_id = project.queue("single")
    project.train(run_id)
    page = draw(runs=str(run_id))
    assert not page.select_slider and "single/s0 at $0.0200 of training each." in said(page)


def test_a_link_to_a_run_that_has_not_begun_says_so_and_shows_the_others(project: Project):
    run_id = project.queue("<i>later")
    text = said(draw(runs=f"1,{run_id}"))
    assert f"No pictures of #{run_id} &lt;i&gt;later/s0: not begun yet" in text
    assert text.count("data:image/png;base64") == 2


def test_a_run_without_pictures_says_so(project: Project):
    run_id = project.queue("bare")
    project.train(run_id)
    shutil.rmtree(RunDir(Path(queries.run(project.db, run_id).run_dir)).samples)
    assert "No picture yet" in said(draw(runs=str(run_id)))
    both = said(draw(runs=f"1,{run_id}"))
    assert "bare/s0" in both and both.count("nothing yet") == 2


def test_a_file_that_is_gone_or_damaged_is_said_in_its_cell(project: Project):
    first, second = (s for s in queries.samples(queries.run(project.db, 1)) if s.step == 40)
    draw(runs="1")
    Path(first.path).unlink()
    Path(second.path).write_bytes(b"\x89PNG\r\n\x1a\n torn")
    assert said(draw(runs="1", by="latest")).count("picture is missing") == 2
    Path(second.path).unlink()
    assert "data:image/png;base64" not in said(draw(runs="1", by="step", step="40"))


def test_a_large_picture_is_reduced_to_what_is_shown(project: Project):
    folder = RunDir(Path(queries.run(project.db, 2).run_dir)).sample_step(40)
    Image.effect_noise((900, 900), 90).convert("RGB").save(folder / "000.png")
    assert (folder / "000.png").stat().st_size > 800_000
    text = said(draw(runs="2", by="latest"))
    assert "data:image/jpeg;base64" in text and len(text) < 150_000


def test_many_prompts_come_some_at_a_time(project: Project, tmp_path: Path):
    folder = RunDir(Path(queries.run(project.db, 1).run_dir)).sample_step(40)
    for i in range(20):
        Image.new("RGB", (8, 8)).save(folder / f"{i:03d}.png")
    prompts = ", ".join(f'"prompt {i}"' for i in range(20))
    (folder / "meta.json").write_text(f'{{"step": 40, "usd": 0.02, "prompts": [{prompts}]}}')
    page = draw(runs="1", by="latest")
    last = page.number_input("part")
    assert last.max * 16 >= 20 and "prompt 1<" in said(page)
    assert "prompt 19<" in said(draw(runs="1", by="latest", part="2"))


def test_only_the_folders_of_chosen_runs_are_read(project: Project):
    for i in range(4):
        project.train(project.queue("other", seed=i + 1))
    for run in queries.runs(project.db)[2:]:
        meta = RunDir(Path(run.run_dir)).sample_step(40) / "meta.json"
        meta.unlink()
        os.mkfifo(meta)  # whoever reads it waits for ever
    assert said(draw(runs="1,2")).count("data:image/png;base64") == 4
