"""Every read: records out, no row, no session. Curves are in `series`, dollars in `ledger`: import them from here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from shoestring_trainer.run_dir import RunDir
from sqlalchemy import func, select

from shoestring import records, rows
from shoestring.budgets import Purse, purse
from shoestring.db import Database
from shoestring.errors import NotFound
from shoestring.ledger import spend_by_outcome, spends, totals
from shoestring.line import line
from shoestring.lineage import Relative, lineage
from shoestring.pulse import Meter, Pulse, pulse
from shoestring.series import last_values, metric_keys, recorded, series
from shoestring.speed import KEYS, SpeedUp, of_run
from shoestring.steering import asked_points
from shoestring.stored import mapping
from shoestring.tables import DRAWN, budgets
from shoestring.tables import attempts as attempts_table
from shoestring.tables import checkpoints as checkpoints_table
from shoestring.tables import events as events_table
from shoestring.tables import runs as runs_table
from shoestring.tables import trials as trials_table
from shoestring.tables import workers as workers_table
from shoestring.trials import promotions, read_sweeps
from shoestring.waiting import why_each, why_waiting

__all__ = [
    "Meter", "Pulse", "Purse", "Relative", "asked_points", "attempts", "budget", "checkpoints", "events", "find_run",
    "last_values", "line", "lineage", "metric_keys", "projects", "promotions", "pulse", "purses", "recorded", "run",
    "runs", "samples", "series", "speed_ups", "spend_by_outcome", "spends", "spent", "sweeps", "totals", "trials",
    "why_each", "why_waiting", "workers",
]  # fmt: skip

MAX_ID = 2**63 - 1
LINED_UP = ("queued", "blocked")


def runs(
    db: Database,
    project: str | None = None,
    state: str | None = None,
    kind: str | None = None,
    sweep_id: int | None = None,
    *,
    limit: int | None = None,
    before: int | None = None,
    drawings: bool = True,
    begun: bool = False,
    ids: Sequence[int] | None = None,
) -> list[records.Run]:
    """The runs, oldest first; each argument that is given narrows them. A page is the newest `limit` of those whose id
    is less than `before`: the next one ends before this one's first. Without `drawings`, only runs that train; `begun`
    leaves out those that wait in the queue; `ids` leaves out all others."""
    wanted = {"project": project, "state": state, "kind": kind, "sweep_id": sweep_id}
    query = select(*rows.AS_STORED).order_by(runs_table.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(runs_table.c.id < before)
    if not drawings:
        query = query.where(runs_table.c.kind != records.DRAWING)
    if begun:
        query = query.where(runs_table.c.id.in_(select(runs_table.c.id).where(runs_table.c.state.not_in(LINED_UP))))
    if ids is not None:
        query = query.where(runs_table.c.id.in_(list(ids)))
    for column, value in wanted.items():
        if value is not None:
            same = DRAWN if (column, value) == ("kind", records.DRAWING) else runs_table.c[column] == value
            found = select(runs_table.c.id).where(same)
            query = query.where(runs_table.c.id.in_(found))  # by an index: no row is read only to be passed over
    with db.read() as conn:
        return [rows.kept_run(row) for row in conn.execute(query)][::-1]


def run(db: Database, run_id: int) -> records.Run:
    """One run. Raises NotFound."""
    row = None
    if 0 < run_id <= MAX_ID:
        with db.read() as conn:
            row = conn.execute(select(*rows.AS_STORED).where(runs_table.c.id == run_id)).one_or_none()
    if row is None:
        raise NotFound(f"there is no run {run_id}", "shoestring status lists the runs")
    return rows.run(row)


def find_run(db: Database, text: str) -> records.Run:
    """The run with this id, else the newest with this name, else the newest of this experiment. Raises NotFound."""
    if text.isascii() and text.isdigit():
        return run(db, int(text)) if len(text) <= 19 else run(db, 0)
    with db.read() as conn:
        for column in (runs_table.c.name, runs_table.c.experiment):
            newest = select(*rows.AS_STORED).where(column == text).order_by(runs_table.c.id.desc()).limit(1)
            if row := conn.execute(newest).one_or_none():
                return rows.run(row)
    raise NotFound(f"there is no run {text!r}", "shoestring status lists the runs; give an id or a name")


def attempts(db: Database, run_id: int) -> list[records.Attempt]:
    """A run's executions, in order."""
    query = select(attempts_table).where(attempts_table.c.run_id == run_id).order_by(attempts_table.c.token)
    with db.read() as conn:
        return [rows.attempt(row) for row in conn.execute(query)]


