"""Printing: JSON or a table, and an error that teaches. Shared by every command."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from typing import Any

import typer

from shoestring.errors import INTERRUPTED, ShoestringError


def say(text: str = "") -> None:
    """Print a line to standard output."""
    typer.echo(text)


def say_json(value: Any) -> None:
    """Print one JSON document."""
    typer.echo(json.dumps(value, indent=1, default=str, allow_nan=False))


def guarded(command: Callable[..., Any]) -> Callable[..., Any]:
    """Turn a ShoestringError into its message and exit code: no traceback for a user's mistake.

    A command with a `json_` parameter that is true reports the error as JSON on standard output.
    """

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except ShoestringError as error:
            if kwargs.get("json_"):
                say_json({"error": error.as_dict()})
            else:
                print(f"error: {error.message}", file=sys.stderr)
                if error.hint:
                    print(f"  → {error.hint}", file=sys.stderr)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None

    return wrapped
