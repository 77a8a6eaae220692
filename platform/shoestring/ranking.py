"""Quality at equal dollars: a tie is called a tie. Pure functions over `records.Series`.

Every run's metric is read off its own curve at the same planned (useful) dollars, the largest that all have reached
unless told otherwise, and experiments are compared by the mean over their seeds. What counts as noise, best first:

- `seeds`: some experiment has two or more seeds. Their standard deviations are pooled into one (each experiment alone
  has too few seeds to know its own), and a difference is real beyond Student's t at 95 % for the pooled degrees of
  freedom. Experiments with one seed borrow the pooled deviation.
- `scatter`: one seed each. The residuals of every run's last evaluations around a parabola, pooled and tested the
  same way. It knows nothing of what another seed would do, so it is a lower bound: it can call a real tie a win.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any, Literal

import numpy as np

from shoestring.errors import UsageError
from shoestring.odds import Odds, all_odds
from shoestring.records import Series

Direction = Literal["minimize", "maximize"]
DIRECTIONS: dict[str, Direction] = {
    "val/loss": "minimize",
    "train/loss": "minimize",
    "eval/kid_effnet": "minimize",
    "eval/retrieval_r1": "maximize",
    "cost/usd": "minimize",
}
REACH = 0.02  # a curve's end within 2 % of the dollars asked for counts as reaching them (steps are whole)
SCATTER_POINTS, PARABOLA = 5, 3  # last evaluations looked at; coefficients fitted to them
# Student's t, two-sided 95 %, by degrees of freedom; from 10 on two is close enough.
T_95 = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26}


@dataclass(frozen=True)
class Curve:
    """One run's metric over dollars: what is ranked."""

    experiment: str
    seed: int
    series: Series


@dataclass(frozen=True)
class Place:
    """One experiment's row: `place` is 1 + the number of experiments that are better beyond the noise."""

    place: int
    experiment: str
    value: float
    se: float
    usd: float
    seeds: int
    run_ids: tuple[int, ...]
    tied_with: tuple[str, ...]


@dataclass(frozen=True)
class Ranking:
    """Experiments, best first, at the same dollars; `left_out` says in words why a run has no place."""

    metric: str
    direction: Direction
    at_usd: float
    noise: Literal["seeds", "scatter", "none"]
    places: tuple[Place, ...]
    left_out: tuple[tuple[int, str], ...]
    odds: tuple[Odds, ...] = ()  # of every two places, the better mean first (of many: the first and each other)

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "odds": [one.as_json() for one in self.odds]}


def direction(metric: str) -> Direction:
    """Say which way of `metric` is better. Raises UsageError for one that is not in the table."""
    if metric not in DIRECTIONS:
        raise UsageError(f"metric {metric!r} has no known direction", f"one of: {', '.join(DIRECTIONS)}")
    return DIRECTIONS[metric]


def value_at(series: Series, usd: float) -> float | None:
    """Interpolate the metric at `usd` planned dollars; None where the curve does not reach (within 2 %)."""
    points = [(x, y) for x, y in zip(series.usd, series.value, strict=True) if math.isfinite(y)]
    if not points:
        return None
    (first_usd, first), (last_usd, last) = points[0], points[-1]
    if usd >= last_usd:
        return last if last_usd >= usd * (1 - REACH) else None
    if usd <= first_usd:
        return first if first_usd <= usd * (1 + REACH) else None
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        if x0 <= usd <= x1:
            return y1 if x1 == x0 else y0 + (y1 - y0) * (usd - x0) / (x1 - x0)
    return None


def usd_to_reach(series: Series, quality: float, way: Direction = "minimize") -> float | None:
    """Planned dollars at which the metric is first as good as `quality`, between the same lines as `value_at`'s."""
    sign, before = 1.0 if way == "minimize" else -1.0, None
    for usd, value in zip(series.usd, series.value, strict=True):
        if not math.isfinite(value):
            continue
        if sign * value <= sign * quality:
            if before is None or value == quality:
                return usd
            usd0, value0 = before
            return usd0 + (usd - usd0) * (value0 - quality) / (value0 - value)
        before = usd, value
    return None


