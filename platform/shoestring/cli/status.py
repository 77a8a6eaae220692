"""`shoestring status`: what ran, what runs, what waits and why, a page at a time; or everything about one run."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shoestring.cli.looking import open_project
from shoestring.cli.output import guarded, say, say_json

if TYPE_CHECKING:
    from shoestring.db import Database
    from shoestring.records import Run

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
SUMMARY = (
    *("id", "name", "state", "reason", "kind", "step", "n_steps", "attempts", "failures", "checkpoint_step"),
    *("spent_usd", "planned_usd", "failure_class", "failure_detail", "inexact", "run_dir"),
)
EMPTY = "No runs yet. Next: shoestring submit experiments.yaml"


def register(app: typer.Typer) -> None:
    """Add the verb of this file."""
    app.command()(guarded(status))


def status(
    run: Annotated[str | None, typer.Argument(help="Id or name of one run; none: all of them.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Again every two seconds, until Ctrl-C.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many of the newest runs.")] = 200,
    before: Annotated[int | None, typer.Option("--before", help="Only runs with a smaller id: the next page.")] = None,
    json_: Json = False,
) -> None:
    """Show what ran, what runs, and what waits and why; or everything about one run."""
    _, db = open_project()
    while True:
        if run is None:
            _show_page(db, limit, before, json_)
        else:
            _show_one(db, run, json_)
        if not watch:
            return
        time.sleep(2)
        if sys.stdout.isatty():
            say("\033[2J\033[H")  # clear the screen, go to its corner


def _show_page(db: Database, limit: int, before: int | None, json_: bool) -> None:
    from shoestring import queries

    runs = queries.runs(db, limit=limit, before=before)
    older = bool(runs) and bool(queries.runs(db, limit=1, before=runs[0].id))
    waits = queries.why_each(db, [run for run in runs if run.state in ("queued", "blocked", "paused")])
    values = queries.last_values(db, [run.id for run in runs], ["train/loss", "val/loss"])
    if json_:
        rows = [_summary(run, values.get(run.id, {}), waits) for run in runs]
        next_page = runs[0].id if older else None
        return say_json({"runs": rows, "next_before": next_page, "totals": asdict(queries.totals(db))})
    if not runs:
        return say(EMPTY if before is None else f"There is no run before {before}.")
    say(f"{'run':>4}  {'name':<28} {'state':<10} {'step':>13}  {'val/loss':>8}  {'spent':>9} / {'planned':<9} why")
    for run in runs:
        loss = values.get(run.id, {}).get("val/loss")
        why = waits.get(run.id) or run.reason or run.failure_class
        if run.inexact:
            why = f"{why}, resumed inexactly".lstrip(", ")
        say(
            f"{run.id:>4}  {run.name:<28} {run.state:<10} {f'{run.step}/{run.n_steps}':>13}  "
            f"{'' if loss is None else f'{loss:.4f}':>8}  "
            f"${run.spent_usd:>8.5f} / ${run.planned_usd:<8.5f} {why}".rstrip()
        )
    if older:
        say(f"Older ones: shoestring status --before {runs[0].id}")
    totals = queries.totals(db)
    say(
        f"{totals.n_runs} run{'' if totals.n_runs == 1 else 's'}: {totals.n_active} active, "
        f"{totals.n_queued} queued, {totals.n_succeeded} succeeded, "
        f"{totals.n_failed} failed. Spent ${totals.spent_usd:.5f}, of that wasted ${totals.wasted_usd:.5f}."
    )
    if totals.n_queued and not totals.workers_alive:
        say("No worker is alive. Next: shoestring work --until-empty")


def _summary(run: Run, values: dict[str, float], waits: dict[int, str]) -> dict[str, Any]:
    return {**{name: getattr(run, name) for name in SUMMARY}, "waits_for": waits.get(run.id, ""), "metrics": values}


def _show_one(db: Database, which: str, json_: bool) -> None:
    from shoestring import queries

    run = queries.find_run(db, which)
    values = queries.last_values(db, [run.id], queries.metric_keys(db, [run.id])).get(run.id, {})
    attempts, checkpoints = queries.attempts(db, run.id), queries.checkpoints(db, run.id)
    events = queries.events(db, run.id)
    speed = queries.speed_ups(db, run.id)
    if json_:
        whole = asdict(run) | {"metrics": values, "attempts": [asdict(it) for it in attempts]}
        whole |= {"speed_ups": [it.as_json() for it in speed]}
        whole |= {"checkpoints": [asdict(it) for it in checkpoints], "events": [asdict(it) for it in events]}
        return say_json(whole)
    say(f"run {run.id}  {run.name}: {run.state}" + (f" ({run.reason})" if run.reason else ""))
    if why := queries.why_waiting(db, run):
        say(f"  {why}")
    say(f"  step {run.step} of {run.n_steps}, ${run.spent_usd:.5f} spent of ${run.planned_usd:.5f} planned")
    if run.failure_class and run.state != "paused":
        say(f"  failed: {run.failure_class}: {run.failure_detail}")
    if run.unreadable:
        say(f"  what is stored of it cannot be read: {run.unreadable}")
    if run.inexact:
        say(f"  resumed inexactly, so its numbers may differ from an uninterrupted run's: {run.inexact}")
    for event in events:
        if event.kind.endswith("_skipped"):
            what = event.kind.removesuffix("_skipped")
            say(f"  no room for the {what} of step {event.detail.get('step')}: {event.detail.get('detail')}")
    if run.needs or run.queue != "default":
        say("  " + ", ".join(part for part in (f"queue {run.queue}", run.needs and f"needs {run.needs}") if part))
    if run.job:
        say(f"  {run.job}")
    say(f"  folder {run.run_dir}")
    for attempt in attempts:
        ending = f"{attempt.outcome} {attempt.failure_class}".strip()
        steps = f"steps {attempt.first_step} to {attempt.last_step}"
        say(f"  attempt {attempt.token}: {ending}, {steps}, ${attempt.usd:.5f}")
    for checkpoint in checkpoints[-5:]:
        say(f"  checkpoint at step {checkpoint.step}: {checkpoint.state}, {checkpoint.bytes / 1e6:.1f} MB")
    for one in speed:
        say(f"  {one.words()}")
    for key in sorted(values):
        say(f"  {key:<24} {values[key]:.6g}")
