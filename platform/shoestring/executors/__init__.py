"""Executors: where an attempt runs. Five methods each; one line for each engine."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

from shoestring_trainer.config import Compute

from shoestring.executors.local import Launch, LocalExecutor
from shoestring.executors.slurm import SlurmExecutor

H = TypeVar("H")


class Executor(Protocol[H]):
    """What every engine can do. Only the database and the token say what became of a run; an engine never does."""

    name: str

    def check(self, compute: Compute) -> list[str]:
        """Say in words why the engine cannot run `compute`; empty when it can, or when it does not answer."""

    def submit(self, launch: Launch) -> H:
        """Start the attempt, once: a second call with the same run and token returns the first one's handle."""

    def poll(self, handles: list[H]) -> dict[H, str]:
        """Look at all `handles` at once: PENDING, RUNNING, GONE or UNKNOWN, which changes nothing."""

    def cancel(self, handle: H, grace_s: float) -> None:
        """Ask the attempt to checkpoint and stop; end it after `grace_s`. 0: end it now."""

    def logs(self, handle: H, offset: int = 0) -> bytes:
        """The attempt's output from byte `offset` on, also after its death."""


EXECUTORS: dict[str, type[Executor[Any]]] = {"local": LocalExecutor, "slurm": SlurmExecutor}
