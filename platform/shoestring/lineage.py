"""Where a run comes from and what came of it: its parents up to the first, then its children. Records out."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from shoestring.db import Database
from shoestring.tables import runs

MOST = 100  # relatives


@dataclass(frozen=True)
class Relative:
    """As much of a run as a family tree needs."""

    id: int
    name: str
    kind: str
    state: str
    parent_id: int | None
    step: int


def lineage(db: Database, run_id: int) -> list[Relative]:
    """The run's ancestors, oldest first, the run itself, then its descendants; an unknown run has none."""
    columns = (runs.c.id, runs.c.name, runs.c.kind, runs.c.state, runs.c.parent_id, runs.c.step)
    found: dict[int, Relative] = {}
    with db.read() as conn:
        wanted: int | None = run_id
        while wanted is not None and wanted not in found and len(found) < MOST:
            row = conn.execute(select(*columns).where(runs.c.id == wanted)).one_or_none()
            if row is None:
                break
            found[row.id] = Relative(*row)
            wanted = row.parent_id
        family = list(found.values())[::-1]
        below = [run_id] if run_id in found else []
        while below and len(found) < MOST:
            children = select(*columns).where(runs.c.parent_id.in_(below)).order_by(runs.c.id).limit(MOST)
            new = [Relative(*row) for row in conn.execute(children) if row.id not in found]
            found |= {one.id: one for one in new}
            family += new
            below = [one.id for one in new]
    return family
