"""The journal: one attempt's metrics and events, one JSON line each, flushed per line.

    {"step": 12, "t": 1760000000.1, "metrics": {"train/loss": 0.31, …}}
    {"step": 40, "t": 1760000003.2, "event": "checkpoint", "path": "checkpoints/step-00000040.t3"}

A checkpoint's manifest holds the journal's byte offset; an attempt that resumes from it keeps the bytes up to there
and nothing after, so a resumed series has neither holes nor doubles.

What a full disk has no room for, the rest of a torn line too, waits in memory and goes first once there is room. No
checkpoint is published before it, so whoever stops in between loses no line that a checkpoint counts on.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path

from shoestring_trainer.failures import BadCheckpoint
from shoestring_trainer.run_dir import NO_SPACE, write_atomic


class Journal:
    """Append-only writer of one attempt's journal."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115 (open for the attempt's whole life)
        self._waiting = b""

    @classmethod
    def start_from(cls, path: Path, previous: Path, offset: int) -> Journal:
        """Open `path` holding the first `offset` bytes of `previous` and nothing else.

        Raises BadCheckpoint when `previous` is shorter, or when the cut is not at the end of a line.
        """
        content = previous.read_bytes()[:offset] if previous.exists() else b""
        if len(content) != offset or (content and not content.endswith(b"\n")):
            raise BadCheckpoint(
                f"{previous} has {len(content)} whole bytes of the {offset} that the checkpoint's manifest says"
            )
        write_atomic(path, content)
        return cls(path)

    @property
    def offset(self) -> int:
        """Bytes written so far; all of them after a `sync`."""
        return self._file.tell()

    def point(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append one point. A value that is not finite is an error: the caller ends the run first."""
        self._line({"step": step, "t": time.time(), "metrics": dict(metrics)})

    def event(self, step: int, event: str, **fields: str) -> None:
        """Append one event."""
        self._line({"step": step, "t": time.time(), "event": event, **fields})

    def sync(self) -> None:
        """Make every line durable; called before a checkpoint names the offset. Raises OSError on a full disk."""
        self._write()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()

    def _line(self, record: dict) -> None:
        self._waiting += json.dumps(record, allow_nan=False).encode() + b"\n"
        try:
            self._write()
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise

    def _write(self) -> None:
        while self._waiting:
            self._waiting = self._waiting[self._file.write(self._waiting) :]


def read(path: Path) -> list[dict]:
    """Read a journal's whole lines; a last line without its newline (a killed writer) is left out."""
    content = path.read_bytes()
    return [json.loads(line) for line in content[: content.rfind(b"\n") + 1].splitlines()]
