"""Tailing a journal: read the complete lines that were added to `metrics.jsonl` since the last look.

The trainer flushes a line at a time; a line without its newline is not there yet. A line that is complete and still
not JSON (a torn write after a crash of the machine) is counted and passed over: the next attempt's journal replaces it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

READ_BYTES = 4 << 20  # at most this much of a journal is read at one look


@dataclass(frozen=True)
class Line:
    """One line of a journal: the metrics of a step, or an event with its path (`checkpoint`) or its detail."""

    step: int
    at: float  # unix seconds
    metrics: dict[str, float] = field(default_factory=dict)
    event: str = ""
    path: str = ""
    detail: str = ""


class Point(NamedTuple):
    """One value of one metric, with every possible x-axis beside it, as `runs.record` takes it."""

    key: str
    step: int
    value: float
    images: float
    flops: float
    usd: float  # planned dollars at that step
    seconds: float  # wall seconds trained so far


class Tail:
    """The unread end of one journal."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.offset = 0
        self.bad_lines = 0

    def read(self, limit: int = READ_BYTES) -> list[Line]:
        """Return the complete lines since the last call, at most about `limit` bytes; none if there is no file yet."""
        try:
            with open(self.path, "rb") as file:
                file.seek(self.offset)
                chunk = file.read(limit)
                while b"\n" not in chunk and (more := file.read(limit)):
                    chunk += more  # one line longer than the limit
        except FileNotFoundError:
            return []
        end = chunk.rfind(b"\n") + 1
        self.offset += end
        return [line for raw in chunk[:end].splitlines() if (line := self._parse(raw))]

    def drain(self) -> Iterator[list[Line]]:
        """Yield batches until nothing complete is left."""
        while lines := self.read():
            yield lines

    def _parse(self, raw: bytes) -> Line | None:
        try:
            return parse_line(raw)
        except (ValueError, TypeError, KeyError, AttributeError):
            self.bad_lines += bool(raw.strip())
            return None


def parse_line(raw: bytes) -> Line:
    """Parse one journal line. Raises ValueError, KeyError, TypeError, AttributeError."""
    value: dict[str, Any] = json.loads(raw)
    metrics = {str(key): float(number) for key, number in value.get("metrics", {}).items()}
    return Line(
        step=int(value["step"]),
        at=float(value["t"]),
        metrics={key: number for key, number in metrics.items() if math.isfinite(number)},
        event=str(value.get("event", "")),
        path=str(value.get("path", "")),
        detail=str(value.get("detail", "")),
    )


def points(lines: Iterable[Line]) -> list[Point]:
    """Turn the metrics of `lines` into points, one for each key of each line."""
    return [
        Point(
            key=key,
            step=line.step,
            value=value,
            images=line.metrics.get("progress/images", 0.0),
            flops=line.metrics.get("progress/flops", 0.0),
            usd=line.metrics.get("progress/usd", 0.0),
            seconds=line.metrics.get("cost/seconds", 0.0),
        )
        for line in lines
        for key, value in line.metrics.items()
    ]
