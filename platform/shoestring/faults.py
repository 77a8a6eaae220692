"""From a validation error to faults that teach: where it was written, what is allowed, "did you mean"."""

from __future__ import annotations

import bisect
import difflib
import functools
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from shoestring.codes import CODES
from shoestring.errors import Fault
from shoestring.yaml_source import MAX_FAULTS, Node, kind_of, shown

Loc = tuple[str | int, ...]

_WANTED = {
    "int": "a whole number",
    "float": "a number",
    "string": "text",
    "bool": "true or false",
    "tuple": "a list",
    "list": "a list",
    "dict": "a mapping",
    "model": "a mapping",
    "missing": "a value",
}
# Codes of rules about several fields; their sentence may begin with the path of the one to change.
_ABOUT_SEVERAL = {"invalid_value", "bad_shares", "does_not_fit", "bad_search"}
# A part of a field's pattern → what is wanted, and an example. Other patterns are names.
_FORMATS = {"/": ("a metric", "like val/loss"), r"\d": ("a date", 'like "2026-11-01"')}
_BOUNDS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint that names the nearest known word, else all of them."""
    return _nearest(word, tuple(sorted(known)))


@functools.lru_cache(1024)
def _nearest(word: str, names: tuple[str, ...]) -> str:
    place = bisect.bisect(names, word)  # of a thousand names only those that begin alike are compared
    near = names if len(names) <= 100 else names[max(0, place - 20) : place + 20]
    close = difflib.get_close_matches(word, near, n=1, cutoff=0.6) if len(word) <= 64 else []
    if close:
        return f"did you mean `{close[0]}`?"
    return f"known: {', '.join(names[:20])}" + (", …" if len(names) > 20 else "") if names else ""


def from_validation(
    file: str, node: Node, error: ValidationError, model: type[BaseModel], extra: Sequence[str] = ()
) -> list[Fault]:
    """Every fault of `error`, raised by validating `node` as `model`, at the place where its value was written.

    `extra` names fields that may be written at the top of `node` though the model has none such.
    """
    problems = error.errors(include_url=False)[:MAX_FAULTS]
    places = {problem["loc"] for problem in problems}
    hollow = {"too_short"}  # a list whose entries are all wrong looks empty to Pydantic
    return [
        _fault(file, node, model, problem, extra)
        for problem in problems
        if problem["type"] not in hollow
        or not any(p[:-1] and p[: len(problem["loc"])] == problem["loc"] != p for p in places)
    ]


def at(file: str, node: Node, code: str, message: str, hint: str = "", *, key: bool = False) -> Fault:
    """A fault at a node, or at its key."""
    line, col = node.key_at if key and node.key_at else (node.line, node.col)
    return Fault(file, line, col, node.path, code, message, hint)


def distinct(faults: Sequence[Fault]) -> list[Fault]:
    """Drop what was said before about the same place (a mistake in `defaults` shows in every experiment)."""
    seen: dict[tuple[int, int, str, str], Fault] = {}
    for fault in faults:
        what = fault.message if fault.code == "missing_field" else ""  # several fields may be missing in one place
        seen.setdefault((fault.line, fault.col, fault.code, what), fault)
    return sorted(seen.values(), key=lambda f: (f.line, f.col))[:MAX_FAULTS]


def enough(faults: list[Fault]) -> bool:
    """Keep the distinct ones of `faults`; say whether they are as many as are told at once."""
    faults[:] = distinct(faults)
    return len(faults) >= MAX_FAULTS


def _fault(file: str, node: Node, model: type[BaseModel], problem: Any, extra: Sequence[str]) -> Fault:
    loc: Loc = problem["loc"]
    if problem["type"] == "extra_forbidden":
        return _unknown(file, node, model, loc, extra if len(loc) == 1 else ())
    code, message, hint = explain(problem)
    if problem["type"] in ("missing", "union_tag_not_found"):
        holder = node.nearest(loc[:-1] if problem["type"] == "missing" else loc)
        missing = f"`{loc[-1] if problem['type'] == 'missing' else 'kind'}`"
        if isinstance(loc[-1], int):  # a list of fixed length
            missing = f"value {loc[-1] + 1}"
        return at(file, holder, code, f"{missing} is missing", hint)
    place = node.nearest(loc)
    if loc and loc[-1] == "[key]":
        return at(file, place, code, message, hint, key=True)
    if code in _ABOUT_SEVERAL:
        named = _named_path(message)  # a message that begins with a path speaks of that path
        place = place.nearest(named) if named else place
    return at(file, place, code, message, hint)


def _unknown(file: str, node: Node, model: type[BaseModel], loc: Loc, extra: Sequence[str]) -> Fault:
    child = node.nearest(loc)
    name = str(loc[-1])
    return at(
        file, child, "unknown_field", f"no field is called {shown(name)}", _known_fields(model, loc, extra), key=True
    )


def _known_fields(model: type[BaseModel], loc: Loc, extra: Sequence[str]) -> str:
    """Hint for an unknown field: the fields of the model that stands at `loc[:-1]`, found through its JSON Schema."""
    schema = _schema(model)
    spot: Any = schema
    for part in loc[:-1]:
        spot = _step(schema, spot, part)
    return did_you_mean(str(loc[-1]), _properties(schema, spot) | set(extra))


@functools.cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()


def _resolve(schema: dict[str, Any], spot: Any) -> Any:
    while "$ref" in spot:
        spot = schema["$defs"][spot["$ref"].rsplit("/", 1)[1]]
    return spot


def _branches(schema: dict[str, Any], spot: Any) -> list[Any]:
    spot = _resolve(schema, spot)
    options = spot.get("anyOf") or spot.get("oneOf")
    return [b for option in options for b in _branches(schema, option)] if options else [spot]


def _step(schema: dict[str, Any], spot: Any, part: str | int) -> Any:
    for branch in _branches(schema, spot):
        if isinstance(part, int) and "items" in branch:
            return branch["items"]
        if part in branch.get("properties", {}):
            return branch["properties"][part]
        if branch.get("properties", {}).get("kind", {}).get("const") == part:
            return branch  # the tag of a discriminated union
    return spot


def _properties(schema: dict[str, Any], spot: Any) -> set[str]:
    return {name for branch in _branches(schema, spot) for name in branch.get("properties", {})}


def _named_path(message: str) -> list[str | int]:
    word = re.match(r"[\w.-]+", message)
    return [int(p) if p.isdigit() else p for p in word[0].split(".")] if word else []


def explain(problem: Any) -> tuple[str, str, str]:
    """(code, sentence with the value, hint) of one Pydantic error."""
    kind, value, context = problem["type"], problem.get("input"), problem.get("ctx", {})
    if kind in _BOUNDS:
        word, bound = _BOUNDS[kind]
        return "out_of_range", f"{shown(value)} must be {word} {context[bound]:g}", ""
    if kind == "extra_forbidden":
        return "unknown_field", f"no field is called {shown(problem['loc'][-1])} there", ""
    if kind == "finite_number" or (isinstance(value, float) and not math.isfinite(value)):
        return "not_finite", f"{shown(value)} is not a finite number", "write a number that a float can hold"
    if kind in ("literal_error", "enum", "union_tag_invalid"):
        allowed = context.get("expected") or context.get("expected_tags", "")
        choices = re.findall(r"'([^']*)'", allowed) or [allowed]
        given = context.get("tag", value)
        return "bad_choice", f"{shown(given)} is not one of {', '.join(choices)}", did_you_mean(str(given), choices)
    if kind in ("too_short", "too_long", "string_too_short", "string_too_long"):
        word, bound = ("at least", "min_length") if kind.endswith("short") else ("at most", "max_length")
        what = "characters" if kind.startswith("string") else "values"
        length = context.get("actual_length") or len(value or ())
        return "out_of_range", f"{shown(value)} has {length} {what}, {word} {context[bound]} is allowed", ""
    if kind == "string_pattern_mismatch":
        for part, (what, hint) in _FORMATS.items():
            if part in context["pattern"]:
                return "bad_format", f"{shown(value)} is not {what}", hint
        return (
            "bad_name",
            f"{shown(value)} is not a name",
            "up to 64 of a-z 0-9 . _ -, beginning with a letter or digit",
        )
    if kind in ("missing", "union_tag_not_found"):
        return "missing_field", "is missing", _needed(problem)
    stem = kind.split("_")[0]
    if kind.endswith(("_type", "_parsing", "_from_float", "_size")) and stem in _WANTED:
        return "wrong_type", f"{shown(value)} is {kind_of(value)}; {_WANTED[stem]} is wanted", _type_hint(stem, value)
    message = str(problem["msg"]).removeprefix("Value error, ")
    return (kind if kind in CODES else "invalid_value"), message, str(context.get("hint", ""))


def _needed(problem: Any) -> str:
    without_kind = problem["type"] == "union_tag_not_found"
    return "say which kind: none or random" if without_kind and "mask" in problem["loc"] else ""


def _type_hint(stem: str, value: Any) -> str:
    if isinstance(value, str) and stem in ("int", "float"):
        try:
            float(value)
        except ValueError:
            return "write a plain number such as 0.02, without currency or units" if "$" in value else ""
        return f"write it without quotes: {value.strip()}"
    if isinstance(value, bool) and stem == "string":
        return f'write it in quotes: "{str(value).lower()}"'
    if isinstance(value, float) and stem == "int":
        return f"write {int(value)} or {int(value) + 1}"
    return ""
