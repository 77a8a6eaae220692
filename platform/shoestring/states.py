"""A run's states and the only ways between them. Every UPDATE of `runs.state` is checked here before it is sent."""

from __future__ import annotations

EDGES: dict[str, frozenset[str]] = {
    "blocked": frozenset({"queued", "failed", "cancelled"}),
    "queued": frozenset({"leased", "paused", "cancelled"}),
    "leased": frozenset({"running", "queued", "failed", "cancelled"}),
    "running": frozenset({"stopping", "succeeded", "queued", "failed"}),
    "stopping": frozenset({"paused", "cancelled", "queued", "failed", "succeeded"}),
    "paused": frozenset({"queued", "cancelled"}),
    "succeeded": frozenset(),
    "failed": frozenset(),
    "cancelled": frozenset(),
}
TERMINAL = frozenset(state for state, exits in EDGES.items() if not exits)
LEASED = ("leased", "running", "stopping")  # a worker holds the run
ACTIVE = ("running", "stopping")  # a trainer may be at work


def check_edge(source: str, target: str) -> None:
    """Refuse an edge that is not in EDGES. Raises ValueError: a mistake of ours, never a user's."""
    if target not in EDGES.get(source, frozenset()):
        raise ValueError(f"{source} → {target} is no edge; from {source}: {sorted(EDGES.get(source, ()))}")


def sources(target: str) -> tuple[str, ...]:
    """The states with an edge to `target`."""
    return tuple(state for state, exits in EDGES.items() if target in exits)


def path(source: str, target: str) -> list[str]:
    """The states to pass from `source` to `target`, `target` last, over at most one state between.

    Raises ValueError when there is none: running → stopping → cancelled is a path, paused → failed is not.
    """
    if target in EDGES[source]:
        return [target]
    between = [state for state in ("stopping", "queued") if state in EDGES[source] and target in EDGES[state]]
    if not between:
        raise ValueError(f"there is no way from {source} to {target}")
    return [between[0], target]
