"""Successive halving on rungs of planned dollars: where a run waits, and who goes on. Pure.

Trials are compared by what their curves say at the same planned dollars, so a cheap step and a dear one get the same
money. Asynchronous (arXiv 1810.05934): whoever is among the best `keep` of those that are in goes on at once; whoever
cannot be among them any more, whatever still comes, is pruned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from shoestring.ranking import REACH, value_at
from shoestring.records import Series

REASON = "rung"  # why a run is paused that waits at a rung
PRUNED = "pruned"  # the reason of a run that was ended at one begins with this


@dataclass(frozen=True)
class Gate:
    """Where a run waits next: at the first value of `metric` at `usd` planned dollars."""

    metric: str
    usd: float

    def reached(self, metrics: Mapping[str, float]) -> bool:
        """Whether this line of a journal brings the run to the rung."""
        return self.metric in metrics and _reaches(metrics.get("progress/usd", 0.0), self.usd)


def planned(metric: str, rungs_usd: Sequence[float]) -> dict[str, Any]:
    """What a run's stored plan says of its rungs; the last is its end, no gate."""
    return {"metric": metric, "usd": list(rungs_usd[:-1])}


def gate(plan: Mapping[str, Any], n_passed: int) -> Gate | None:
    """The next gate of a run with this stored plan that was let through so many; None when none is left.

    Raises ValueError for a plan whose rungs cannot be read.
    """
    rungs = plan.get("rungs")
    if rungs is None:
        return None
    try:
        gates = [Gate(str(rungs["metric"]), float(usd)) for usd in rungs["usd"]]
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"plan.rungs {rungs!r}: a metric and dollars are wanted") from None
    return gates[n_passed] if n_passed < len(gates) else None


def value_of(series: Series, usd: float) -> float | None:
    """The metric at a rung, by the curve up to the evaluation that reached it: what comes later changes nothing."""
    for index, reached_usd in enumerate(series.usd):
        if _reaches(reached_usd, usd):
            to_here = {name: getattr(series, name)[: index + 1] for name in ("step", "value", "usd")}
            return value_at(replace(series, **to_here), usd)
    return None


@dataclass(frozen=True)
class Rung:
    """Who is in at one rung: trial → value (None: it has none, and is last), of which some wait and some went on."""

    values: Mapping[int, float | None]
    waiting: frozenset[int]
    gone_on: frozenset[int]
    on_the_way: int  # trials between the rung before and this one


@dataclass(frozen=True)
class Choice:
    """What becomes of waiting trials, in the order to do it: the best first."""

    promote: tuple[tuple[int, int], ...]  # (trial, rung it leaves), higher rungs first
    prune: tuple[tuple[int, int], ...]


def choose(rungs: Sequence[Rung], keep: float, way: str, n_to_come: int) -> Choice:
    """Who goes on and who cannot any more; `n_to_come` trials may still be proposed. Ties go to the lower number."""
    sign = 1.0 if way == "minimize" else -1.0
    promote, prune = list[tuple[int, int]](), list[tuple[int, int]]()
    coming = n_to_come
    for level, rung in enumerate(rungs):
        coming += rung.on_the_way
        found = {number: value for number, value in rung.values.items() if value is not None}
        order = sorted(found, key=lambda number: (sign * found[number], number))
        order += sorted(set(rung.values) - set(found))
        now = int(len(order) * keep + 1e-9)
        most = max(1, int((len(order) + coming) * keep + 1e-9))  # that can ever go on
        allowed = now if coming else most
        promote += [(number, level) for number in order[:allowed] if number in rung.waiting]
        prune += [(number, level) for number in order[most:] if number in rung.waiting]
        coming = max(0, most - len(rung.gone_on))
    return Choice(tuple(sorted(promote, key=lambda one: -one[1])), tuple(prune))


def _reaches(at_usd: float, usd: float) -> bool:
    return at_usd >= usd * (1 - REACH)
