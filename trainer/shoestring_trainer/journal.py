"""The journal: one attempt's metrics and events, one JSON line each, flushed per line.

    {"step": 12, "t": 1760000000.1, "metrics": {"train/loss": 0.31, …}}
    {"step": 40, "t": 1760000003.2, "event": "checkpoint", "path": "checkpoints/step-00000040.t3"}

A checkpoint's manifest holds the journal's byte offset; an attempt that resumes from it keeps the bytes up to there
and nothing after, so a resumed series has neither holes nor doubles.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path

from shoestring_trainer.failures import BadCheckpoint
from shoestring_trainer.run_dir import write_atomic


class Journal:
    """Append-only writer of one attempt's journal."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(path, "ab")  # noqa: SIM115 (open for the attempt's whole life)

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
        """Bytes written so far."""
        return self._file.tell()

    def point(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append one point. A value that is not finite is an error: the caller ends the run first."""
        self._line({"step": step, "t": time.time(), "metrics": dict(metrics)})

    def event(self, step: int, event: str, **fields: str) -> None:
        """Append one event."""
        self._line({"step": step, "t": time.time(), "event": event, **fields})

    def sync(self) -> None:
        """Make every line durable; called before a checkpoint names the offset."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()

    def _line(self, record: dict) -> None:
        self._file.write(json.dumps(record, allow_nan=False).encode() + b"\n")
        self._file.flush()


def read(path: Path) -> list[dict]:
    """Read a journal's whole lines; a last line without its newline (a killed writer) is left out."""
    content = path.read_bytes()
    return [json.loads(line) for line in content[: content.rfind(b"\n") + 1].splitlines()]
