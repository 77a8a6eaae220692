"""Verbs of upkeep: what this machine lacks, and the database's schema."""

from __future__ import annotations

from typing import Annotated

import typer

from shoestring.cli.output import guarded, say, say_json
from shoestring.errors import ENVIRONMENT

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    app.command()(guarded(doctor))
    database = typer.Typer(help="The database: migrate it, check it, say where it is.", no_args_is_help=True)
    for verb in (upgrade, check, url):
        database.command()(guarded(verb))
    app.add_typer(database, name="db")


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
    from shoestring.doctor import shown_url
    from shoestring.home import Home

    home = Home.find()
    migrate.upgrade(home.db_url)
    if json_:
        return say_json({"url": shown_url(home.db_url), "current": True})
    say(f"database: {shown_url(home.db_url)} is current")


def check(json_: Json = False) -> None:
    """Say whether the database's schema is this program's; exit code 4 when it is not."""
    from shoestring import migrate
    from shoestring.doctor import shown_url
    from shoestring.home import Home

    home = Home.find()
    migrate.check(home.db_url)
    if json_:
        return say_json({"url": shown_url(home.db_url), "current": True})
    say(f"database: {shown_url(home.db_url)} is current")


def url(json_: Json = False) -> None:
    """Print the database's address, without its password."""
    from shoestring.doctor import shown_url
    from shoestring.home import Home

    shown = shown_url(Home.find().db_url)
    say_json({"url": shown}) if json_ else say(shown)
