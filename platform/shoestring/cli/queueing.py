"""Verbs that change the queue: submit, cancel, pause, resume, retry. (See also `working`, `looking`.)"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shoestring.cli import looking, status, working
from shoestring.cli.looking import open_project
from shoestring.cli.output import guarded, say, say_json
from shoestring.errors import ShoestringError

if TYPE_CHECKING:
    from shoestring.db import Database
    from shoestring.plan import FilePlan

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Runs = Annotated[list[str], typer.Argument(metavar="RUN...", help="Ids or names of runs.")]


def register(app: typer.Typer) -> None:
    """Add the verbs of this file, of `working` and of `looking`."""
    app.command()(guarded(submit))
    working.register(app)
    status.register(app)
    looking.register(app)
    for verb in (cancel, pause, resume, retry):
        app.command()(guarded(verb))


def submit(
    file: Annotated[Path, typer.Argument(help="The experiments file.")] = Path("experiments.yaml"),
    only: Annotated[list[str] | None, typer.Option("--only", help="Only this experiment (repeat for more).")] = None,
    again: Annotated[bool, typer.Option("--again", help="Make new runs even where equal ones exist.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be submitted; submit nothing.")] = False,
    json_: Json = False,
) -> None:
    """Price a file's experiments and put their runs into the queue; equal runs that exist are named, not repeated."""
    from shoestring import intake, plan

    home, db = open_project()
    planned = plan.plan_file(file, home, only or ())
    done = intake.submit_file(home, db, planned, again=again, dry_run=dry_run)
    if dry_run:
        return _would(planned, json_)
    rows = [
        {"run": one.run_id, "name": run.name, "existed": one.existed, "state": one.state, "hint": one.hint}
        for one, run in zip(done, planned.runs, strict=True)
    ]
    n_new = sum(not one.existed for one in done)
    if json_:
        return say_json({"runs": rows, "new": n_new})
    for row in rows:
        what = f"exists already, {row['state']}" if row["existed"] else row["state"]
        say(f"run {row['run']}  {row['name']}: {what}" + (f". To run it again: {row['hint']}" if row["hint"] else ""))
    say(f"{n_new} new, {len(rows) - n_new} unchanged. Next: shoestring work --until-empty")


def cancel(runs: Runs, json_: Json = False) -> None:
    """Cancel runs: at once when they wait, after a checkpoint when they train."""
    from shoestring import actions

    _each(runs, json_, lambda db, run_id: {"state": actions.cancel(db, run_id)})


def pause(runs: Runs, json_: Json = False) -> None:
    """Set runs aside; one that trains makes a checkpoint first."""
    from shoestring import actions

    _each(runs, json_, lambda db, run_id: {"state": actions.pause(db, run_id)})


def resume(
    runs: Runs,
    max_usd: Annotated[
        float | None, typer.Option("--max-usd", min=0, max=1e9, help="A new cap on actual dollars.")
    ] = None,
    json_: Json = False,
) -> None:
    """Queue paused runs again; they go on from their last checkpoint."""
    from shoestring import actions

    _each(runs, json_, lambda db, run_id: {"state": actions.resume(db, run_id, max_usd=max_usd)})


def retry(runs: Runs, json_: Json = False) -> None:
    """Make new runs of failed or cancelled ones."""
    from shoestring import actions

    def again(db: Database, run_id: int) -> dict[str, Any]:
        made = actions.retry(db, run_id)
        return {"new_run": made.run_id, "existed": made.existed, "state": made.state}

    _each(runs, json_, again)


def _each(names: list[str], json_: bool, act: Callable[[Database, int], dict[str, Any]]) -> None:
    """Act on every run; one that refuses does not keep the others from it. Raises the first refusal at the end."""
    from shoestring import queries

    _, db = open_project()
    rows: list[dict[str, Any]] = []
    refusals: list[ShoestringError] = []
    for name in names:
        try:
            run = queries.find_run(db, name)
            rows.append({"run": run.id, "name": run.name, **act(db, run.id)})
        except ShoestringError as error:
            refusals.append(error)
            rows.append({"run": name, "error": error.as_dict()})
    if json_:
        say_json({"runs": rows})
        if refusals:
            raise typer.Exit(refusals[0].exit_code)
        return
    for row in rows:
        if "error" not in row:
            new = f": run {row['new_run']}" if "new_run" in row else ""
            say(f"run {row['run']}  {row['name']}{new}: {_state_in_words(row['state'])}")
    for refusal in refusals[1:]:
        say(f"error: {refusal.message}")
    if refusals:
        raise refusals[0]


def _state_in_words(state: str) -> str:
    return f"{state}, asked to stop" if state in ("leased", "running", "stopping") else state


def _would(planned: FilePlan, json_: bool) -> None:
    if json_:
        return say_json(planned.as_json())
    for run in planned.runs:
        say(f"{run.name}: {run.n_steps} steps, ${run.usd.p50:.5f} (${run.usd.p10:.5f} to ${run.usd.p90:.5f})")
    say(f"{len(planned.runs)} runs, ${planned.usd.p50:.5f}. Nothing was submitted.")
