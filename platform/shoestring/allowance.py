"""What a trial may spend of its sweep's dollars. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

from shoestring.records import Run
from shoestring.states import TERMINAL

AT_REST = (*TERMINAL, "paused")


def committed_usd(runs: Iterable[Run]) -> float:
    """What these runs have spent, and what those in flight may still spend: up to their caps, else their forecasts."""
    return sum(run.spent_usd if run.state in AT_REST else max(run.spent_usd, _most(run)) for run in runs)


def allowance(left_usd: float, forecast_usd: float, n_slots: int) -> float:
    """The cap of a trial that is about to run: its share of what is left, or its forecast if that is more.

    `forecast_usd` is its 90th percentile and `n_slots` counts the trials that may yet start beside it, itself too. All
    caps together are never above what is left.
    """
    return min(left_usd, max(forecast_usd, left_usd / max(1, n_slots)))


def typical_usd(runs: Iterable[Run]) -> float | None:
    """What a trial costs: the median of those that have ended; None before the first."""
    spent = [run.spent_usd for run in runs if run.state in TERMINAL and run.spent_usd > 0]
    return statistics.median(spent) if spent else None


def rest_usd(run: Run, to_usd: float | None = None, share: str = "p90") -> float:
    """What a run may still cost up to its end, or up to `to_usd` planned dollars, by its forecast (p50 or p90)."""
    forecast = run.plan.get("usd", {}).get(share, run.planned_usd)
    if not run.n_steps or not run.planned_usd:
        return forecast
    at = run.step / run.n_steps
    end = 1.0 if to_usd is None else min(1.0, to_usd / run.planned_usd)
    return forecast * max(0.0, end - at) + run.plan.get("closing_usd", 0.0)


def _most(run: Run) -> float:
    return run.max_usd if run.max_usd is not None else run.plan.get("usd", {}).get("p90", run.planned_usd)
