"""Nothing is lost: workers and trainers are killed at random, and the results equal those of undisturbed runs.

The parts and the offline checker are in `tests/chaos/`. Each run of CI draws a fresh seed; a failure prints it, and
SHOESTRING_CHAOS_SEED gives it again. `./run chaos` does the same at full size.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from chaos import bench, parts
from chaos.checker import check, look
from chaos.jobs import Outcome, Trainer
from chaos.parts import Part
from chaos.storm import schedule
from postgres import Postgres
from shoestring.db import Database
from shoestring.tables import events, metrics, runs
from sqlalchemy import delete, update

pytestmark = pytest.mark.storm  # `.ci/run` gives these a process of their own: they wait more than they compute


@pytest.fixture(scope="module")
def seed() -> int:
    given = os.environ.get("SHOESTRING_CHAOS_SEED")
    drawn = int(given) if given else random.SystemRandom().randrange(2**31)
    print(f"SHOESTRING_CHAOS_SEED={drawn}")
    return drawn


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    return bench.sqlite_databases(tmp_path_factory.mktemp("databases"))


@pytest.fixture(scope="module")
def few(sqlite: Iterator[str], tmp_path_factory: pytest.TempPathFactory, seed: int) -> tuple[Part, str, Path]:
    """A small storm: what came of it, its database, its folder."""
    folder, url = tmp_path_factory.mktemp("few"), next(sqlite)
    return parts.kills(url, folder, seed, 3, print), url, folder


def held(part: Part) -> None:
    print(f"{part.name} × {part.n}, seed {part.seed}, {part.seconds:.0f} s: {part.text}")
    assert not part.problems, f"seed {part.seed}: " + "\n".join(part.problems[:20])


def test_the_same_seed_gives_the_same_faults():
    assert list(schedule(5, 50, 1.0)) == list(schedule(5, 50, 1.0)) != list(schedule(6, 50, 1.0))


def test_a_few_kills_change_no_result(few: tuple[Part, str, Path]):
    held(few[0])


@pytest.mark.timeout(900)
@pytest.mark.slow
def test_200_kills_on_sqlite_change_no_result(sqlite: Iterator[str], tmp_path: Path, seed: int):
    held(parts.kills(next(sqlite), tmp_path / "storm", seed, 200, print))


@pytest.mark.timeout(600)
@pytest.mark.slow
def test_50_kills_on_postgresql_change_no_result(postgres: Postgres, tmp_path: Path, seed: int):
    held(parts.kills(postgres.new(), tmp_path / "storm", seed, 50, print))


@pytest.mark.slow
def test_5_kills_of_the_real_trainer_leave_the_same_weights(sqlite: Iterator[str], tmp_path: Path, seed: int):
    held(parts.kills(next(sqlite), tmp_path / "storm", seed, 5, print, bench.real_trainer(tmp_path)))


@pytest.mark.timeout(600)
@pytest.mark.slow
def test_a_crash_at_any_durable_act_changes_no_result(sqlite: Iterator[str], tmp_path: Path):
    part = parts.crashes(sqlite, tmp_path / "crashes", print)
    assert part.n >= 25
    held(part)


@pytest.mark.slow
def test_a_crash_of_postgresql_loses_nothing_and_takes_no_run_from_its_worker(tmp_path: Path, seed: int):
    with Postgres() as server:  # not the one that other tests use
        held(parts.restarts(server, tmp_path / "storm", seed, 2, print))


@pytest.mark.slow
def test_clocks_that_jump_an_hour_reap_no_live_run_and_leave_none_waiting(
    sqlite: Iterator[str], tmp_path: Path, seed: int
):
    held(parts.clocks(next(sqlite), tmp_path / "storm", seed, 4, print))


@pytest.mark.slow
def test_sigterm_loses_no_step_and_counts_no_failure(sqlite: Iterator[str], tmp_path: Path, seed: int):
    held(parts.terms(next(sqlite), tmp_path / "storm", seed, 5, print))


@pytest.mark.slow
def test_kills_do_not_carry_a_run_past_its_budget(sqlite: Iterator[str], tmp_path: Path, seed: int):
    held(parts.budgets(next(sqlite), tmp_path / "storm", seed, 5, print))


def test_a_damaged_checkpoint_is_passed_over_or_said(tmp_path: Path, seed: int):
    held(parts.corrupt(tmp_path / "corrupt", seed, 8, print))


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Outcome]:
    return bench.references(Trainer("fast"), tmp_path_factory.mktemp("references"))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda c: c.execute(delete(metrics).where(metrics.c.run_id == 1, metrics.c.step == 7)), "missing"),
        (lambda c: c.execute(update(metrics).where(metrics.c.step == 9).values(value=0.5)), "different"),
        (lambda c: c.execute(delete(events).where(events.c.kind == "started", events.c.run_id == 2)), "→"),
        (lambda c: c.execute(update(runs).where(runs.c.id == 3).values(state="cancelled")), "its row says"),
        (lambda c: c.execute(update(events).where(events.c.kind == "succeeded").values(token=0)), "not fenced"),
        (lambda c: c.execute(update(runs).where(runs.c.id == 1).values(spent_micro=1)), "attempts cost"),
    ],
)
def test_the_checker_sees_what_is_wrong(few: tuple[Part, str, Path], references: dict[int, Outcome], spoil, said: str):
    _, url, folder = few
    db = Database(url)
    assert not check(url, folder, references).problems
    with pytest.raises(Undone), db.write() as conn:
        spoil(conn)
        problems = look(conn, folder, references).problems
        raise Undone
    db.close()
    assert any(said in problem for problem in problems), problems[:5]


class Undone(Exception):
    """Takes a spoilt transaction back."""
