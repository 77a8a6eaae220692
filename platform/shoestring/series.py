"""Metrics, read: whole curves thinned to what a chart can show, and last values."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Sequence

from sqlalchemy import String, and_, column, func, or_, select, true, values

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


def series(db: Database, run_ids: Sequence[int], key: str, max_points: int = 2000) -> list[Series]:
    """One metric of several runs, in the order asked, at most `max_points` (≥ 2) each; runs without it are left out.

    Thinning keeps points evenly spaced in the journal's order, with the first and the last.
    """
    own, room = metrics.c.run_id, max(max_points, 2) - 1
    asked = and_(own.in_(list(run_ids)), metrics.c.key == key)
    # counted apart: a count over a window keeps every row of it in memory until the last is read
    counts = select(own, func.count().label("n")).where(asked).group_by(own).subquery()
    place = func.row_number().over(partition_by=own, order_by=metrics.c.step).label("place")
    points = select(own, *(metrics.c[name] for name in COLUMNS), place).where(asked).subquery()
    stride = counts.c.n // room + 1
    kept = or_(counts.c.n <= max_points, points.c.place == counts.c.n, (points.c.place - 1) % stride == 0)
    query = select(points).join(counts, counts.c.run_id == points.c.run_id).where(kept)
    curves = {}
    with db.read() as conn:
        rows = conn.execute(query.order_by(points.c.run_id, points.c.step))
        for run_id, mine in itertools.groupby(rows, key=operator.itemgetter(0)):
            _, *columns, _ = zip(*mine, strict=True)
            lists = {name: list(column) for name, column in zip(COLUMNS, columns, strict=True)}
            curves[run_id] = Series(run_id=run_id, key=key, **lists)  # type: ignore[arg-type]
    return [curves[run_id] for run_id in dict.fromkeys(run_ids) if run_id in curves]


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
