"""Money that an attempt's worker could not book any more: what its trainer journalled after the last beat."""

from __future__ import annotations

from pathlib import Path

from shoestring_trainer.run_dir import RunDir
from sqlalchemy import select

from shoestring.db import Database
from shoestring.rows import micro
from shoestring.stored import mapping
from shoestring.tables import attempts, runs
from shoestring.tail import Tail


def journalled_micro(db: Database, run_id: int, token: int) -> int:
    """Micro-dollars of the seconds that the attempt's journal tells of; 0 where there is none to be read here.

    Of the seconds on the trainer's own steady clock and those since the attempt's start on the wall, the fewer: the
    first begin at the last point before a checkpoint, the second jump with the clock.
    """
    query = select(runs.c.run_dir, runs.c.config, attempts.c.first_step, attempts.c.started_at)
    mine = (attempts.c.run_id == run_id) & (attempts.c.token == token)
    with db.read() as conn:
        row = conn.execute(query.join(attempts, attempts.c.run_id == runs.c.id).where(mine)).one_or_none()
    price = mapping(mapping(row.config).get("price")).get("usd_per_hour") if row else None
    if row is None or not isinstance(price, int | float):
        return 0
    before_s = last_s = last_at = 0.0
    try:
        for lines in Tail(RunDir(Path(row.run_dir)).journal(token)).drain():
            for line in lines:
                seconds = line.metrics.get("cost/seconds", 0.0)
                if line.step <= row.first_step and row.first_step:  # what an earlier attempt wrote
                    before_s = max(before_s, seconds)
                elif seconds:
                    last_s, last_at = max(last_s, seconds), line.at
    except OSError:
        return 0
    return micro(max(0.0, min(last_s - before_s, last_at - row.started_at)) / 3600 * price)
