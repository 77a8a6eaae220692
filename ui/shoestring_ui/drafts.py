"""Where the text of a new run comes from: a spec file of the project, or a run's own request."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from shoestring.clone import experiments_yaml
from shoestring.records import Run
from shoestring.spec import read_spec

FILE = "experiments.yaml"
MOST_BYTES = 256 * 1024  # as much as a spec may have
MOST_FILES = 50
START = """\
version: 1
project: NAME
data: SET            # the folder data/SET
budget: {max_usd: 0.01}
experiments:
  first:             # no model is named, so it is the recipe that a small budget learns most with (docs/spec.md)
    until: {usd: 0.001}
"""


def spec_files(root: Path) -> list[str]:
    """The project's files with experiments, as paths below its root; experiments.yaml first."""
    found = sorted({path.relative_to(root).as_posix() for path in _candidates(root)})
    return sorted(found, key=lambda name: (name != FILE, name))[:MOST_FILES]


def _candidates(root: Path) -> Iterator[Path]:
    for path in (*root.glob("*.yaml"), *root.glob("*/*.yaml")):
        inside = path.resolve().is_relative_to(root.resolve())
        hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
        if inside and not hidden and path.is_file() and _has_experiments(path):
            yield path


def _has_experiments(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return b"\nexperiments:" in b"\n" + file.read(MOST_BYTES)
    except OSError:
        return False


def of_file(root: Path, name: str) -> str:
    """The text of a spec file. Raises SpecInvalid where it is no text of a size that a spec may have."""
    with open(root / name, "rb") as file:
        content = file.read(MOST_BYTES + 1)
    try:
        if len(content) <= MOST_BYTES:
            return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    read_spec(root / name)  # says what is wrong with it, and where
    return ""


def of_run(run: Run) -> str:
    """The text that asks for a run again. Raises Conflict."""
    return experiments_yaml(run)
