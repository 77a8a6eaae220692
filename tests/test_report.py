"""`shoestring report`: one page that draws everything from what it carries, on a real database and in real Chromium."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from browser import SIZES, TOO_WIDE, chromium, chromium_browser
from projects import PROMPTS, STEPS, Project
from shoestring import queries
from shoestring.cli.main import app
from shoestring.home import Home
from shoestring.migrate import upgrade
from shoestring_trainer.run_dir import RunDir
from typer.testing import CliRunner

INSIDE = ("file:", "data:")
CHARTS_DRAWN = "document.querySelectorAll('.plot .main-svg').length >= document.querySelectorAll('.plot').length"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A project with two seeds of two experiments, a failure, a sweep, and pictures at two steps."""
    root = tmp_path_factory.mktemp("reported")
    home = Home(root=root, state=root / ".shoestring")
    home.state.mkdir()
    upgrade(home.db_url)
    project = Project(home)
    for experiment, loss in (("dense", 0.3), ("deferred-75", 0.1)):
        for seed in (0, 1):
            run_id = project.queue(experiment, seed)
            project.train(run_id, loss + 0.01 * seed)
            project.pictures(RunDir(Path(queries.run(project.db, run_id).run_dir)), STEPS // 2)
    project.train(project.queue("broken"), fails="train/loss is <img src=x onerror=alert(1)> at step 20")
    project.sweep(root, [(0.5, 1, 0.3), (0.75, 4, 0.2), (0.9, 1, 0.4), (0.1, 4, 0.5)])
    return home


@pytest.fixture
def there(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.chdir(home.root)
    monkeypatch.setenv("SHOESTRING_HOME", str(home.state))
    monkeypatch.delenv("SHOESTRING_DB", raising=False)
    return home


@pytest.fixture(scope="module")
def page(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the whole project."""
    out = tmp_path_factory.mktemp("sent") / "report.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home.root)
        patch.setenv("SHOESTRING_HOME", str(home.state))
        patch.delenv("SHOESTRING_DB", raising=False)
        said = call("report", "--html", str(out), "--json")
    told = json.loads(said.stdout)
    assert (told["project"], told["runs"], told["bytes"]) == ("tiny", list(range(1, 10)), out.stat().st_size)
    return out


def call(*words: str, code: int = 0):
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == code, done.output
    return done


class Attributes(HTMLParser):
    """Every attribute of a page, by tag."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found += [(tag, name, value or "") for name, value in attrs]


def test_the_page_names_nothing_outside_itself_and_may_reach_nothing(page: Path):
    text = page.read_text()
    attributes = Attributes(text).found
    for tag, name, value in attributes:
        if name in ("src", "href", "srcset", "action", "poster"):
            assert value.startswith(("data:", "#")), (tag, name, value[:60])
        assert not name.startswith("on"), (tag, name, value)
    assert not re.findall(r"url\((?!data:)[^)]*\)", text.split("</style>")[0])
    policy = next(value for tag, name, value in attributes if tag == "meta" and "default-src" in value)
    assert "default-src 'none'" in policy and "connect-src 'none'" in policy
    assert "'unsafe-inline'" not in policy.split("script-src")[1].split(";")[0] and "unsafe-eval" not in policy
    assert page.stat().st_size < 4_000_000


def test_what_users_wrote_is_text_on_the_page(page: Path):
    text = page.read_text()
    assert "<b>a blue square</b>" not in text and "&lt;b&gt;a blue square&lt;/b&gt;" in text
    assert "<img src=x" not in text


def test_every_chart_has_its_sentence_its_table_and_its_numbers(page: Path):
    text = page.read_text()
    charts = re.findall(r"<figure class='chart'>(.*?)</figure>", text, re.S)
    assert len(charts) >= 7
    for chart in charts:
        assert re.search(r"<p class='takeaway'>[^<]{20,}</p>", chart)
        assert "<table class='plain'" in chart
        held = re.search(r"download='shoestring-[\w.-]+\.csv' href='data:text/csv;base64,([^']+)'", chart)
        assert held and len(list(csv.reader(io.StringIO(base64.b64decode(held[1]).decode())))) > 1
    assert "deferred-75/s0 has the lowest val/loss" in text
    for said in (
        "Ranking at equal dollars",
        "Best val/loss 0.2 at mask.ratio 0.75",
        "spent is useful so far",
        "broken",
    ):
        assert said in text, said


@pytest.mark.skipif(chromium() is None, reason="Chromium is not installed")
def test_it_opens_from_a_file_without_a_network_draws_all_and_asks_nobody(page: Path):
    with chromium_browser() as browser:
        for theme, size in (("light", "desk"), ("dark", "phone")):
            width, height = SIZES[size]
            window = browser.new_context(
                viewport={"width": width, "height": height}, color_scheme=theme, offline=True, reduced_motion="reduce"
            )
            window.set_default_timeout(120_000)
            tab, wrong = window.new_page(), list[str]()
            tab.on("console", lambda m, wrong=wrong: wrong.append(m.text) if m.type in ("error", "warning") else None)
            tab.on("pageerror", lambda e, wrong=wrong: wrong.append(str(e)))
            tab.on(
                "request", lambda r, wrong=wrong: None if r.url.startswith(("file:", "data:")) else wrong.append(r.url)
            )
            tab.goto(page.as_uri())
            tab.wait_for_function(CHARTS_DRAWN)
            assert tab.locator(".plot .main-svg").count() >= 7
            assert not tab.evaluate(TOO_WIDE)
            paper = tab.evaluate("getComputedStyle(document.body).backgroundColor")
            drawn = tab.evaluate("document.querySelector('.plot .main-svg').style.background")
            assert paper == drawn == ("rgb(255, 255, 255)" if theme == "light" else "rgb(11, 17, 32)")
            if size == "desk":
                slide(tab)
            assert not wrong
            window.close()


def slide(tab) -> None:
    """The slider shows other pictures, by keys, over dollars and over steps."""
    slider, cell = tab.locator(".samples input[type=range]"), tab.locator(".samples tbody td").first
    assert "step 40" in cell.inner_text() and tab.locator(".samples output").inner_text() == "$0.0200"
    slider.focus()
    tab.keyboard.press("Home")
    assert "step 20" in cell.inner_text() and tab.locator(".samples output").inner_text() == "$0.0100"
    assert cell.locator("img").evaluate("image => image.complete && image.naturalWidth") == 8
    tab.get_by_label("step", exact=True).check()
    assert tab.locator(".samples output").inner_text() == "40"


def test_only_chosen_runs_are_in_it_and_it_replaces_a_report_but_nothing_else(there: Home, tmp_path: Path, page: Path):
    out = tmp_path / "report.html"
    out.write_text("my own notes")
    refused = call("report", "--html", str(out), code=7)
    assert "is no report" in refused.stderr and out.read_text() == "my own notes"
    shutil.copy(page, out)
    said = json.loads(call("report", "--html", str(out), "--runs", "1,deferred-75/s0", "--json").stdout)
    assert said["runs"] == [1, 3] and [path.name for path in tmp_path.iterdir()] == ["report.html"]
    text = out.read_text()
    assert "dense/s0" in text and "deferred-75/s0" in text
    for other in ("dense/s1", "deferred-75/s1", "broken", "id='sweep'", "Budget"):
        assert other not in text, other


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--project", "nobody"], 6, "project 'nobody' has no run"),
        (["--runs", "99"], 6, "99"),
        (["--runs", ","], 2, "--runs names no run"),
        (["--metric", "no/metric"], 2, "no run has recorded 'no/metric'"),
        (["--runs", "1", "--project", "nobody"], 2, "several projects"),
    ],
)
def test_what_cannot_be_reported_is_said_before_anything_is_written(there: Home, tmp_path: Path, words, code, said):
    out = tmp_path / "report.html"
    assert said in call("report", "--html", str(out), *words, code=code).stderr
    assert not out.exists()


def test_a_folder_that_is_not_there_and_a_file_that_is_none_are_refused(there: Home, tmp_path: Path):
    assert "mkdir" in call("report", "--html", str(tmp_path / "no" / "report.html"), code=2).stderr
    assert "is no file" in call("report", "--html", str(tmp_path), code=2).stderr


def test_a_project_without_runs_is_told_the_next_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SHOESTRING_HOME", str(tmp_path))
    monkeypatch.delenv("SHOESTRING_DB", raising=False)
    upgrade(Home.find().db_url)
    refused = call("report", "--html", str(tmp_path / "report.html"), code=6)
    assert "there is no run to report" in refused.stderr and "shoestring submit" in refused.stderr


def test_runs_that_have_not_begun_make_an_honest_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SHOESTRING_HOME", str(tmp_path))
    monkeypatch.delenv("SHOESTRING_DB", raising=False)
    upgrade(Home.find().db_url)
    Project(Home.find()).queue("dense")
    out = tmp_path / "report.html"
    out.write_text("my own notes")
    call("report", "--html", str(out), "--force")
    text = out.read_text()
    assert text.startswith("<!doctype html>\n<!-- shoestring report -->")
    for said in ("No quality yet", "No samples yet", "Nothing has been spent yet", "dense/s0"):
        assert said in text, said
    assert PROMPTS[0] not in text
