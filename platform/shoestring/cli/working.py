"""The verb work, and working until one run has ended (sweeps)."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shoestring.cli.looking import open_project
from shoestring.cli.output import guarded, say
from shoestring.errors import FAILED, INTERRUPTED

if TYPE_CHECKING:
    from shoestring.db import Database
    from shoestring.home import Home
    from shoestring.worker import Worked

ENDED = ("succeeded", "failed", "cancelled", "paused")  # paused: a person has to decide


def register(app: typer.Typer) -> None:
    """Add the verb of this file."""
    app.command()(guarded(work))


def work(
    until_empty: Annotated[bool, typer.Option("--until-empty", help="End when nothing is left to do.")] = False,
    idle_exit: Annotated[float | None, typer.Option("--idle-exit", min=0, help="End after S idle seconds.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")] = False,
) -> None:
    """Claim runs and train them, one at a time. Ctrl-C checkpoints the run and gives it back; a second one kills."""
    home, db = open_project()
    done = _work(home, db, json_, until_empty=until_empty, idle_exit_s=idle_exit)
    if json_:
        from shoestring.cli.output import say_json

        say_json({"states": dict(done.states), "interrupted": done.interrupted, "problems": done.problems})
    elif not done.states:
        say("Nothing to do: no run in the queue can be claimed. Next: shoestring status")
    if done.interrupted:
        raise typer.Exit(INTERRUPTED)
    if done.states["failed"]:
        raise typer.Exit(FAILED)


def work_until(home: Home, db: Database, run_id: int) -> None:
    """Train what the queue gives until run `run_id` has ended; quietly where there is no terminal.

    Sends nothing to MLflow: whoever works run by run mirrors once at the end. Raises KeyboardInterrupt.
    """
    from shoestring import queries

    done = _work(home, db, False, mirror=False, until=lambda: queries.run(db, run_id).state in ENDED)
    if done.interrupted:
        raise KeyboardInterrupt


def _work(home: Home, db: Database, json_: bool, mirror: bool = True, **how: Any) -> Worked:
    from shoestring.executors import EXECUTORS
    from shoestring.live import LiveView
    from shoestring.tracking import Tracker
    from shoestring.worker import Worker

    tracker = Tracker(home, db.url.render_as_string(hide_password=False)) if mirror else None
    worker = Worker(home, db, EXECUTORS["local"](), tracker)
    with LiveView(as_json=json_) as view:
        done = worker.work(show=view, **how)
    for problem in done.problems:
        print(f"warning: {problem}", file=sys.stderr)
    return done
