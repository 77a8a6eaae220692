"""The band that the seeds of an experiment draw over dollars: their mean, and its standard error. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from shoestring.ranking import Curve, value_at

MAX_PLACES = 200  # of a band: more are not seen


@dataclass(frozen=True)
class Band:
    """Mean over seeds at each of `usd`, and the standard error of that mean, as far as all its seeds have come."""

    experiment: str
    run_ids: tuple[int, ...]
    usd: tuple[float, ...]
    mean: tuple[float, ...]
    se: tuple[float, ...]

    @property
    def seeds(self) -> int:
        return len(self.run_ids)


def bands(curves: Iterable[Curve]) -> list[Band]:
    """A band for each experiment with two curves that share dollars, on the dollars of its own evaluations."""
    groups: dict[str, list[Curve]] = {}
    for curve in curves:
        if curve.series.usd:
            groups.setdefault(curve.experiment, []).append(curve)
    drawn = [_band(name, members) for name, members in groups.items() if len(members) > 1]
    return [band for band in drawn if band.usd]


def _band(experiment: str, members: Sequence[Curve]) -> Band:
    first = max(curve.series.usd[0] for curve in members)
    last = min(curve.series.usd[-1] for curve in members)
    evaluated = sorted({usd for curve in members for usd in curve.series.usd if first <= usd <= last})
    every = math.ceil(len(evaluated) / MAX_PLACES) or 1
    usd, mean, se = [], [], []
    for place in [*evaluated[:-1:every], *evaluated[-1:]]:
        read = [value_at(curve.series, place) for curve in members]
        values = [value for value in read if value is not None]
        if len(values) == len(members):
            usd.append(place)
            mean.append(fmean(values))
            se.append(stdev(values) / math.sqrt(len(values)))
    return Band(experiment, tuple(sorted(c.series.run_id for c in members)), tuple(usd), tuple(mean), tuple(se))
