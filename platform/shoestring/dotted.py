"""Values at dotted paths of nested mappings and sequences: `stages.0.mask.ratio`. Pure."""

from __future__ import annotations

from typing import Any

from shoestring.errors import UsageError


def put(values: dict[str, Any], path: str, value: Any) -> None:
    """Set a dotted path in nested dicts and tuples, making dicts where there is None.

    Lists become tuples, as strict validation wants them. Raises UsageError for a path that does not exist.
    """
    *parents, last = path.split(".")
    holder: Any = values
    for position, part in enumerate(parents):
        if isinstance(holder, dict) and part in holder:
            if holder[part] is None:
                holder[part] = {}
            elif isinstance(holder[part], tuple):
                holder[part] = list(holder[part])
            child = holder[part]
        elif isinstance(holder, list) and part.isdecimal() and int(part) < len(holder):
            child = holder[int(part)]
        else:
            raise _no_such_path(path, ".".join(parents[: position + 1]), holder)
        holder = child
    if isinstance(holder, dict):
        holder[last] = value
    elif isinstance(holder, list) and last.isdecimal() and int(last) < len(holder):
        holder[int(last)] = value
    else:
        raise _no_such_path(path, path, holder)
    _tuples(values)


def _tuples(values: Any) -> Any:
    """Lists back to tuples, in place, for strict validation."""
    if isinstance(values, dict):
        for key, child in values.items():
            values[key] = _tuples(child)
        return values
    return tuple(_tuples(child) for child in values) if isinstance(values, list | tuple) else values


def _no_such_path(path: str, missing: str, holder: Any) -> UsageError:
    from shoestring.faults import did_you_mean

    last = missing.rsplit(".", 1)[-1]
    known = holder if isinstance(holder, dict) else [str(i) for i in range(len(holder))] if holder else []
    return UsageError(f"{path}: there is no `{missing}`", did_you_mean(last, known), code="unknown_param")
