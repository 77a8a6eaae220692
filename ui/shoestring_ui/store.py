"""Reads for the pages: one `Database` per address; what was read is known until somebody writes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import fields
from typing import Any, Concatenate, ParamSpec, TypeVar

import streamlit as st
from shoestring import migrate, queries
from shoestring.db import Database
from shoestring.home import Home
from shoestring.records import Run, Series

P = ParamSpec("P")
T = TypeVar("T")
FRESH_S = 2  # how old an answer may be, if the database may have changed since
KEPT_S = 60  # for how long one is kept that nobody asks for while nothing changes
LOOK_S = 0.2  # how seldom the database is asked whether it has changed
CLOCKED = frozenset({queries.pulse, queries.totals, queries.why_each, queries.why_waiting})  # their answers age
NEWEST = 500  # runs that pages choose from; older ones have their address
NEWEST_WAITING = 100  # whatever their state
MOST_NAMED = 16  # older runs that one address may name
CURVE_POINTS = 20_000  # of all curves of one figure: what a browser draws at once
POINTS_KEPT, CURVES_KEPT = 200_000, 2000  # of all figures: about 40 MB
MADE_KEPT = 32
ENDED = frozenset({"succeeded", "failed", "cancelled"})
# (when, at which version of the database, what); each step on it is atomic, so threads may share it
_answers: dict[Hashable, tuple[float, str, Any]] = {}
_versions: dict[str, tuple[float, str]] = {}  # of the database at an address: (when, version)
_curves: dict[Hashable, Series] = {}  # of runs that have ended
_made: dict[Hashable, Any] = {}  # charts and rankings, by all that is in them


@st.cache_resource
def _database(url: str) -> Database:
    """Opened once it is found to be this program's."""
    migrate.check(url)
    return Database(url)


def database() -> Database:
    """The project's database. Raises EnvironmentProblem."""
    return _database(Home.find().db_url)


def ask(query: Callable[Concatenate[Database, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`query(database, …)`, answered from memory for two seconds, and on until somebody changes the database.

    The answer is everybody's: not a copy, so nobody may change it. Raises what the query raises.
    """
    what = (query, _fixed(args), _fixed(kwargs))
    return remember(what, lambda: query(database(), *args, **kwargs), ages=query in CLOCKED)


def remember(what: Hashable, find: Callable[[], T], *, ages: bool = False) -> T:
    """What `find` found, as long as it is so: `what` names it within this project. Everybody's, as `ask` says.

    What `ages` depends on the clock too, and is found anew after two seconds.
    """
    url = Home.find().db_url
    key = (url, what)
    known = _answers.get(key)
    if known is not None and time.monotonic() - known[0] < FRESH_S:
        return known[2]  # type: ignore[no-any-return]
    version = _version(url)
    if known is not None and not ages and known[1] == version:
        answer = known[2]
    else:
        answer = find()
    now = time.monotonic()
    for old, (at, its, _) in list(_answers.items()):
        if now - at >= (KEPT_S if its == version else FRESH_S):
            _answers.pop(old, None)  # nothing is kept that nobody may see
    _answers[key] = (now, version, answer)
    return answer  # type: ignore[no-any-return]


def made(of: Hashable, make: Callable[[], T]) -> T:
    """What `make` makes of these values and of nothing else, whatever is written meanwhile; of many, the last asked."""
    known = _made.pop(of, None)  # and put back as the last
    answer = make() if known is None else known
    _made[of] = answer
    for old in list(_made)[: max(0, len(_made) - MADE_KEPT)]:
        _made.pop(old, None)
    return answer  # type: ignore[no-any-return]


def _version(url: str) -> str:
    """Where the database stands, at most a moment ago."""
    now = time.monotonic()
    at, version = _versions.get(url, (-math.inf, ""))
    if now - at >= LOOK_S:
        version = _database(url).version()
        _versions[url] = (now, version)
    return version


def _fixed(value: Any) -> Hashable:
    """The value as the key of a dict: equal for equal values."""
    if isinstance(value, list | tuple):
        return tuple(map(_fixed, value))
    if isinstance(value, Mapping):
        return tuple((name, _fixed(one)) for name, one in value.items())
    try:
        hash(value)
    except TypeError:  # a record with a mapping in it
        return tuple(_fixed(getattr(value, field.name)) for field in fields(value))
    return value  # type: ignore[no-any-return]


def recent(drawings: bool = False) -> list[Run]:
    """The newest runs that have begun, the newest of all, and those (or drawings) that the address names, oldest first.

    So a long queue hides nothing that was trained.
    """
    begun = ask(queries.runs, limit=NEWEST, drawings=drawings, begun=True)
    found = {r.id: r for r in (*begun, *ask(queries.runs, limit=NEWEST_WAITING, drawings=drawings))}
    named = [part for key in ("run", "runs") for part in st.query_params.get(key, "").split(",")]
    ids = sorted({int(part) for part in named if part.isascii() and part.isdigit() and len(part) < 19})
    if older := [i for i in ids if found and i not in found][:MOST_NAMED]:
        found |= {run.id: run for run in ask(queries.runs, ids=older)}
    return [found[run_id] for run_id in sorted(found)]


def curves(runs: Sequence[Run], metric: str, most: int | None = None) -> list[Series]:
    """One metric of these runs, in their order, of each at most so many points; the runs without it are left out.

    Unless said otherwise, together about CURVE_POINTS. A run that has ended is read once, and again when its last value
    has become another.
    """
    url = Home.find().db_url
    most = most or 2 ** int(math.log2(CURVE_POINTS / max(1, len(runs))))  # few steps: else all anew
    last = ask(queries.last_values, [run.id for run in runs], [metric])
    keys = {r.id: (url, r.id, r.state, metric, most, last[r.id][metric]) for r in runs if r.id in last}
    too_many = sum(len(one.value) for one in list(_curves.values())) - POINTS_KEPT
    for old, one in list(_curves.items()):
        if too_many <= 0 and len(_curves) <= CURVES_KEPT:
            break
        too_many -= len(one.value)
        _curves.pop(old, None)
    found = {run_id: _curves[key] for run_id, key in keys.items() if key in _curves}
    for one in ask(queries.series, [run_id for run_id in keys if run_id not in found], metric, most):
        found[one.run_id] = one
    _curves.update({keys[r.id]: found[r.id] for r in runs if r.id in found and r.state in ENDED})
    return [found[run.id] for run in runs if run.id in found]


def forget() -> None:
    """Drop cached answers after a write, so that the page shows what was just done."""
    _answers.clear()
    _versions.clear()
    _curves.clear()