def scatter(series: Series) -> tuple[float, int]:
    """Sum of squared residuals of the last evaluations around a parabola over dollars, and its degrees of freedom.

    The untrained network's evaluation (no dollars) is left out: the fall from it is no noise. (0.0, 0) with too few.
    """
    points = [(x, y) for x, y in zip(series.usd, series.value, strict=True) if x > 0 and math.isfinite(y)]
    xs, ys = zip(*points[-SCATTER_POINTS:], strict=True) if points else ((), ())
    freedom = len(xs) - PARABOLA
    if freedom < 1:
        return 0.0, 0
    parabola = np.polynomial.Polynomial.fit(xs, ys, PARABOLA - 1)
    return float(np.square(parabola(np.array(xs)) - ys).sum()), freedom


def rank(curves: Sequence[Curve], metric: str = "val/loss", at_usd: float | None = None) -> Ranking:
    """Rank experiments by `metric` at equal planned dollars, mean over seeds, ties sharing a place."""
    way = direction(metric)
    left_out = [(c.series.run_id, f"no {metric} recorded") for c in curves if not c.series.usd]
    curves = [c for c in curves if c.series.usd]
    if at_usd is None:
        at_usd = min((c.series.usd[-1] for c in curves), default=0.0)
    groups: dict[str, list[tuple[Curve, float]]] = {}
    for curve in curves:
        value = value_at(curve.series, at_usd)
        if value is None:
            first, last = curve.series.usd[0], curve.series.usd[-1]
            left_out.append((curve.series.run_id, f"its {metric} spans ${first:.4g} to ${last:.4g}"))
        else:
            groups.setdefault(curve.experiment, []).append((curve, value))
    noise, errors, factor = _noise(groups)
    means = {name: fmean(value for _, value in members) for name, members in groups.items()}
    sign = 1.0 if way == "minimize" else -1.0

    def tied(a: str, b: str) -> bool:
        return abs(means[a] - means[b]) <= factor * math.hypot(errors[a], errors[b])

    places = []
    for name in sorted(means, key=lambda n: (sign * means[n], n)):
        better = [o for o in means if sign * means[o] < sign * means[name] and not tied(o, name)]
        places.append(
            Place(
                place=1 + len(better),
                experiment=name,
                value=means[name],
                se=errors[name],
                usd=at_usd,
                seeds=len(groups[name]),
                run_ids=tuple(sorted(curve.series.run_id for curve, _ in groups[name])),
                tied_with=tuple(sorted(o for o in means if o != name and tied(o, name))),
            )
        )
    by_seed = [(p.experiment, {curve.seed: value for curve, value in groups[p.experiment]}) for p in places]
    return Ranking(metric, way, at_usd, noise, tuple(places), tuple(left_out), all_odds(by_seed, way))


def _noise(
    groups: dict[str, list[tuple[Curve, float]]],
) -> tuple[Literal["seeds", "scatter", "none"], dict[str, float], float]:
    """(kind, standard error of each experiment's mean, how many of them make a difference real)."""
    freedom = sum(len(members) - 1 for members in groups.values())
    if freedom:
        squares = 0.0
        for members in groups.values():
            mean = fmean(value for _, value in members)
            squares += sum((value - mean) ** 2 for _, value in members)
        kind: Literal["seeds", "scatter"] = "seeds"
    else:
        found = [scatter(members[0][0].series) for members in groups.values()]
        squares, freedom, kind = sum(s for s, _ in found), sum(n for _, n in found), "scatter"
        if not freedom:
            return "none", dict.fromkeys(groups, 0.0), 0.0
    deviation = math.sqrt(squares / freedom)
    errors = {name: deviation / math.sqrt(len(members)) for name, members in groups.items()}
    return kind, errors, T_95.get(freedom, 2.0)


NOISE_IN_WORDS = {
    "seeds": "noise from the seeds (pooled standard deviation, Student's t at 95 %)",
    "scatter": "one seed each: the noise is the scatter of the runs' own last evaluations (pooled), a lower bound",
    "none": "no measure of noise: too few evaluations and one seed each, so only equal numbers tie",
}


def pareto_front(points: Sequence[tuple[float, float]], way: Direction = "minimize") -> list[int]:
    """Indices of the (usd, quality) points that no other beats in both, cheapest first; of equals, the first."""
    sign = 1.0 if way == "minimize" else -1.0
    front: list[int] = []
    best = math.inf
    for index in sorted(range(len(points)), key=lambda i: (points[i][0], sign * points[i][1])):
        quality = sign * points[index][1]
        if quality < best:
            front.append(index)
            best = quality
    return front
