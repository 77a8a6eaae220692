"""Rows into a table, new or known, on both databases; thousands at once by COPY (PostgreSQL) or the driver (SQLite)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import JSON, Connection, Table, column, select, table
from sqlalchemy.dialects import postgresql, sqlite

from shoestring.json_text import STORED

COPY_ROWS = 200  # below about 100 points INSERT is faster, at 10,000 COPY takes half of its time (`docs/log.md`)


def upsert(conn: Connection, into: Table, rows: Sequence[Mapping[str, Any]], keep: Sequence[str] = ()) -> None:
    """Insert `rows`; where the primary key exists, overwrite the other columns given, apart from `keep`.

    All rows have the columns of the first, and no two the same key.
    """
    if not rows:
        return
    names = tuple(rows[0])
    statement = _upserting(conn.dialect.name, into, names, tuple(keep))
    if len(rows) < COPY_ROWS:
        conn.execute(statement, list(rows))
        return
    if conn.dialect.name == "sqlite":
        sql, order = _spelt(statement)
        conn.exec_driver_sql(sql, [tuple(row[name] for name in order) for row in rows])  # numbers and text only
        return
    staged = f"staged_{into.name}"
    columns = ", ".join(names)
    conn.exec_driver_sql(f"CREATE TEMP TABLE {staged} ON COMMIT DROP AS SELECT {columns} FROM {into.name} LIMIT 0")
    driver: Any = conn.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(f"COPY {staged} ({columns}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row([row[name] for name in names])
    source: Any = select(*(column(name) for name in names)).select_from(table(staged))
    conn.execute(statement.from_select(names, source))
    conn.exec_driver_sql(f"DROP TABLE {staged}")


def append(conn: Connection, into: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert `rows`, which are new and have the columns of the first, by the driver itself: SQLAlchemy takes as long
    again to look through them."""
    if not rows:
        return
    names = tuple(rows[0])
    json = {name for name in names if isinstance(into.c[name].type, JSON)}
    values = [tuple([STORED.text(row[name]) if name in json else row[name] for name in names]) for row in rows]
    mark = "?" if conn.dialect.name == "sqlite" else "%s"
    marks = ", ".join([mark] * len(names))
    conn.exec_driver_sql(f"INSERT INTO {into.name} ({', '.join(names)}) VALUES ({marks})", values)


@cache
def _upserting(dialect: str, into: Table, names: tuple[str, ...], keep: tuple[str, ...]) -> Any:
    insert = (sqlite if dialect == "sqlite" else postgresql).insert(into)
    key = [one.name for one in into.primary_key]
    new = {name: insert.excluded[name] for name in names if name not in key and name not in keep}
    return insert.on_conflict_do_update(index_elements=key, set_=new)


@cache
def _spelt(statement: Any) -> tuple[str, tuple[str, ...]]:
    """SQLite's own words and the order of their parameters: thousands of rows take half of the time."""
    compiled = statement.compile(dialect=sqlite.dialect())
    return str(compiled), tuple(compiled.positiontup)
