"""Stored JSON as it is read: what is no JSON, or not of the shape its readers count on, is nothing with a reason.

A row may have been changed by hand, torn by a bad disk, or written by a newer program. One such row must stop neither a
page nor the queue, so reading never raises.
"""

from __future__ import annotations

import json
from typing import Any

# Shapes: {} a mapping whose named fields, where they are there, have theirs; [x] a list of x; (x,) an x or null; 0.0 a
# number; None anything.
CONFIG = {
    "price": {"usd_per_hour": 0.0},
    "data": {"sources": [{}]},
    "evaluate": {},
    "compute": {},
    "start": ({"step": 0.0},),
    "stages": [{"data": ({"sources": [{}]},), "mask": {}}],
}
PLAN = {"usd": {"p10": 0.0, "p50": 0.0, "p90": 0.0}, "parameters": 0.0, "flop": 0.0, "flops_per_image": [0.0]}
MAPPING: dict[str, Any] = {}
LIST: list[Any] = [None]


class Unreadable(dict[str, Any]):
    """What stands for JSON that could not be read: an empty mapping that knows why."""

    why = ""


def loads(text: str | bytes) -> Any:
    """Parse what a JSON column holds; `Unreadable` where that fails."""
    try:
        value = json.loads(text)
        raw = text.encode() if isinstance(text, str) else text
        if b"\\ud" in raw.lower():
            json.dumps(value, ensure_ascii=False).encode()  # a surrogate without its other half is no text
        return value
    except (ValueError, TypeError, RecursionError) as error:
        nothing = Unreadable()
        nothing.why = " ".join(str(error).split())
        return nothing


def mapping(value: Any) -> dict[str, Any]:
    """The value, or nothing where it is no mapping."""
    return value if isinstance(value, dict) else {}


def flaw(value: Any, shape: Any, path: str = "") -> str:
    """Say where `value` is not of that `shape`; "" when it is."""
    here = f"{path} is" if path else "it is"
    if isinstance(value, Unreadable):
        return f"{here} no JSON ({value.why})"
    if isinstance(shape, tuple):
        return "" if value is None else flaw(value, shape[0], path)
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return f"{here} {_kind(value)}, not a mapping"
        named = ((f"{path}.{key}" if path else key, value[key], inner) for key, inner in shape.items() if key in value)
    elif isinstance(shape, list):
        if not isinstance(value, list):
            return f"{here} {_kind(value)}, not a list"
        named = ((f"{path}.{i}" if path else str(i), one, shape[0]) for i, one in enumerate(value))
    else:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return "" if shape is None or number else f"{here} {_kind(value)}, not a number"
    return next(filter(None, (flaw(one, inner, where) for where, one, inner in named)), "")


def _kind(value: Any) -> str:
    names = {dict: "a mapping", list: "a list", str: "text", bool: "a truth value", type(None): "null"}
    return names.get(type(value), "a number")
