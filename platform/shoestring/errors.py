"""Errors a user meets: what, the value, what is allowed, what to do next. Each has an exit code and a stable code."""

from __future__ import annotations

from dataclasses import dataclass

OK, FAILED, USAGE, SPEC_INVALID, ENVIRONMENT, BUDGET_REFUSED, NOT_FOUND, CONFLICT = range(8)
INTERRUPTED = 130


class ShoestringError(Exception):
    """A problem the user can solve. `message` says what and the value, `hint` what to do next."""

    exit_code = FAILED
    code = "failed"

    def __init__(self, message: str, hint: str = "", *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code:
            self.code = code

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

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.col}"
        what = f"{self.path}: {self.message}" if self.path else self.message
        return f"{where}: {what} [{self.code}]" + (f"\n    {self.hint}" if self.hint else "")


class SpecInvalid(ShoestringError):
    """All the faults of a spec file at once."""

    exit_code = SPEC_INVALID
    code = "spec_invalid"

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("\n".join(str(f) for f in faults))
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
