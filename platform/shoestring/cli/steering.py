"""Verbs for a sweep that runs: stop it, let it cost more, ask it for a point."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shoestring.cli.output import guarded, say, say_json
from shoestring.errors import NotFound, UsageError

if TYPE_CHECKING:
    from shoestring.db import Database
    from shoestring.records import Sweep

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Name = Annotated[str, typer.Argument(help="The sweep's name, or its number.")]


def register(sweep: typer.Typer) -> None:
    """Add the verbs of this file below `sweep`."""
    for verb in (stop, extend, enqueue):
        sweep.command()(guarded(verb))


def find_sweep(db: Database, name: str) -> Sweep:
    """The sweep with this number, else the newest with this name. Raises NotFound."""
    from shoestring import queries

    known = queries.sweeps(db)
    found = [s for s in known if str(s.id) == name] or [s for s in known if s.name == name]
    if not found:
        names = ", ".join(sorted({s.name for s in known}))
        raise NotFound(f"no sweep {name!r}", f"known: {names}" if names else "shoestring sweep run FILE NAME")
    return max(found, key=lambda s: s.id)


def stop(name: Name, json_: Json = False) -> None:
    """Propose no further trial; those in flight train to their end."""
    from shoestring import actions
    from shoestring.cli.looking import open_project

    _, db = open_project()
    done = actions.stop_sweep(db, find_sweep(db, name).id)
    _say(done, "stopped", f"what is in flight trains to its end. Next: shoestring sweep report {done.name}", json_)


def extend(
    name: Name,
    max_usd: Annotated[float, typer.Option("--max-usd", help="What all its trials may cost together.")],
    json_: Json = False,
) -> None:
    """Set what a sweep may cost, until its budget in the file is changed."""
    from shoestring import actions
    from shoestring.cli.looking import open_project

    _, db = open_project()
    done = actions.set_sweep_cap(db, find_sweep(db, name).id, max_usd)
    _say(done, f"may cost ${done.max_usd:g}", _taken_up(done), json_)


def enqueue(
    name: Name,
    values: Annotated[list[str], typer.Argument(help="PATH=VALUE of every searched field.")],
    json_: Json = False,
) -> None:
    """Ask for a trial with these values, before what is proposed."""
    from shoestring import actions
    from shoestring.cli.looking import open_project

    _, db = open_project()
    found, params = find_sweep(db, name), dict(map(_pair, values))
    actions.ask_point(db, found.id, params)
    _say(found, "tries " + ", ".join(f"{path} {value}" for path, value in params.items()), _taken_up(found), json_)


def _pair(text: str) -> tuple[str, Any]:
    """`PATH=VALUE`; a value is a number, true, false, or else a word. Raises UsageError."""
    path, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"{text!r} is no PATH=VALUE", "for instance stages.0.mask.ratio=0.5")
    try:
        return path, json.loads(value)
    except ValueError:
        return path, value


def _taken_up(sweep: Sweep) -> str:
    """When it counts."""
    if sweep.state == "running":
        return "its process takes it up after the trial in flight"
    return f"it is {sweep.state}. Next: shoestring sweep run FILE {sweep.name}"


def _say(sweep: Sweep, what: str, then: str, json_: bool) -> None:
    if json_:
        return say_json({"id": sweep.id, "name": sweep.name, "state": sweep.state, "max_usd": sweep.max_usd})
    say(f"sweep {sweep.name} {what}; {then}")
