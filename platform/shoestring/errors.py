"""Errors a user meets: what, the value, what is allowed, what to do next. Each has an exit code and a stable code."""

from __future__ import annotations

from dataclasses import dataclass

from shoestring.codes import (
    BUDGET_REFUSED,
    CODES,
    CONFLICT,
    ENVIRONMENT,
    FAILED,
    INTERRUPTED,
    NOT_FOUND,
    SPEC_INVALID,
    USAGE,
)

__all__ = [
    "BUDGET_REFUSED", "CONFLICT", "ENVIRONMENT", "FAILED", "INTERRUPTED", "NOT_FOUND", "SPEC_INVALID", "USAGE",
    "BudgetRefused", "Conflict", "EnvironmentProblem", "Fault", "LeaseLost", "NotFound", "ShoestringError",
    "SpecInvalid", "UsageError",
]  # fmt: skip


class ShoestringError(Exception):
    """A problem the user can solve. `message` says what and the value, `hint` what to do next.

    The code is one of `shoestring.codes.CODES` and comes with that exit code; a code of a spec's fields may also stand
    in a UsageError, when such a value is given on the command line.
    """

    exit_code = FAILED
    code = "failed"

    def __init__(self, message: str, hint: str = "", *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code:
            self.code = code
        known = CODES.get(self.code)
        assert known, f"add the error code {self.code!r} to shoestring/codes.py"
        assert self.exit_code in (known.exit_code, USAGE), f"{self.code!r} comes with exit code {known.exit_code}"
        self.hint = hint or known.do

    def as_dict(self) -> dict[str, object]:
        return {"code": self.code, "message": self.message, "hint": self.hint}


@dataclass(frozen=True)
class Fault:
    """One mistake in a spec: `file:line:col`, the path in the document, the code, the sentence, the hint."""

    file: str
    line: int
    col: int
    path: str
    code: str
    message: str
    hint: str = ""

    def __post_init__(self) -> None:
        assert self.code in CODES, f"add the error code {self.code!r} to shoestring/codes.py"
        shown = {"path": in_a_line(self.path), "message": in_a_line(self.message)}
        for name, text in {**shown, "hint": self.hint or CODES[self.code].do}.items():
            object.__setattr__(self, name, text)

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.col}"
        what = f"{self.path}: {self.message}" if self.path else self.message
        return f"{where}: {what} [{self.code}]\n    {self.hint}"


def in_a_line(text: str, limit: int = 280) -> str:
    """A text for one line of a terminal: what cannot be printed is escaped, what is too long is cut."""
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return cut if cut.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in cut)


class SpecInvalid(ShoestringError):
    """All the faults of a spec file at once."""

    exit_code = SPEC_INVALID
    code = "spec_invalid"

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("\n".join(str(f) for f in faults))
        self.hint = ""  # each fault has its own
        self.faults = faults

    def as_dict(self) -> dict[str, object]:
        return {"code": self.code, "faults": [vars(f) for f in self.faults]}


class UsageError(ShoestringError):
    exit_code, code = USAGE, "usage"


class EnvironmentProblem(ShoestringError):
    exit_code, code = ENVIRONMENT, "environment"


class BudgetRefused(ShoestringError):
    exit_code, code = BUDGET_REFUSED, "budget_refused"


class NotFound(ShoestringError):
    exit_code, code = NOT_FOUND, "not_found"


class Conflict(ShoestringError):
    exit_code, code = CONFLICT, "conflict"


class LeaseLost(ShoestringError):
    """The run's token moved on: stop the trainer, write nothing more."""

    exit_code, code = CONFLICT, "lease_lost"
