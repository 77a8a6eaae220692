"""Printing: JSON or a table, and an error that teaches. Shared by every command."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from typing import Any

import typer

from shoestring.errors import INTERRUPTED, EnvironmentProblem, ShoestringError


def say(text: str = "") -> None:
    """Print a line to standard output."""
    typer.echo(text.encode(errors="backslashreplace").decode())  # a file's name may be no UTF-8


def say_json(value: Any) -> None:
    """Print one JSON document."""
    typer.echo(json.dumps(value, indent=1, default=str, allow_nan=False))


def guarded(command: Callable[..., Any]) -> Callable[..., Any]:
    """Turn a ShoestringError into its message and exit code: no traceback for a user's mistake.

    A file or folder that the system refuses is told likewise. A command with a `json_` parameter that is true reports
    the error as JSON on standard output.
    """

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except ShoestringError as error:
            raise _told(error, bool(kwargs.get("json_"))) from None
        except OSError as error:
            if error.filename is None:  # no file: not the user's doing
                raise
            problem = EnvironmentProblem(f"{error.filename}: {error.strerror}", code="file_access")
            raise _told(problem, bool(kwargs.get("json_"))) from None
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None

    return wrapped


def _told(error: ShoestringError, json_: bool) -> typer.Exit:
    """Print an error; give what ends the command with its exit code."""
    if json_:
        say_json({"error": error.as_dict()})
    else:
        print(f"error: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"  → {error.hint}", file=sys.stderr)
    return typer.Exit(error.exit_code)