def events(db: Database, run_id: int | None = None, limit: int = 200) -> list[records.Event]:
    """The last `limit` lines of the audit log, of one run or of all, oldest first."""
    query = select(events_table).order_by(events_table.c.id.desc()).limit(limit)
    if run_id is not None:
        query = query.where(events_table.c.run_id == run_id)
    with db.read() as conn:
        found = conn.execute(query).all()
    return [
        records.Event(row.id, row.at, row.run_id, row.token, row.kind, mapping(row.detail)) for row in reversed(found)
    ]


def checkpoints(db: Database, run_id: int) -> list[records.Checkpoint]:
    """A run's checkpoints, oldest first, those that are corrupt or deleted too."""
    table = checkpoints_table
    query = select(table).where(table.c.run_id == run_id).order_by(table.c.step, table.c.token)
    with db.read() as conn:
        return [records.Checkpoint(**row._mapping) for row in conn.execute(query)]


def workers(db: Database) -> list[records.Worker]:
    """Workers, those at work first, then by last beat."""
    query = select(workers_table).order_by(workers_table.c.state == "gone", workers_table.c.beat_at.desc())
    with db.read() as conn:
        return [rows.worker(row) for row in conn.execute(query)]


def sweeps(db: Database, project: str | None = None) -> list[records.Sweep]:
    """Sweeps, oldest first."""
    with db.read() as conn:
        return read_sweeps(conn, project=project)


def trials(db: Database, sweep_id: int) -> list[records.Trial]:
    """A sweep's trials by number."""
    query = select(trials_table).where(trials_table.c.sweep_id == sweep_id).order_by(trials_table.c.number)
    with db.read() as conn:
        return [
            records.Trial(row.sweep_id, row.number, row.run_id, mapping(row.params), row.state, _values(row.results))
            for row in conn.execute(query)
        ]


def _values(results: object) -> tuple[float, ...]:
    """One number per objective, or none where something else is stored."""
    numbers = results if isinstance(results, list) and all(isinstance(one, int | float) for one in results) else ()
    return tuple(numbers)


def projects(db: Database) -> list[str]:
    """Names of the projects that have runs."""
    with db.read() as conn:
        return list(conn.scalars(select(runs_table.c.project).distinct().order_by(runs_table.c.project)))


def spent(db: Database, project: str) -> float:
    """Dollars that all runs of a project have spent."""
    with db.read() as conn:
        total = select(func.sum(runs_table.c.spent_micro)).where(runs_table.c.project == project)
        return rows.usd(conn.scalar(total))


def budget(db: Database, project: str) -> float | None:
    """The project's cap in dollars, None without one."""
    with db.read() as conn:
        cap = conn.scalar(select(budgets.c.max_micro).where(budgets.c.project == project))
    return None if cap is None else rows.usd(cap)


def purses(db: Database) -> dict[str, Purse]:
    """How the money of each project with runs or a budget stands, by name."""
    with db.read() as conn:
        names = {*conn.scalars(select(runs_table.c.project).distinct()), *conn.scalars(select(budgets.c.project))}
        return {name: purse(conn, name) for name in sorted(names)}


def samples(run: records.Run) -> list[records.Sample]:
    """The pictures in a run's folder, by step and place in the grid; a grid without its `meta.json` is left out."""
    found = []
    batch = run.config.get("batch_size")
    batch = batch if isinstance(batch, int) else 0
    for path in sorted(RunDir(Path(run.run_dir)).samples.glob("step-*/meta.json")):
        try:
            meta = json.loads(path.read_bytes())
            step, usd, prompts = int(meta["step"]), float(meta["usd"]), list(meta["prompts"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        for index, prompt in enumerate(prompts):
            picture = path.parent / f"{index:03d}.png"
            if picture.is_file():
                found.append(records.Sample(run.id, step, index, str(prompt), str(picture), usd, step * batch))
    return found


def speed_ups(db: Database, run_id: int) -> list[SpeedUp]:
    """What each masked stage of a run saved in seconds, against what its FLOPs promise. Raises NotFound."""
    return of_run(run(db, run_id), [one for key in KEYS for one in series(db, [run_id], key)])
