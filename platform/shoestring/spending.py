"""Lines of the ledger added up: by outcome, day, sweep, machine, experiment or project. Pure, in micro-dollars."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

from shoestring.records import OUTCOMES, Spend

BY = ("outcome", "day", "sweep", "machine", "experiment", "project")


def added(lines: Iterable[Spend]) -> dict[str, int]:
    """Micro-dollars under each outcome, all of them named."""
    found = dict.fromkeys(OUTCOMES, 0)
    for line in lines:
        found[line.outcome] += line.micro
    return found


def grouped(lines: Iterable[Spend], by: str) -> dict[str, dict[str, int]]:
    """Micro-dollars under each outcome, by one of BY: days oldest first (UTC), the rest from the dearest down."""
    groups: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(OUTCOMES, 0))
    for line in lines:
        for key, micro in by_day(line) if by == "day" else [(getattr(line, by), line.micro)]:
            groups[key][line.outcome] += micro
    order = sorted(groups) if by == "day" else sorted(groups, key=lambda key: (-sum(groups[key].values()), key))
    return {key: groups[key] for key in order}


def course(lines: Iterable[Spend]) -> list[tuple[float, int]]:
    """When how many micro-dollars of runs were gone, oldest first: at each line's beginning and end, evenly between."""
    runs = [line for line in lines if line.outcome != "idle"]
    turns: dict[float, list[float]] = {}  # at: (micro-dollars spent at once, change of micro-dollars a second)
    for line in runs:
        span_s = line.ended_at - line.began_at
        begins, ends = turns.setdefault(line.began_at, [0.0, 0.0]), turns.setdefault(line.ended_at, [0.0, 0.0])
        if span_s > 0:
            begins[1] += line.micro / span_s
            ends[1] -= line.micro / span_s
        else:
            ends[0] += line.micro
    gone, rate, before, found = 0.0, 0.0, 0.0, list[tuple[float, int]]()
    for at in sorted(turns):
        gone += rate * (at - before)
        found.append((at, round(gone)))
        at_once, more = turns[at]
        if at_once:
            gone += at_once
            found.append((at, round(gone)))
        rate, before = rate + more, at
    return [*found[:-1], (found[-1][0], sum(line.micro for line in runs))] if found else []


def by_day(line: Spend) -> Iterator[tuple[str, int]]:
    """A line's micro-dollars on each day (UTC) that it touches, in proportion to its time there."""
    span_s, done = line.ended_at - line.began_at, 0
    begun = datetime.fromtimestamp(line.began_at, UTC)
    midnight = begun.replace(hour=0, minute=0, second=0, microsecond=0)
    while done < line.micro or not line.micro:
        day, midnight = midnight, midnight + timedelta(days=1)
        past = 1.0 if span_s <= 0 else min(1.0, (midnight.timestamp() - line.began_at) / span_s)
        upto = round(line.micro * past)
        if upto > done or not line.micro:
            yield day.date().isoformat(), upto - done
        done = upto
        if past >= 1.0:
            return
