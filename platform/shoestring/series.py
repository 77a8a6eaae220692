"""Metrics, read: whole curves thinned to what a chart can show, and last values."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Sequence
from typing import Any

from sqlalchemy import CTE, Row, Select, String, and_, column, exists, func, select, true, values

from shoestring.db import Database
from shoestring.records import Series
from shoestring.tables import metrics, runs

COLUMNS = ("step", "value", "images", "flops", "usd", "seconds")


def metric_keys(db: Database, run_ids: Sequence[int]) -> list[str]:
    """Every metric that any of the runs has, sorted. Looks each name up in the index, and no point."""
    own = runs.c.id.label("run_id")
    first = select(func.min(metrics.c.key)).where(metrics.c.run_id == runs.c.id).scalar_subquery().label("key")
    found = select(own, first).where(runs.c.id.in_(list(run_ids))).cte("found", recursive=True)
    later = select(func.min(metrics.c.key)).where(metrics.c.run_id == found.c.run_id, metrics.c.key > found.c.key)
    found = found.union_all(select(found.c.run_id, later.scalar_subquery()).where(found.c.key.is_not(None)))
    with db.read() as conn:
        keys = select(found.c.key).where(found.c.key.is_not(None)).distinct()
        return list(conn.scalars(keys.order_by(found.c.key)))


def recorded(db: Database, run_ids: Sequence[int], keys: Sequence[str]) -> list[str]:
    """Those of these metrics that any of the runs has, in their order. Looks each up in the index, and no point."""
    any_has = exists().where(metrics.c.run_id.in_(list(run_ids)))
    with db.read() as conn:
        return [key for key in keys if conn.scalar(select(any_has.where(metrics.c.key == key)))]


def series(db: Database, run_ids: Sequence[int], key: str, max_points: int = 2000) -> list[Series]:
    """One metric of several runs, in the order asked, at most `max_points` (≥ 2) each; runs without it are left out.

    Thinning keeps points evenly spaced over the steps, with the first and the last, and looks at no other.
    """
    own, step, room = metrics.c.run_id, metrics.c.step, max(max_points, 2) - 1
    here = and_(own == runs.c.id, metrics.c.key == key)
    first, last = (select(end(step)).where(here).scalar_subquery() for end in (func.min, func.max))
    asked = select(runs.c.id, first.label("first"), last.label("last")).where(runs.c.id.in_(list(run_ids)))
    query = select(own, *(metrics.c[name] for name in COLUMNS)).where(metrics.c.key == key).order_by(own, step)
    found: list[Row[Any]] = []
    with db.read() as conn:
        spans = {row.id: row.last - row.first for row in conn.execute(asked) if row.first is not None}
        if whole := [run_id for run_id, span in spans.items() if span <= room]:
            found += conn.execute(query.where(own.in_(whole)))
        if long := [run_id for run_id, span in spans.items() if span > room]:
            some = _strided(asked.where(runs.c.id.in_(long)), key, room)
            found += conn.execute(query.join(some, and_(own == some.c.id, step == some.c.first)))
    curves: dict[int, Series] = {}
    for run_id, mine in itertools.groupby(found, key=operator.itemgetter(0)):
        _, *columns = zip(*mine, strict=True)
        lists = {name: list(column) for name, column in zip(COLUMNS, columns, strict=True)}
        curves[run_id] = Series(run_id=run_id, key=key, **lists)  # type: ignore[arg-type]
    return [curves[run_id] for run_id in dict.fromkeys(run_ids) if run_id in curves]


def _strided(ends: Select[Any], key: str, room: int) -> CTE:
    """Steps (`first`) of each run (`id`), from its first to its last, at least a `room`th of its span apart.

    Each is looked up in the index from the one before: what lies between is not read.
    """
    begin = ends.subquery()
    stride = (begin.c.last - begin.c.first + (room - 1)) // room
    kept = select(begin.c.id, begin.c.first, begin.c.last, stride.label("stride")).cte("kept", recursive=True)
    after = select(func.min(metrics.c.step)).where(
        metrics.c.run_id == kept.c.id, metrics.c.key == key, metrics.c.step >= kept.c.first + kept.c.stride
    )
    following = func.coalesce(after.scalar_subquery(), kept.c.last)
    return kept.union_all(select(kept.c.id, following, kept.c.last, kept.c.stride).where(kept.c.first < kept.c.last))


def last_values(db: Database, run_ids: Sequence[int], keys: Sequence[str]) -> dict[int, dict[str, float]]:
    """The value of each metric at its last step, for the runs that have any of `keys`."""
    if not keys:
        return {}
    names = values(column("key", String), name="names").data([(key,) for key in dict.fromkeys(keys)]).cte()
    step = select(func.max(metrics.c.step)).where(metrics.c.run_id == runs.c.id, metrics.c.key == names.c.key)
    last = select(runs.c.id.label("run_id"), names.c.key, step.scalar_subquery().label("step"))
    last = last.select_from(runs).join(names, true())  # every key of every run
    last_of = last.where(runs.c.id.in_(list(run_ids))).subquery()  # one look into the index for each
    same = [metrics.c[name] == last_of.c[name] for name in ("run_id", "key", "step")]
    found: dict[int, dict[str, float]] = {}
    with db.read() as conn:
        for row in conn.execute(select(metrics.c.run_id, metrics.c.key, metrics.c.value).join(last_of, and_(*same))):
            found.setdefault(row.run_id, {})[row.key] = row.value
    return found
