"""Rows of the tables turned into frozen records, the only shape in which they leave this layer."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from sqlalchemy import JSON, Row, Text, cast

from shoestring import records, stored
from shoestring.records import MICRO
from shoestring.tables import runs


def usd(micro: int | None) -> float:
    """Dollars of a stored amount; 0 for none."""
    return int(micro or 0) / MICRO  # PostgreSQL adds bigints up to a Decimal


def micro(dollars: float) -> int:
    """A stored amount, to the nearest micro-dollar."""
    return round(dollars * MICRO)


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values, equal text. Raises ValueError for NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


SHAPES: dict[str, Any] = {
    "spec": stored.MAPPING, "config": stored.CONFIG, "plan": stored.PLAN, "provenance": stored.MAPPING,
    "tags": stored.LIST,
}  # fmt: skip


# A run's columns, its JSON as text: it is parsed once nobody waits for the transaction, and equal text once in all.
AS_STORED = tuple(cast(c, Text).label(c.name) if isinstance(c.type, JSON) else c for c in runs.c)
TEXTS_KEPT = 4096  # of about 2 KB, parsed; three of each run differ
RUNS_KEPT = 1024


@lru_cache(maxsize=TEXTS_KEPT)
def _read(name: str, written: str) -> tuple[Any, str]:
    """What is stored, or nothing and why."""
    value = stored.loads(written)
    why = stored.flaw(value, SHAPES[name])
    return (type(SHAPES[name])() if why else value), why


def run(row: Row[Any]) -> records.Run:
    """A record of a row of AS_STORED; what of it cannot be read is empty, and `unreadable` says so.

    Equal text is parsed once, so runs share what is in their JSON: never change it.
    """
    read = {name: _read(name, getattr(row, name)) for name in SHAPES}
    flaws = {name: why for name, (_, why) in read.items()}
    return records.Run(
        id=row.id,
        name=row.name,
        experiment=row.experiment,
        project=row.project,
        seed=row.seed,
        state=row.state,
        reason=row.reason,
        kind=row.kind,
        parent_id=row.parent_id,
        sweep_id=row.sweep_id,
        spec_hash=row.spec_hash,
        generation=row.generation,
        priority=row.priority,
        tags=tuple(str(tag) for tag in read["tags"][0]),
        spec=read["spec"][0],
        config=read["config"][0],
        plan=read["plan"][0],
        run_dir=row.run_dir,
        lease_token=row.lease_token,
        owner=row.owner,
        want=row.want,
        attempts=row.attempts,
        failures=row.failures,
        step=row.step,
        n_steps=row.n_steps,
        checkpoint_step=row.checkpoint_step,
        spent_usd=usd(row.spent_micro),
        planned_usd=usd(row.planned_micro),
        max_usd=None if row.max_micro is None else usd(row.max_micro),
        failure_class=row.failure_class,
        failure_detail=row.failure_detail,
        created_at=row.created_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        inexact=row.inexact,
        provenance=read["provenance"][0],
        run_after=row.run_after,
        spec_version=row.spec_version,
        engine=row.engine,
        handle=row.handle,
        queue=row.queue,
        gpus=row.gpus,
        gpu_memory_gb=row.gpu_memory_gb,
        cpus=row.cpus,
        memory_gb=row.memory_gb,
        unreadable="; ".join(f"{name}: {why}" for name, why in flaws.items() if why),
    )


# The same for those who read the same runs again and again: of a row that is as it was, the record that there was.
kept_run = lru_cache(maxsize=RUNS_KEPT)(run)


def attempt(row: Row[Any]) -> records.Attempt:
    """A record of an `attempts` row."""
    return records.Attempt(
        run_id=row.run_id,
        token=row.token,
        worker=row.worker,
        started_at=row.started_at,
        ended_at=row.ended_at,
        outcome=row.outcome,
        failure_class=row.failure_class,
        detail=row.detail,
        first_step=row.first_step,
        last_step=row.last_step,
        usd=usd(row.micro),
    )


def worker(row: Row[Any]) -> records.Worker:
    """A record of a `workers` row; `draining` once it was asked to take no more runs."""
    state = row.state if row.state == "gone" else "draining" if row.want == "drain" else row.state
    return records.Worker(
        id=row.id,
        host=row.host,
        pid=row.pid,
        hardware=row.hardware,
        usd_per_hour=usd(row.micro_per_hour),
        state=state,
        run_id=row.run_id,
        started_at=row.started_at,
        beat_at=row.beat_at,
    )
