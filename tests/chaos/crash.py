"""Crash points: end a worker or a trainer just before or just after one of its durable acts, wherever there is one.

The acts are not listed here: `record` notes every fsync, rename and SQL statement that a run makes, and each place in
that record is a point. `at` ends the process (SIGKILL to itself, so nothing is tidied up) when it comes to one.
"""

from __future__ import annotations

import os
import re
import runpy
import signal
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.engine.default import DefaultDialect

Notice = Callable[[str], None]  # is told "before …" and "after …" of every durable act


def record(path: Path) -> Notice:
    """Append the name of every point that is passed to the file `path`."""

    def notice(point: str) -> None:
        with open(path, "a") as file:
            file.write(point + "\n")

    return notice


def at(point: str, time: int, done: Path) -> Notice:
    """Die when `point` is passed for the `time`-th time, once: `done` is made then, and nobody dies where it is."""
    passed = Counter[str]()

    def notice(name: str) -> None:
        passed[name] += 1
        if (name, passed[name]) == (point, time) and not done.exists():
            done.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    return notice


def watch(notice: Notice) -> None:
    """Tell `notice` of every fsync and rename of this process from now on."""
    for name in ("fsync", "rename", "replace"):
        setattr(os, name, _told(name, getattr(os, name), notice))


def watch_database(notice: Notice) -> None:
    """Tell `notice` of every writing statement and COMMIT of this process from now on, with the function it is for."""

    @event.listens_for(Engine, "before_cursor_execute")
    def before(conn: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if name := _verb(statement):
            notice(f"before {name} in {_function()}")

    @event.listens_for(Engine, "after_cursor_execute")
    def after(conn: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if name := _verb(statement):
            notice(f"after {name} in {_function()}")

    plain = DefaultDialect.do_commit

    def do_commit(self: Any, connection: Any) -> None:
        notice(f"before COMMIT in {_function()}")
        plain(self, connection)
        notice(f"after COMMIT in {_function()}")

    DefaultDialect.do_commit = do_commit  # type: ignore[method-assign]


def _told(name: str, real: Callable[..., Any], notice: Notice) -> Callable[..., Any]:
    def act(what: Any, *rest: Any, **more: Any) -> Any:
        where = os.readlink(f"/proc/self/fd/{what}") if isinstance(what, int) else str(what)
        point = f"{name} {_kind(where)}"
        notice(f"before {point}")
        done = real(what, *rest, **more)
        notice(f"after {point}")
        return done

    return act


def _kind(path: str) -> str:
    """A path without what differs from run to run."""
    return re.sub(r"\d+", "N", Path(path).name)


def _verb(statement: str) -> str:
    """`INSERT events` of a writing statement; "" for one that only reads."""
    found = re.match(r"\s*(INSERT INTO|UPDATE|DELETE FROM|COPY)\s+(\w+)", statement)
    return f"{found[1].split()[0]} {found[2]}" if found else ""


def _function() -> str:
    """The function of the state layer that is at work: `runs.finish`."""
    frame, found = sys._getframe(1), "elsewhere"
    while frame := frame.f_back:  # type: ignore[assignment]
        module = frame.f_globals.get("__name__", "")
        if module in ("shoestring.runs", "shoestring.leases", "shoestring.roster"):
            found = f"{module.removeprefix('shoestring.')}.{frame.f_code.co_name}"
    return found


def notice_of(how: Sequence[str]) -> Notice:
    """What `record FILE` or `at POINT TIME DONE` asks for."""
    return record(Path(how[1])) if how[0] == "record" else at(how[1], int(how[2]), Path(how[3]))


if __name__ == "__main__":  # python crash.py record FILE -- SCRIPT-OR-MODULE ARGUMENTS…, or: at POINT TIME DONE -- …
    words = sys.argv[sys.argv.index("--") + 1 :]
    watch(notice_of(sys.argv[1:]))
    sys.argv = words
    if words[0].endswith(".py"):
        runpy.run_path(words[0], run_name="__main__")
    else:
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
