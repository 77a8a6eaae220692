"""Only what differs: the resolved specs of several runs, flattened to dotted paths. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from shoestring.records import Run

# How a run is called, filed or scheduled, not what it is.
NAMES = frozenset({"name", "experiment", "tags", "notes", "priority", "queue", "resources", "version"})
TELLING = ("mask.ratio", "mask.place", "mask.kind", "experts.count", "model.", "lr", "batch_size", "until.")


def flatten(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested mappings and lists of mappings, as (dotted path, value)."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from flatten(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple) and any(isinstance(v, Mapping) for v in value):
        for index, inner in enumerate(value):
            yield from flatten(inner, f"{path}.{index}")
    else:
        yield path, value


def differing(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """Path → the value of each run, for the paths whose values are not all equal; None where a run has none."""
    flat = [dict(flatten(run.spec or run.config)) for run in runs]
    paths = dict.fromkeys(path for one in flat for path in one if path.split(".")[0] not in NAMES)
    found = {path: [one.get(path) for one in flat] for path in paths}
    return {p: v for p, v in found.items() if any(one != v[0] for one in v) and not _goes_without_saying(p, v)}


def _goes_without_saying(path: str, values: Sequence[Any]) -> bool:
    """Say whether this only repeats that some runs have a stage more: equal wherever there is one."""
    given = [v for v in values if v is not None]
    same = len(given) < len(values) and all(v == given[0] for v in given)
    return same and path.startswith("stages.") and path.rsplit(".", 1)[-1] not in {"share", "kind", "ratio", "place"}


def shown(value: Any) -> str:
    """A leaf as text: a dash for nothing, six significant digits for a float."""
    if value is None:
        return "–"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def short(path: str) -> str:
    """The end of a dotted path, enough to read: `stages.0.mask.ratio` → `mask.ratio`."""
    parts = path.split(".")
    return ".".join(parts[-2:])


def telling(found: Mapping[str, Sequence[Any]], index: int, most: int = 3) -> list[str]:
    """What says most about one run among others, in a few words: `mask.ratio 0.75`, `experts.count 4`."""

    def rank(path: str) -> int:
        return next((i for i, part in enumerate(TELLING) if part in path), len(TELLING))

    first = [p for p in found if not p.startswith("stages.") or p.startswith("stages.0.")]
    said = [p for p in sorted(first, key=rank) if rank(p) < len(TELLING)]
    paths = [
        p for p in said if found[p][index] not in (None, "random")
    ]  # "random" goes without saying beside its ratio
    return [f"{short(p)} {shown(found[p][index])}" for p in paths[:most]]
