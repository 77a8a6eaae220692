"""A run's request, written out as an experiments file that asks for the same run again. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from shoestring.errors import Conflict
from shoestring.records import Run
from shoestring.request import Request
from shoestring.resources import ANY_MACHINE
from shoestring.spec_parts import SPEC_VERSION

WIDTH = 100
_PLAIN = re.compile(r"[A-Za-z_]([A-Za-z0-9_./ -]*[A-Za-z0-9_./-])?")  # needs no quotes
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
# What stands beside the experiment, or goes without saying.
_OUTSIDE = {"name", "experiment", "project", "data", "stage_sets", "hardware", "code_digest", "max_usd"}
_EMPTY: tuple[Any, ...] = (
    *(("tags", []), ("notes", ""), ("priority", 0)),
    *(("queue", "default"), ("resources", ANY_MACHINE.model_dump(mode="json"))),
)


def experiments_yaml(run: Run) -> str:
    """The file that asks for `run` alone, every default filled in. Raises Conflict when its request cannot be read.

    Planned with the same data, code and hardware it has the run's spec_hash. A run that continues another one's
    checkpoint is asked for from its beginning.
    """
    try:
        request = Request.model_validate(run.spec)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "request"
        what = f"run {run.id} cannot be cloned: its stored {where} is not of this version ({first['msg']})"
        raise Conflict(what, "copy its experiment from the file that it came from") from None
    return "\n".join(_block(_file(request), "")) + "\n"


def _file(request: Request) -> dict[str, Any]:
    recipe = _given(request.model_dump(mode="json", exclude=_OUTSIDE))
    for name, empty in _EMPTY:
        if recipe.get(name) == empty:
            del recipe[name]
    if request.max_usd is not None:
        recipe["budget"] = {"max_usd": request.max_usd}
    data = request.data
    sources = [{"data": Path(s.path).name, "weight": s.weight, "origin": s.origin} for s in data.sources]
    return {
        "version": SPEC_VERSION,
        "project": request.project,
        "data": Path(data.path).name,
        **({"sources": sources} if sources else {}),
        "hardware": request.hardware,
        "experiments": {request.experiment: recipe},
    }


def _given(value: Any) -> Any:
    """The value without what is null, which is everywhere what not writing it means."""
    if isinstance(value, dict):
        return {key: _given(child) for key, child in value.items() if child is not None}
    return [_given(child) for child in value] if isinstance(value, list) else value


def _block(value: dict[str, Any], pad: str) -> Iterator[str]:
    """Lines of a mapping; what is short enough stands in one line."""
    for key, child in value.items():
        line = f"{pad}{_text(key)}: {_flow(child)}"
        if len(line) <= WIDTH:
            yield line
        elif isinstance(child, dict) and child:
            yield f"{pad}{_text(key)}:"
            yield from _block(child, pad + "  ")
        elif isinstance(child, list) and child:
            yield f"{pad}{_text(key)}:"
            for one in child:
                yield from _entry(one, pad + "  ")
        else:
            yield line


def _entry(value: Any, pad: str) -> Iterator[str]:
    line = f"{pad}- {_flow(value)}"
    if not isinstance(value, dict) or len(line) <= WIDTH:
        yield line
        return
    first, *rest = _block(value, pad + "  ")
    yield f"{pad}- {first.lstrip()}"
    yield from rest


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_text(key)}: {_flow(child)}" for key, child in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return _text(value) if isinstance(value, str) else json.dumps(value)


def _text(text: str) -> str:
    """A text as YAML reads it back: plain where that is safe, else in double quotes."""
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in quoted)
