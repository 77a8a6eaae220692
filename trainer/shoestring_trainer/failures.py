"""How an attempt can end badly: our exceptions, and the failure class of any other."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable

from shoestring_trainer.run_dir import EXIT_STOPPED, EXIT_TRY_AGAIN, NO_SPACE, Result


class TrainFailure(Exception):
    """A failure with a class the platform knows; its text is meant for the user."""

    failure_class = "error"


class BadConfig(TrainFailure):
    failure_class = "bad_config"


class BadData(TrainFailure):
    failure_class = "bad_data"


class BadCheckpoint(TrainFailure):
    failure_class = "bad_checkpoint"


class NotFinite(TrainFailure):
    failure_class = "nan"


class DiskFull(TrainFailure):
    failure_class = "disk_full"


def classify(error: BaseException) -> tuple[str, str]:
    """Give (failure class, detail in one line) of what ended an attempt."""
    detail = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, TrainFailure):
        return error.failure_class, detail
    if is_no_space(error):
        return "disk_full", detail
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "out_of_memory", f"{detail}; lower batch_size or the model"
    if isinstance(error, RuntimeError) and "allocate memory" in detail:  # torch's CPU allocator
        return "out_of_memory", f"{detail}; lower batch_size or the model"
    return "error", f"{type(error).__name__}: {detail}"


def is_no_space(error: BaseException) -> bool:
    """Say whether `error` is a write for which the disk, a quota or a limit on files had no room."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in NO_SPACE
    return any(os.strerror(number) in str(error) for number in NO_SPACE)  # safetensors wraps the number away


def told_in_a_line(main: Callable[..., int]) -> Callable[..., int]:
    """Let a command end with 1 and one line on standard error, `class: detail`, for every failure that has a class."""

    @functools.wraps(main)
    def told(argv: list[str] | None = None) -> int:
        try:
            return main(argv)
        except Exception as error:
            failure_class, detail = classify(error)
            if failure_class == "error":
                raise
            print(f"{failure_class}: {detail}", file=sys.stderr)
            return 1

    return told


def exit_code(result: Result) -> int:
    """Give the process's exit code: advisory, `result.json` is the truth."""
    if result.outcome == "succeeded":
        return 0
    if result.outcome == "stopped":
        return EXIT_STOPPED
    return EXIT_TRY_AGAIN if result.failure_class in ("out_of_memory", "disk_full") else 1
