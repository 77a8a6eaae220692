"""What runs came to, as a sweep counts it: objectives, constraints, and earlier runs that a sweep may begin with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from shoestring import queries
from shoestring.db import Database
from shoestring.errors import NotFound, UsageError
from shoestring.faults import did_you_mean
from shoestring.records import Run
from shoestring.request import Request
from shoestring.resolve import SweepRequest, value_at
from shoestring.rungs import value_of
from shoestring.study import Earlier


def objective_values(
    db: Database, run: Run, objectives: Sequence[str], at_usd: float | None = None
) -> tuple[float, ...] | None:
    """The run's value of each objective, the last or that at a rung; dollars are what it actually spent.

    None when one was never recorded.
    """
    found = queries.last_values(db, [run.id], objectives).get(run.id, {})
    if at_usd is not None:
        for series in (s for key in objectives for s in queries.series(db, [run.id], key, max_points=10**9)):
            at_rung = value_of(series, at_usd)
            found = {key: value for key, value in found.items() if key != series.key}
            found |= {} if at_rung is None else {series.key: at_rung}
    values = [run.spent_usd if key == "cost/usd" else found.get(key) for key in objectives]
    return None if None in values else tuple(float(v) for v in values if v is not None)


def constraint_values(db: Database, run: Run, limits: Mapping[str, float]) -> dict[str, float] | None:
    """By how much the run is above each limit (0 or less: it keeps it); None when a metric was never recorded."""
    values = objective_values(db, run, list(limits))
    return None if values is None else {k: v - limits[k] for k, v in zip(limits, values, strict=True)}


def earlier_runs(db: Database, request: SweepRequest) -> list[Earlier]:
    """The runs that `warm_start` asks for: succeeded, and of this recipe but for the search and the seed.

    Raises NotFound for a run or sweep that is not there, UsageError for a run of another recipe.
    """
    wanted = request.spec.warm_start
    if not wanted:
        return []
    found, named = dict[int, Run](), set[int]()
    if wanted is True:
        found = {run.id: run for run in queries.runs(db, project=request.project, state="succeeded")}
    for one in () if wanted is True else wanted:
        if isinstance(one, int):
            found[one] = queries.run(db, one)
            named.add(one)
        else:
            found |= {run.id: run for run in _of_sweep(db, request.project, one)}
    earlier = []
    for run in sorted(found.values(), key=lambda r: r.id):
        params = params_of(run, request)
        values = objective_values(db, run, list(request.objectives))
        limits = constraint_values(db, run, request.spec.constraints or {})
        if run.state == "succeeded" and params is not None and values is not None and limits is not None:
            earlier.append(Earlier(run.id, params, values, limits))
        elif run.id in named:
            why = f"is {run.state}" if run.state != "succeeded" else "lacks an objective" if params else "differs"
            raise UsageError(
                f"warm_start: run {run.id} {why}: it is no finished trial of {request.name}",
                "only succeeded runs whose recipe, data, code and `until` are the sweep's, the search apart; "
                f"`shoestring diff` shows what differs from {request.base.experiment}",
            )
    return earlier


def params_of(run: Run, request: SweepRequest) -> dict[str, Any] | None:
    """The point of the search that the run was at; None when it is not a trial of this sweep but for its seed."""
    try:
        stored = Request.model_validate_json(json.dumps(run.spec))
        params = {p.path: value_at(stored, p.path) for p in request.parameters}
        if not all(request.spec.search[path].holds(value) for path, value in params.items()):
            return None
        same = _but_for_seed(request.base.with_params(params)) == _but_for_seed(stored)
    except (ValidationError, UsageError, KeyError, IndexError, TypeError, ValueError):
        return None
    return params if same else None


def _but_for_seed(request: Request) -> dict[str, Any]:
    return {key: value for key, value in request.identity().items() if key != "seed"}


def _of_sweep(db: Database, project: str, name: str) -> list[Run]:
    known = queries.sweeps(db, project)
    ids = [sweep.id for sweep in known if sweep.name == name]
    if not ids:
        hint = did_you_mean(name, {sweep.name for sweep in known}) or "shoestring status"
        raise NotFound(f"warm_start: there is no sweep {name!r}", hint)
    runs = [run for sweep_id in ids for run in queries.runs(db, sweep_id=sweep_id)]
    return [run for run in runs if run.state == "succeeded"]
