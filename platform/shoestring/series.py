"""Metrics, read: whole curves thinned to what a chart can show, and last values."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import and_, func, or_, select

from shoestring.db import Database
from shoestring.records import Series
from shoestring.tables import metrics

COLUMNS = ("step", "value", "images", "flops", "usd", "seconds")


def metric_keys(db: Database, run_ids: Sequence[int]) -> list[str]:
    """Every metric that any of the runs has, sorted."""
    with db.read() as conn:
        query = select(metrics.c.key).where(metrics.c.run_id.in_(list(run_ids))).distinct()
        return list(conn.scalars(query.order_by(metrics.c.key)))


def series(db: Database, run_ids: Sequence[int], key: str, max_points: int = 2000) -> list[Series]:
    """One metric of several runs, in the order asked, at most `max_points` (≥ 2) each; runs without it are left out.

    Thinning keeps points evenly spaced in the journal's order, with the first and the last.
    """
    own, room = metrics.c.run_id, max(max_points, 2) - 1
    points = (
        select(
            metrics.c.run_id,
            *(metrics.c[name] for name in COLUMNS),
            func.row_number().over(partition_by=own, order_by=metrics.c.step).label("place"),
            func.count().over(partition_by=own).label("n"),
        )
        .where(metrics.c.run_id.in_(list(run_ids)), metrics.c.key == key)
        .subquery()
    )
    stride = points.c.n // room + 1
    kept = or_(points.c.n <= max_points, points.c.place == points.c.n, (points.c.place - 1) % stride == 0)
    columns: dict[int, dict[str, list[float]]] = {}
    with db.read() as conn:
        for row in conn.execute(select(points).where(kept).order_by(points.c.run_id, points.c.step)):
            into = columns.setdefault(row.run_id, {name: [] for name in COLUMNS})
            for name in COLUMNS:
                into[name].append(getattr(row, name))
    return [
        Series(run_id=run_id, key=key, **columns[run_id])  # type: ignore[arg-type]
        for run_id in dict.fromkeys(run_ids)
        if run_id in columns
    ]


def last_values(db: Database, run_ids: Sequence[int], keys: Sequence[str]) -> dict[int, dict[str, float]]:
    """The value of each metric at its last step, for the runs that have any of `keys`."""
    last = (
        select(metrics.c.run_id, metrics.c.key, func.max(metrics.c.step).label("step"))
        .where(metrics.c.run_id.in_(list(run_ids)), metrics.c.key.in_(list(keys)))
        .group_by(metrics.c.run_id, metrics.c.key)
        .subquery()
    )
    same = and_(metrics.c.run_id == last.c.run_id, metrics.c.key == last.c.key, metrics.c.step == last.c.step)
    found: dict[int, dict[str, float]] = {}
    with db.read() as conn:
        for row in conn.execute(select(metrics.c.run_id, metrics.c.key, metrics.c.value).join(last, same)):
            found.setdefault(row.run_id, {})[row.key] = row.value
    return found
