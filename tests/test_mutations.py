"""Each fence holds something: with any `lease_token` clause taken out of the SQL, a stale worker gets through.

The clauses are not listed here. They are read from the statements that a whole life of a run sends, by the function
that sends them; a new write without a scenario that would miss its fence fails here.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fences import NOW, WRITES, ended, everything
from shoestring import actions, runs
from shoestring.db import Database
from shoestring.errors import LeaseLost
from shoestring.moves import move
from sqlalchemy import Engine, event

CLAUSE = re.compile(r"(\w+\.)?lease_token = (\?|%\(\w+\)s(?:::\w+)?)")  # SQLAlchemy writes `lease_token=?` in a SET
FENCED_DOORS = ("runs.", "leases.reap_one")  # those that are given a token; actions read it in their own transaction


@dataclass
class Fences:
    """Notes every fencing clause that is sent, and takes those out that `broken` names."""

    broken: Callable[[str, str], bool] = lambda door, place: False
    found: set[tuple[str, str]] = field(default_factory=set)  # (the function that was called, the one that sent it)

    def look(self, conn: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> tuple[str, Any]:
        if not CLAUSE.search(statement):
            return statement, parameters
        door, place = _callers()
        self.found.add((door, place))
        if self.broken(door, place):
            statement = CLAUSE.sub(lambda clause: f"({clause[0]} OR 1 = 1)", statement)
        return statement, parameters


@contextmanager
def watching(fences: Fences) -> Iterator[Fences]:
    event.listen(Engine, "before_cursor_execute", fences.look, retval=True)
    try:
        yield fences
    finally:
        event.remove(Engine, "before_cursor_execute", fences.look)


def _callers() -> tuple[str, str]:
    frame, names = sys._getframe(1), []
    while frame := frame.f_back:  # type: ignore[assignment]
        module = frame.f_globals.get("__name__", "")
        if module.startswith("shoestring.") and module != "shoestring.db":
            names.append(f"{module.removeprefix('shoestring.')}.{frame.f_code.co_name}")
    return names[-1], names[0]


class Stage:
    """Fresh databases with one run in them, and what the scenarios below do to it."""

    def __init__(self, empty: Path, folder: Path, submission: Callable[..., actions.Submission]) -> None:
        self.empty, self.folder, self.submission, self.made = empty, folder, submission, 0

    def run(self) -> tuple[Database, runs.Lease]:
        """A database with a run that is claimed."""
        self.made += 1
        db = Database(f"sqlite:///{shutil.copy(self.empty, self.folder / f'{self.made}.db')}")
        actions.submit(db, [self.submission()], runs_dir=self.folder, now=NOW)
        return db, claimed(db)

    def life(self) -> None:
        """Send every statement that a run can meet."""
        db, lease = self.run()
        for name, write in WRITES.items():
            if name not in ("finish", "release"):
                write(db, lease)
        runs.release(db, lease)
        lease = claimed(db)
        runs.start(db, lease, 7, now=NOW)
        runs.finish(db, lease, ended(lease, "stopped", "stopped_by_request"), now=NOW)
        runs.reap_one(db, lease.run_id, claimed(db).token, 0, now=NOW)
        runs.release(db, claimed(db))
        for act in (actions.pause, actions.resume, actions.cancel):
            act(db, lease.run_id, now=NOW)
        db.close()

    def stale_writes(self, state: str) -> None:
        """A worker whose run another one holds, in `state`, is refused whatever it says."""
        for name, write in WRITES.items():
            db, stale = self.run()
            runs.start(db, stale, 0, now=NOW)
            runs.add_checkpoint(db, stale, 50, "/c50", 1, now=NOW)
            runs.reap_one(db, stale.run_id, stale.token, 0, now=NOW)
            other = claimed(db)
            if state != "leased":
                runs.start(db, other, 50, now=NOW)
            if state == "stopping":
                runs.stopping(db, other, now=NOW)
            before = everything(db)
            with pytest.raises(LeaseLost):
                write(db, stale)
            assert everything(db) == before, name
            db.close()

    def stale_reaper(self) -> None:
        """A reaper that saw an earlier attempt at the same beat takes nothing."""
        db, first = self.run()
        runs.release(db, first)
        second = claimed(db)
        before = everything(db)
        assert not runs.reap_one(db, second.run_id, first.token, 0, now=NOW) and everything(db) == before
        db.close()

    def stale_move(self) -> None:
        """A move under an earlier token moves nothing."""
        db, first = self.run()
        runs.release(db, first)
        second = claimed(db)
        with db.write() as conn:
            assert not move(conn, second.run_id, ("leased", "running"), NOW, "started", token=first.token)
        db.close()

    def scenarios(self) -> None:
        """Raise something where a fence is missing."""
        self.stale_move()
        self.stale_reaper()
        for state in ("running", "leased", "stopping"):
            self.stale_writes(state)


def claimed(db: Database) -> runs.Lease:
    lease = runs.claim(db, "w", f"n{id(object())}", now=NOW)
    assert lease
    return lease


@pytest.fixture
def stage(migrated: Path, tmp_path: Path, submission) -> Stage:
    return Stage(migrated, tmp_path, submission)


def test_with_every_fence_in_place_the_scenarios_pass(stage: Stage):
    stage.scenarios()


@pytest.mark.slow
def test_no_fence_can_be_taken_out_unnoticed(stage: Stage):
    with watching(Fences()) as fences:
        stage.life()
    places = sorted({place for _, place in fences.found})
    doors = sorted({door for door, _ in fences.found if door.startswith(FENCED_DOORS)})
    assert len(places) >= 4 and len(doors) >= 9, fences.found
    mutants = {f"every clause of {place}": lambda d, p, place=place: p == place for place in places}
    mutants |= {f"every clause on the way of {door}": lambda d, p, door=door: d == door for door in doors}
    survivors = []
    for what, broken in mutants.items():
        with watching(Fences(broken)):
            try:
                stage.scenarios()
            except (Exception, pytest.fail.Exception):  # whatever it is, a test would be red
                continue
        survivors.append(what)
    assert not survivors, f"{len(mutants)} mutants; nothing noticed {survivors}"
    print(f"{len(mutants)} mutants ({len(places)} places, {len(doors)} doors), all noticed")
