"""Verbs of upkeep: a new project, what this machine lacks, the database's schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from shoestring.cli.output import guarded, say, say_json
from shoestring.errors import ENVIRONMENT

if TYPE_CHECKING:
    from pathlib import Path

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    app.command()(guarded(init))
    app.command()(guarded(doctor))
    database = typer.Typer(help="The database: migrate it, check it, say where it is.", no_args_is_help=True)
    for verb in (upgrade, check, url):
        database.command()(guarded(verb))
    app.add_typer(database, name="db")


def init(json_: Json = False) -> None:
    """Make a project in this folder: a small experiments.yaml, its drawn data set, the database."""
    import subprocess
    import sys
    from pathlib import Path

    from shoestring import migrate
    from shoestring.errors import Conflict, EnvironmentProblem
    from shoestring.home import Home

    spec = Path.cwd() / "experiments.yaml"
    if spec.exists():
        raise Conflict(f"{spec} exists already", "shoestring plan experiments.yaml")
    data = Path.cwd() / "data" / "procedural-16"
    argv = [sys.executable, "-m", "shoestring_trainer.prepare.procedural", str(data)]
    drawn = subprocess.run(argv, capture_output=True, text=True, check=False)
    if drawn.returncode:
        raise EnvironmentProblem(f"drawing {data} failed: {drawn.stderr.strip()[-300:]}", "shoestring doctor")
    spec.write_bytes(example_spec().read_bytes())
    migrate.upgrade(Home.find().db_url)
    if json_:
        return say_json({"spec": str(spec), "data": str(data)})
    say(f"made {spec.name} and data/{data.name}. Next: shoestring submit {spec.name}; shoestring work --until-empty")


def example_spec() -> Path:
    """The smoke experiment's file: beside the source tree, or inside an installed package."""
    from pathlib import Path

    from shoestring.errors import EnvironmentProblem

    package = Path(__file__).resolve().parents[1]
    for path in (package / "examples" / "smoke.yaml", package.parents[1] / "experiments.smoke.yaml"):
        if path.is_file():
            return path
    raise EnvironmentProblem("this installation has no example", "install it again: pip install shoestring")


def doctor(json_: Json = False) -> None:
    """Say what this machine has and lacks; exit code 4 when something must be mended."""
    from dataclasses import asdict

    from shoestring.doctor import MARKS, examine
    from shoestring.home import Home

    checks = examine(Home.find())
    broken = sum(c.status == "fail" for c in checks)
    if json_:
        say_json({"ok": not broken, "checks": [asdict(c) for c in checks]})
    else:
        width = max(len(c.name) for c in checks)
        for c in checks:
            say(f"{MARKS[c.status]} {c.name:<{width}}  {c.fact}")
            if c.hint:
                say(f"  {'':<{width}}  → {c.hint}")
        say(f"{broken} to mend" if broken else "nothing to mend")
    if broken:
        raise typer.Exit(ENVIRONMENT)


def upgrade(json_: Json = False) -> None:
    """Create the database or bring its schema up to this program's."""
    from shoestring import migrate
    from shoestring.db import redacted
    from shoestring.home import Home

    home = Home.find()
    migrate.upgrade(home.db_url)
    if json_:
        return say_json({"url": redacted(home.db_url), "current": True})
    say(f"database: {redacted(home.db_url)} is current")


def check(json_: Json = False) -> None:
    """Say whether the database's schema is this program's; exit code 4 when it is not."""
    from shoestring import migrate
    from shoestring.db import redacted
    from shoestring.home import Home

    home = Home.find()
    migrate.check(home.db_url)
    if json_:
        return say_json({"url": redacted(home.db_url), "current": True})
    say(f"database: {redacted(home.db_url)} is current")


def url(json_: Json = False) -> None:
    """Print the database's address, without its password."""
    from shoestring.db import redacted
    from shoestring.home import Home

    shown = redacted(Home.find().db_url)
    say_json({"url": shown}) if json_ else say(shown)
