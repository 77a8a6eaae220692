"""The verbs work and dispatch, an engine job's own command, and working until one run has ended (sweeps)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shoestring.cli.looking import open_project
from shoestring.cli.output import guarded, say
from shoestring.errors import FAILED, INTERRUPTED, UsageError

if TYPE_CHECKING:
    from shoestring.db import Database
    from shoestring.home import Home
    from shoestring.tracking import Tracker
    from shoestring.worker import Worked, Worker

ENDED = ("succeeded", "failed", "cancelled", "paused")  # paused: a person has to decide


def register(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    app.command()(guarded(work))
    app.command()(guarded(dispatch))
    app.command(hidden=True)(guarded(attempt))


UntilEmpty = Annotated[bool, typer.Option("--until-empty", help="End when nothing is left to do.")]
IdleExit = Annotated[float | None, typer.Option("--idle-exit", min=0, help="End after S idle seconds.")]
Queue = Annotated[str, typer.Option("--queue", help="Take only runs of this queue.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]


def work(
    until_empty: UntilEmpty = False, idle_exit: IdleExit = None, queue: Queue = "default", json_: Json = False
) -> None:
    """Claim runs and train them, one at a time. Ctrl-C checkpoints the run and gives it back; a second one kills."""
    queue = _known(queue)
    home, db = open_project()
    worker = _worker(home, db, _tracker(home, db), queue)
    _conclude(_watch(worker, json_, until_empty=until_empty, idle_exit_s=idle_exit), json_)


def dispatch(
    engine: Annotated[str, typer.Argument(help="Where the jobs go: slurm.")],
    max_jobs: Annotated[int, typer.Option("--max-jobs", min=1, max=500, help="Jobs at once, waiting or not.")] = 1,
    partition: Annotated[str, typer.Option("--partition", help="Slurm's partition; its default if left out.")] = "",
    account: Annotated[str, typer.Option("--account", help="Slurm's account.")] = "",
    qos: Annotated[str, typer.Option("--qos", help="Slurm's quality of service.")] = "",
    time: Annotated[
        str, typer.Option("--time", help="Time limit of a job; 2 minutes before it the run is saved.")
    ] = "",
    cpus: Annotated[int, typer.Option("--cpus", help="Cores for each process of a run; more where it asks.")] = 1,
    memory_gb: Annotated[
        float, typer.Option("--memory-gb", help="Memory of a job, more where its run asks; 0: the partition's own.")
    ] = 0.0,
    until_empty: UntilEmpty = False,
    idle_exit: IdleExit = None,
    queue: Queue = "default",
    json_: Json = False,
) -> None:
    """Claim runs and submit one engine job for each. Ctrl-C gives back what has not begun; the rest goes on alone."""
    from shoestring.executors.slurm import SlurmExecutor, SlurmOptions

    if engine != "slurm":
        raise UsageError(
            f"there is no engine {engine!r} to dispatch to", "slurm; on others start workers: docs/engines.md"
        )
    options, queue = SlurmOptions(partition, account, qos, time, cpus, memory_gb), _known(queue)
    home, db = open_project()
    if db.path is not None:
        print("warning: an SQLite database serves one machine: with several nodes use PostgreSQL", file=sys.stderr)
    from shoestring.dispatcher import Dispatcher

    executor = SlurmExecutor(home, db.url.render_as_string(hide_password=False), options)
    dispatcher = Dispatcher(home, db, executor, _tracker(home, db), max_jobs=max_jobs, queue=queue)
    _conclude(_watch(dispatcher, json_, until_empty=until_empty, idle_exit_s=idle_exit), json_)


def attempt(file: Annotated[Path, typer.Argument(help="The job file that the dispatcher wrote.")]) -> None:
    """Carry one attempt, as the engine's job that was submitted for it."""
    from shoestring.job import carry

    if carry(file) == "failed":
        raise typer.Exit(FAILED)


def _conclude(done: Worked, json_: bool) -> None:
    """Say what was done, and end with the exit code that goes with it."""
    if json_:
        from shoestring.cli.output import say_json

        say_json({"states": dict(done.states), "interrupted": done.interrupted, "problems": done.problems})
    elif not done.states:
        say("Nothing to do: no run in the queue can be claimed. Next: shoestring status")
    if done.interrupted:
        raise typer.Exit(INTERRUPTED)
    if done.states["failed"]:
        raise typer.Exit(FAILED)


def work_until(home: Home, db: Database, run_ids: Sequence[int]) -> None:
    """Train what the queue gives until one of these runs has ended; quietly where there is no terminal.

    Sends nothing to MLflow: whoever works run by run mirrors once at the end. Raises KeyboardInterrupt.
    """
    from shoestring import queries

    worker = _worker(home, db, queue=queries.run(db, run_ids[0]).queue)
    done = _watch(worker, False, until=lambda: any(queries.run(db, i).state in ENDED for i in run_ids))
    if done.interrupted:
        raise KeyboardInterrupt


def _known(queue: str) -> str:
    """The name of a queue. Raises UsageError for what is none."""
    import re

    from shoestring.request_parts import NAME

    if not re.fullmatch(NAME, queue):
        raise UsageError(f"--queue {queue!r}", "lower-case letters, digits, dots, dashes and underscores, at most 64")
    return queue


def _worker(home: Home, db: Database, tracker: Tracker | None = None, queue: str = "default") -> Worker:
    from shoestring.executors.local import LocalExecutor
    from shoestring.worker import Worker

    return Worker(home, db, LocalExecutor(), tracker, queue=queue)


def _tracker(home: Home, db: Database) -> Tracker:
    from shoestring.tracking import Tracker

    return Tracker(home, db.url.render_as_string(hide_password=False))


def _watch(worker: Worker, json_: bool, **how: Any) -> Worked:
    """Let it work, showing on the terminal what it does."""
    from shoestring.live import LiveView

    with LiveView(as_json=json_) as view:
        done = worker.work(show=view, **how)
    for problem in done.problems:
        print(f"warning: {problem}", file=sys.stderr)
    return done
