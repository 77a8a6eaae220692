"""Shared by all tests: `./run test --all` turns a skipped test into a failed run."""

from __future__ import annotations

import functools
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from postgres import Postgres
from shoestring import actions, migrate
from shoestring.actions import Submission
from shoestring.db import Database
from shoestring.home import Home
from shoestring_trainer import config as c
from shoestring_trainer.presets import PRESETS
from sqlalchemy.engine import make_url


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if os.environ.get("SHOESTRING_NO_SKIPS") and terminalreporter.stats.get("skipped"):
        terminalreporter.write_line("skipped tests are not allowed here", red=True)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("SHOESTRING_NO_SKIPS") and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session", autouse=True)
def packages_are_read_once() -> None:
    """Streamlit reads the metadata of all installed packages for each page that a test draws: half a second each."""
    if "streamlit.testing.v1" in sys.modules:
        from streamlit.components.v2 import manifest_scanner

        once = functools.cache(manifest_scanner.scan_component_manifests)
        manifest_scanner.scan_component_manifests = once  # type: ignore[assignment]


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database with today's schema, to be copied: migrating one takes a while."""
    path = tmp_path_factory.mktemp("migrated") / "empty.db"
    migrate.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server of this test run."""
    with Postgres() as server:
        yield server


@pytest.fixture
def sqlite_db(migrated: Path, tmp_path: Path) -> Database:
    """An SQLite database of this test's own."""
    return Database(f"sqlite:///{shutil.copy(migrated, tmp_path / 'shoestring.db')}")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A project of this test's own."""
    home = Home(tmp_path, tmp_path / "state")
    home.state.mkdir()
    return home


@pytest.fixture
def sqlite(home: Home, migrated: Path) -> Iterator[Database]:
    """The SQLite database of `home`."""
    opened = Database(f"sqlite:///{shutil.copy(migrated, home.state / 'shoestring.db')}")
    yield opened
    opened.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def db(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A database of this test's own, once of each kind."""
    if request.param == "sqlite":
        yield request.getfixturevalue("sqlite_db")
        return
    server: Postgres = request.getfixturevalue("postgres")
    opened = Database(server.new())
    yield opened
    opened.close()
    server.drop(opened.url.database)


@pytest.fixture(params=["sqlite", "postgresql"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """What a user sets: nothing for SQLite, SHOESTRING_DB for a new PostgreSQL database; says which."""
    monkeypatch.delenv("SHOESTRING_DB", raising=False)
    if request.param == "sqlite":
        yield request.param
        return
    server: Postgres = request.getfixturevalue("postgres")
    address = server.new()
    monkeypatch.setenv("SHOESTRING_DB", address)
    yield request.param
    server.drop(make_url(address).database or "")


@pytest.fixture(scope="session")
def submission() -> Callable[..., Submission]:
    """Makes submissions of a tiny run; `name` is also its spec_hash, so equal names are equal runs."""
    job = c.TrainConfig(
        name="tiny", seed=0, model=PRESETS["nano"], objective=c.Edm(kind="edm"), optimizer=c.AdamW(kind="adamw"),
        data=c.DataConfig(path="/data", name="d", digest="0", space="pixels", shape=(3, 16, 16), size_px=16,
                          n_train=8, caption_dim=4, caption_tokens=2.0),
        batch_size=4, stages=(c.Stage(steps=100, mask=c.NoMask(kind="none"), lr=1e-3, planned_usd_per_step=1e-4),),
        evaluate=c.Evaluate(every_steps=50), checkpoints=c.Checkpoints(every_steps=50),
        price=c.Price(hardware="test", usd_per_hour=1.0, source="test"),
    )  # fmt: skip

    def make(name: str = "dense/s0", **changes: object) -> Submission:
        fields = {"experiment": name.split("/")[0], "project": "emoji", "seed": 0, "spec_hash": name, "config": job}
        return Submission(name, **{**fields, "planned_usd": 0.01, **changes})

    return make


@pytest.fixture
def enqueue(db, submission, tmp_path: Path):
    def one(name: str = "dense/s0", **changes: object) -> int:
        return actions.submit(db, [submission(name, **changes)], runs_dir=tmp_path / "runs", now=1e6)[0].run_id

    return one
