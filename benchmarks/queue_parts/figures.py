"""What is measured, in which unit, and what it is to reach: one table a part."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Figure:
    """A number of a part. `least` and `below` are its targets, if it has one; `every` = each round must reach it."""

    name: str
    words: str
    least: float | None = None
    below: float | None = None
    every: bool = False

    @property
    def target(self) -> str:
        if self.least is not None:
            return f"≥ {self.least:,g}"
        return f"< {self.below:,g}" if self.below is not None else ""

    def reached(self, values: list[float]) -> bool:
        """Say whether the median, or every round, is where it should be."""
        if self.least is not None:
            return (min(values) if self.every else statistics.median(values)) >= self.least
        return self.below is None or (max(values) if self.every else statistics.median(values)) < self.below


FIGURES = {
    "race": (
        Figure("claims_per_s", "claims/s", least=700),
        Figure("p50_ms", "a claim, median, ms"),
        Figure("p99_ms", "a claim, p99, ms"),
        Figure("max_ms", "the worst claim, ms", below=500, every=True),
        Figure("share", "slowest claimer / equal share", least=0.7, every=True),
    ),
    "load": (
        Figure("claim_p50_ms", "a claim, median, ms"),
        Figure("claim_p99_ms", "a claim, p99, ms"),
        Figure("claim_max_ms", "the worst claim, ms", below=500, every=True),
        Figure("page_ms", "a page of 200 runs, ms", below=200),
        Figure("many_ms", "10,000 runs at once, ms"),
        Figure("points_per_s", "metric points written/s"),
        Figure("chart_ms", "a chart of 10 runs, ms", below=300),
        Figure("last_ms", "last values of 10 runs, ms"),
        Figure("keys_ms", "names of their metrics, ms"),
    ),
    "submit": (
        Figure("specs_per_s", "specs/s, priced", least=1000),
        Figure("unpriced_per_s", "specs/s without pricing"),
        Figure("read_ms", "read, validate, resolve, ms each"),
        Figure("price_ms", "price, ms each"),
        Figure("enter_ms", "enter, ms each"),
    ),
    "beside": (
        Figure("ours_per_s", "runs/s"),
        Figure("ours_client_ms", "CPU of workers, ms a run"),
        Figure("ours_server_ms", "CPU of the server, ms a run"),
        Figure("theirs_per_s", "procrastinate, jobs/s"),
        Figure("theirs_client_ms", "its CPU of workers, ms a job"),
        Figure("theirs_server_ms", "its CPU of the server, ms a job"),
        Figure("ratio", "ratio of jobs/s", least=3),
    ),
}


def show(part: str, answers: dict[str, list[dict[str, Any]]]) -> None:
    """Print a table: median, least and most of the rounds, the target and whether it is reached."""
    print(f"\n{part:<22} {'':<32} {'median':>10}  {'range':<21} {'n':>2}  target")
    for name, rounds in answers.items():
        for figure in FIGURES[part]:
            values = [one[figure.name] for one in rounds if figure.name in one]
            if not values:
                continue
            spread = f"{shown(min(values))} – {shown(max(values))}"
            verdict = "" if not figure.target else " reached" if figure.reached(values) else " MISSED"
            print(
                f"{name:<22} {figure.words:<32} {shown(statistics.median(values)):>10}  {spread:<21} "
                f"{len(values):>2}  {figure.target}{verdict}"
            )
        if wrong := sum(len(one["wrong"]) for one in rounds):
            print(f"{name:<22} {wrong} claims of the benchmark do not hold, see below")


def shown(value: float) -> str:
    """Three figures, and no decimals from 100 on."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
