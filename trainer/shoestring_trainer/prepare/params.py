"""Read one stage's section of `params.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


def read_params(stage: str, path: Path = Path("params.yaml")) -> dict[str, Any]:
    """The section `stage` of the parameter file. Raises SystemExit saying what is missing."""
    if not path.exists():
        raise SystemExit(f"error: {path.resolve()} does not exist\n  → run this from the folder that holds params.yaml")
    sections = yaml.safe_load(path.read_text())
    if stage not in sections:
        raise SystemExit(f"error: {path} has no section {stage!r}; it has: {', '.join(sections)}")
    return sections[stage]
