"""A run's pictures: which runs show theirs unasked, and a picture's bytes for a page. Reads files only."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

from shoestring.records import Run

MAX_BYTES = 2_000_000  # of one picture
PNG = b"\x89PNG\r\n\x1a\n"


def first_shown(runs: Sequence[Run]) -> list[int]:
    """What is shown unasked: of the newest project its showcase and one seed of each experiment, at most six."""
    project = max(runs, key=lambda r: r.id).project
    ours = [r for r in runs if r.project == project]
    shown = [r.id for r in ours if r.kind == "showcase"]
    experiments = {r.experiment: r.id for r in sorted(ours, key=lambda r: -r.seed) if r.kind == "experiment"}
    return (sorted(experiments.values()) + shown or [r.id for r in ours])[-6:]


def png(path: str) -> str:
    """A picture in base64; empty where the file is gone, too large or no PNG."""
    try:
        content = Path(path).read_bytes()
    except OSError:
        return ""
    ours = content.startswith(PNG) and len(content) <= MAX_BYTES
    return base64.b64encode(content).decode() if ours else ""
