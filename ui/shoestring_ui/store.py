"""Reads for the pages: one `Database` per address, and a short cache round every query of `shoestring.queries`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

import streamlit as st
from shoestring import queries
from shoestring.db import Database
from shoestring.errors import NotFound
from shoestring.home import Home
from shoestring.records import Run

P = ParamSpec("P")
T = TypeVar("T")
FRESH_S = 2  # how old an answer may be
NEWEST = 500  # runs that pages choose from; older ones have their address
MOST_NAMED = 16  # older runs that one address may name


@st.cache_resource
def _database(url: str) -> Database:
    return Database(url)


def database() -> Database:
    """The project's database. Raises EnvironmentProblem."""
    return _database(Home.find().db_url)


def ask(query: Callable[Concatenate[Database, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`query(database, …)`, answered from memory for two seconds. Raises what the query raises."""
    return _ask(Home.find().db_url, query.__name__, query, args, kwargs)


@st.cache_data(ttl=FRESH_S, max_entries=256, show_spinner=False)
def _ask(url: str, name: str, _query: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return _query(_database(url), *args, **kwargs)


def recent() -> list[Run]:
    """The newest runs, and those older ones that the address names, oldest first."""
    newest = ask(queries.runs, limit=NEWEST)
    named = [part for key in ("run", "runs") for part in st.query_params.get(key, "").split(",")]
    ids = sorted({int(part) for part in named if part.isascii() and part.isdigit() and len(part) < 19})
    older = []
    for run_id in ids[:MOST_NAMED]:
        if newest and run_id < newest[0].id:
            with contextlib.suppress(NotFound):
                older.append(ask(queries.run, run_id))
    return older + newest


def forget() -> None:
    """Drop cached answers after a write, so that the page shows what was just done."""
    _ask.clear()
