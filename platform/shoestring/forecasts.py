"""Forecast against actual: what runs were planned to cost, beside what they did. Pure.

Only what the forecast spoke of is compared: runs that succeeded in one attempt and trained all their steps. A run that
was interrupted also paid for starting again, and one that ended early was not what was priced; both are left out and
counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from shoestring.records import DRAWING, Run

TARGET_ERROR, TARGET_COVERAGE = 0.10, (0.70, 0.90)  # median absolute error at most; share of runs within p10–p90


@dataclass(frozen=True)
class Forecast:
    """One finished run: planned dollars (10th, 50th, 90th percentile) and actual ones."""

    run_id: int
    name: str
    hardware: str  # the price row
    how: str  # measured, fitted or assumed; "" where the plan does not say
    p10_usd: float
    p50_usd: float
    p90_usd: float
    actual_usd: float

    @property
    def error(self) -> float:
        """Actual over planned, less one: .1 cost a tenth more than planned."""
        return self.actual_usd / self.p50_usd - 1

    @property
    def inside(self) -> bool:
        """Whether it cost between the 10th and the 90th percentile."""
        return self.p10_usd <= self.actual_usd <= self.p90_usd

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "error": self.error, "inside": self.inside}


@dataclass(frozen=True)
class Accuracy:
    """How good the forecasts of one price row were."""

    hardware: str
    n: int
    median_error: float  # signed
    median_abs_error: float
    n_inside: int

    @property
    def coverage(self) -> float:
        """The share of runs within their p10–p90; 80 % would be exact."""
        return self.n_inside / self.n

    def words(self) -> str:
        """One sentence."""
        way = "less" if self.median_error < 0 else "more"
        runs = "1 run" if self.n == 1 else f"{self.n} runs"
        return (
            f"{self.hardware}: {runs} cost {100 * abs(self.median_error):.1f} % {way} than planned in the median "
            f"(absolute error {100 * self.median_abs_error:.1f} %); {self.n_inside} of {self.n} within 10–90 %"
        )

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "coverage": self.coverage}


@dataclass(frozen=True)
class Review:
    """Every forecast that can be judged, by run, and how many runs cannot, by the reason in words."""

    forecasts: tuple[Forecast, ...]
    left_out: dict[str, int]

    @property
    def accuracy(self) -> list[Accuracy]:
        """Of each price row, the one with most runs first."""
        rows: dict[str, list[Forecast]] = {}
        for one in self.forecasts:
            rows.setdefault(one.hardware, []).append(one)
        return [_accuracy(name, rows[name]) for name in sorted(rows, key=lambda name: (-len(rows[name]), name))]

    def as_json(self) -> dict[str, Any]:
        return {
            "accuracy": [one.as_json() for one in self.accuracy],
            "runs": [one.as_json() for one in self.forecasts],
            "left_out": self.left_out,
        }


def review(runs: Iterable[Run]) -> Review:
    """Compare what finished runs were planned to cost with what they cost."""
    found, left_out = [], Counter[str]()
    for run in runs:
        if run.state != "succeeded" or run.kind == DRAWING:
            continue
        planned = run.plan.get("usd") or {}
        if not {"p10", "p50", "p90"} <= planned.keys() or planned["p50"] <= 0:
            left_out["planned no dollars"] += 1
        elif run.attempts > 1:
            left_out["interrupted"] += 1
        elif run.step < run.n_steps:
            left_out["ended before its last step"] += 1
        else:
            p10, p50, p90 = (float(planned[p]) for p in ("p10", "p50", "p90"))
            hardware = run.plan.get("hardware") or (run.config.get("price") or {}).get("hardware") or ""
            how = str(run.plan.get("how") or "")
            found.append(Forecast(run.id, run.name, str(hardware), how, p10, p50, p90, run.spent_usd))
    return Review(tuple(found), dict(left_out))


def _accuracy(hardware: str, forecasts: Sequence[Forecast]) -> Accuracy:
    errors = [one.error for one in forecasts]
    return Accuracy(
        hardware,
        len(errors),
        median(errors),
        median(abs(error) for error in errors),
        sum(one.inside for one in forecasts),
    )
