"""A secret by reference, so that it stands in no shell's history: `env:NAME` or `file:PATH`."""

from __future__ import annotations

import os

from shoestring.errors import EnvironmentProblem

MOST_BYTES = 4096


def revealed(written: str) -> str:
    """What the reference names, without the line end; what is no reference comes back as it is.

    Raises EnvironmentProblem for a variable or a file that is missing, empty or too long; it never repeats the secret.
    """
    kind, _, name = written.partition(":")
    if kind not in ("env", "file"):
        return written
    try:
        secret = os.environ.get(name, "") if kind == "env" else _read(name)
    except (OSError, ValueError) as error:
        raise _missing(written, getattr(error, "strerror", None) or "no text of at most 4 KiB") from None
    if not secret:
        raise _missing(written, "not set, or empty" if kind == "env" else "empty")
    return secret


def _read(path: str) -> str:
    with open(os.path.expanduser(path), "rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError
    return content.decode().strip()


def _missing(written: str, why: str) -> EnvironmentProblem:
    return EnvironmentProblem(
        f"the secret {written} cannot be had: {why}", "env:NAME of a variable, or file:PATH of a file", code="no_secret"
    )
