"""The verb that sends: a report of one project as a page of its own, for somebody who has nothing installed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shoestring.cli.output import guarded, say, say_json
from shoestring.errors import Conflict, EnvironmentProblem, NotFound, ShoestringError, UsageError

if TYPE_CHECKING:
    from shoestring.db import Database
    from shoestring.records import Run

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
MARK = b"<!doctype html>\n<!-- shoestring report -->"  # how a report begins


def register(app: typer.Typer) -> None:
    """Add the verb of this file."""
    app.command()(guarded(report))


def report(
    html: Annotated[Path, typer.Option("--html", help="The file to write.")],
    project: Annotated[str, typer.Option("--project", help="Default: that of the newest run.")] = "",
    runs: Annotated[
        str, typer.Option("--runs", help="Only these, and the sweeps that they are trials of: 1,2,5 or names.")
    ] = "",
    metric: Annotated[str, typer.Option("--metric", help="What to rank by; default: the best that was measured.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is no report.")] = False,
    json_: Json = False,
) -> None:
    """Write one page with the charts, samples and costs of a project, to be sent: it needs nothing but a browser."""
    from shoestring.cli.looking import open_project

    _refuse(html, force)
    home, db = open_project()
    about = _about(db, project, runs)
    _check_metric(db, about, metric)
    named = ["--runs", ",".join(str(run.id) for run in about)] if runs else []
    page = _page([about[-1].project, *named, *(["--metric", metric] if metric else [])], home.root)
    _write(html, page)
    if json_:
        return say_json({"html": str(html.resolve()), "bytes": len(page), "project": about[-1].project,
                         "runs": [run.id for run in about], "metric": metric or None})  # fmt: skip
    many = "1 run" if len(about) == 1 else f"{len(about)} runs"
    say(f"{html}: {many} of {about[-1].project}, {len(page) / 1e6:.1f} MB; it opens in any browser, without a network")


def _refuse(html: Path, force: bool) -> None:
    """Raises UsageError where no file can be, Conflict where one is that is no report."""
    if not html.name or (html.exists() and not html.is_file()):
        raise UsageError(f"{html} is no file", "name one: --html report.html")
    if not html.resolve().parent.is_dir():
        raise UsageError(f"there is no folder {html.resolve().parent}", f"mkdir -p {html.resolve().parent}")
    if html.exists() and not force:
        with open(html, "rb") as file:
            if file.read(len(MARK)) != MARK:
                raise Conflict(f"{html} is there already and is no report", "another name, or --force to replace it")


def _about(db: Database, project: str, runs: str) -> list[Run]:
    """The runs of the report, oldest first. Raises NotFound, and UsageError for runs of several projects."""
    from shoestring import queries
    from shoestring.records import DRAWING

    if not runs:
        newest = queries.runs(db, project or None, limit=1, drawings=False)
        if not newest:
            what = f"project {project!r} has no run" if project else "there is no run"
            known = ", ".join(queries.projects(db))
            raise NotFound(f"{what} to report", f"projects: {known}" if known else "shoestring submit experiments.yaml")
        return queries.runs(db, newest[0].project, drawings=False)
    names = [name.strip() for name in runs.split(",") if name.strip()]
    if not names:
        raise UsageError("--runs names no run", "--runs 1,2,5")
    found = {run.id: run for run in (queries.find_run(db, name) for name in names)}
    if drawn := [run.id for run in found.values() if run.kind == DRAWING]:
        raise UsageError(f"run {drawn[0]} only drew pictures", "name runs that trained: shoestring status")
    projects = sorted({run.project for run in found.values()} | ({project} if project else set()))
    if len(projects) > 1:
        raise UsageError(f"these runs are of several projects: {', '.join(projects)}", "one report for each project")
    return [found[i] for i in sorted(found)]


def _check_metric(db: Database, about: list[Run], metric: str) -> None:
    from shoestring import queries

    recorded = queries.metric_keys(db, [run.id for run in about]) if metric else []
    if metric and metric not in recorded:
        raise UsageError(f"no run has recorded {metric!r}", f"recorded: {', '.join(recorded) or 'nothing yet'}")


def _page(words: list[str], root: Path) -> bytes:
    """The page, made in a process of the app's: this one knows nothing of charts."""
    import importlib.util
    import subprocess

    if importlib.util.find_spec("shoestring_ui") is None:
        raise EnvironmentProblem("the app is not installed", "pip install shoestring")
    argv = [sys.executable, "-m", "shoestring_ui.report", *words]
    done = subprocess.run(argv, cwd=root, stdin=subprocess.DEVNULL, capture_output=True)
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise ShoestringError(f"the report failed: {''.join(last) or f'exit code {done.returncode}'}")
    assert done.stdout.startswith(MARK), "a report begins with its mark, or the next one cannot replace it"
    return done.stdout


def _write(html: Path, page: bytes) -> None:
    """A reader sees the old file or the new one, never a part."""
    import os

    part = html.resolve().with_name(f".{html.name}.{os.getpid()}.part")
    try:
        with open(part, "xb") as file:
            file.write(page)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, html)
    finally:
        part.unlink(missing_ok=True)
