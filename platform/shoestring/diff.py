"""What differs between two requests: dotted paths and both values. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_MISSING = object()
# Always different, or about where it runs; never the reason to look.
_NAMES = {"name", "experiment", "queue", "resources"}


@dataclass(frozen=True)
class Difference:
    """One path that differs; None with `in_a` or `in_b` false means that side has no such path."""

    path: str
    a: Any
    b: Any
    in_a: bool = True
    in_b: bool = True


def differences(a: dict[str, Any], b: dict[str, Any]) -> list[Difference]:
    """Every path whose values differ, in the order of `a`, then what only `b` has."""
    return [d for d in _walk("", a, b) if d.path.split(".")[0] not in _NAMES]


def _walk(path: str, a: Any, b: Any) -> list[Difference]:
    if isinstance(a, dict) and isinstance(b, dict):
        keys: list[Any] = [*a, *(k for k in b if k not in a)]
        pairs = [(k, a.get(k, _MISSING), b.get(k, _MISSING)) for k in keys]
    elif _entries(a) and _entries(b):
        pairs = [(i, _at(a, i), _at(b, i)) for i in range(max(len(a), len(b)))]
    else:
        if a == b and type(a) is type(b):
            return []
        in_a, in_b = a is not _MISSING, b is not _MISSING
        return [Difference(path, a if in_a else None, b if in_b else None, in_a, in_b)]
    return [d for key, x, y in pairs for d in _walk(f"{path}.{key}" if path else str(key), x, y)]


def _entries(value: Any) -> bool:
    """A list of mappings is compared entry by entry, a list of numbers or words as one value."""
    return isinstance(value, list) and any(isinstance(entry, dict) for entry in value)


def _at(values: list[Any], index: int) -> Any:
    return values[index] if index < len(values) else _MISSING
