"""The matrix of pictures: prompts × runs at one place of the slider. Which picture stands where, and in words. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shoestring.ranking import DIRECTIONS, REACH
from shoestring.records import Run, Sample, Series
from shoestring.standings import LOSSES, on_other_data

from shoestring_ui import amounts
from shoestring_ui.differences import differing, telling

# rule → the field of a sample, and of a metric's series, that the slider moves over; "latest" has no slider
AXES = {"equal dollars": "usd", "step": "step", "images": "images", "latest": ""}
BY = tuple(AXES)
STALE = 0.05  # a picture this share older than asked says so
ROUNDED = 1e-5  # what an address may lose of a number

Row = tuple[str, int]  # a prompt, and how often it stood in the list before: one may be asked twice, with two seeds


@dataclass(frozen=True)
class Lane:
    """What the matrix says of one run: how it differs, and its quality and dollars at the slider's place."""

    run: Run
    differs: tuple[str, ...]
    metric: str
    quality: float | None
    usd: float | None
    young: bool = False  # the quality was measured at the slider's place, not before it


@dataclass(frozen=True)
class Matrix:
    """Everything that the page and the contact sheet draw."""

    lanes: tuple[Lane, ...]
    rows: tuple[Row, ...]
    pictures: Mapping[tuple[int, Row], Sample | None]  # by run and row
    by: str
    at: float
    takeaway: str

    def stale(self, sample: Sample) -> str:
        return stale_by(sample, self.by, self.at)


def where(sample: Sample, by: str) -> float:
    """Where on the slider a picture lies."""
    return float(getattr(sample, AXES[by])) if AXES[by] else 0.0


def places(samples: Sequence[Sample], by: str) -> list[float]:
    """Every place of the slider where some picture changes, in order.

    Pictures of several runs that lie within `REACH` of each other change at one place, the last of theirs: steps are
    whole, so no two runs draw at quite the same dollars. Each picture is the newest of its run at one of the places.
    """
    points = sorted({(where(s, by), s.run_id) for s in samples}, reverse=True)
    kept: list[float] = []
    moved: set[int] = set()  # runs whose picture changes at the last place kept
    for at, run_id in points:
        if kept and at * (1 + REACH) >= kept[-1] and run_id not in moved:
            moved.add(run_id)
            continue
        if not kept or at != kept[-1]:
            kept.append(at)
        moved = {run_id}
    return kept[::-1]


def floor(sorted_places: Sequence[float], asked: float) -> float:
    """The last of the places that is not past what was asked; the first where all are."""
    return max((p for p in sorted_places if p <= asked * (1 + ROUNDED)), default=sorted_places[0])


def common(runs: Sequence[Run], samples: Sequence[Sample], by: str) -> float:
    """The furthest place that all finished runs have reached; the last one where none has finished."""
    reached = _ends(runs, samples, by)
    among = places(samples, by)
    return floor(among, min(last for _, last in reached) * (1 + REACH)) if reached else among[-1]


def start(runs: Sequence[Run], samples: Sequence[Sample], by: str) -> float:
    """Where the slider stands unasked: as far as all finished runs have come, or where each has a picture."""
    begun = max((first for first, _ in _ends(runs, samples, by)), default=0.0)
    return max(common(runs, samples, by), floor(places(samples, by), begun * (1 + REACH)))


def _ends(runs: Sequence[Run], samples: Sequence[Sample], by: str) -> list[tuple[float, float]]:
    """Where each finished run has its first and its last picture."""
    found = {r.id: [where(s, by) for s in samples if s.run_id == r.id] for r in runs if r.state == "succeeded"}
    return [(min(mine), max(mine)) for mine in found.values() if mine]


def pick(samples: Sequence[Sample], by: str, at: float) -> Sample | None:
    """The newest picture that is not past `at`; of `latest`, the newest."""
    inside = [s for s in samples if by == "latest" or where(s, by) <= at * (1 + ROUNDED)]
    return max(inside, key=lambda s: s.step, default=None)


def stale_by(sample: Sample, by: str, at: float) -> str:
    """By how much the picture is older than asked, in words; empty when it is close enough."""
    if by == "latest":
        return ""
    gap = at - where(sample, by)
    if gap <= STALE * at:
        return ""
    return f"stale by {amounts.usd(gap)}" if by == "equal dollars" else f"stale by {amounts.count(gap)} {unit(by)}"


def unit(by: str) -> str:
    return {"step": "steps", "images": "images"}.get(by, "dollars")


def quality_at(series: Series, by: str, at: float) -> tuple[float, bool] | None:
    """The metric's last value at or before `at` (or as near after it as a run's end may lie), and whether it is as
    young as a picture must be. None before its first."""
    axis = [float(x) for x in getattr(series, AXES[by])] if AXES[by] else [at] * len(series.value)
    known = [(value, x) for value, x in zip(series.value, axis, strict=True) if math.isfinite(value)]
    inside = [(value, x) for value, x in known if x <= at * (1 + REACH)]
    return (inside[-1][0], at - inside[-1][1] <= STALE * at) if inside else None


def sort_rows(samples: Sequence[Sample]) -> dict[tuple[int, Row], list[Sample]]:
    """Each run's pictures of each row. Rows are in the order in which prompts are first met."""
    met: Counter[tuple[int, int, str]] = Counter()
    found: dict[tuple[int, Row], list[Sample]] = {}
    for sample in samples:
        before = met[key := (sample.run_id, sample.step, sample.prompt)]
        met[key] += 1
        found.setdefault((sample.run_id, (sample.prompt, before)), []).append(sample)
    return found


def build(
    runs: Sequence[Run], samples: Sequence[Sample], quality: Sequence[Series], place: tuple[str, float],
    part: slice = slice(None),
) -> Matrix:  # fmt: skip
    """The matrix of these runs at `place`, a rule and where its slider stands; `part` of its rows."""
    by, at = place
    pictures = sort_rows(samples)
    rows = tuple(dict.fromkeys(row for _, row in pictures))[part]
    shown = {(r.id, row): pick(pictures.get((r.id, row), ()), by, at) for r in runs for row in rows}
    curves = {s.run_id: s for s in quality}
    found = differing(runs) if len(runs) > 1 else {}
    lanes = []
    for i, run in enumerate(runs):
        newest = max((s for row in rows if (s := shown[run.id, row])), key=lambda s: s.step, default=None)
        curve = curves.get(run.id)
        value, young = (curve and quality_at(curve, by, at)) or (None, False)
        usd = newest.usd if newest else None
        lanes.append(Lane(run, tuple(telling(found, i)), curve.key if curve else "", value, usd, young))
    said = _takeaway(lanes, [s for s in shown.values() if s], by, at)
    return Matrix(tuple(lanes), rows, shown, by, at, said)


def _takeaway(lanes: Sequence[Lane], found: Sequence[Sample], by: str, at: float) -> str:
    when = {"latest": "at the latest of each", "step": f"at step {at:,.0f}", "images": f"after {at:,.0f} images each"}
    many = f"{len(lanes)} runs" if len(lanes) > 1 else lanes[0].run.name
    first = f"{many} {when.get(by, f'at {amounts.usd(at)} of training each')}"
    old = sum(bool(stale_by(s, by, at)) for s in found)
    tail = f"; {old} of {len(found)} pictures {'is' if old == 1 else 'are'} older than asked" if old else ""
    return f"{first}{_best(lanes)}{tail}."


def _best(lanes: Sequence[Lane]) -> str:
    """Who is ahead, where all have the same metric, measured there, and it means the same for all."""
    rated = [lane for lane in lanes if lane.quality is not None and lane.young]
    metrics = {lane.metric for lane in rated}
    if len(rated) < 2 or len(rated) < len(lanes) or len(metrics) > 1:
        return ""
    metric = metrics.pop()
    way = DIRECTIONS.get(metric)
    if way is None or (metric.startswith(LOSSES) and on_other_data([lane.run for lane in lanes])):
        return ""
    best = (min if way == "minimize" else max)(lane.quality for lane in rated if lane.quality is not None)
    shown, word = amounts.value(best), "lowest" if way == "minimize" else "highest"
    *more, last = [lane.run.name for lane in rated if amounts.value(lane.quality) == shown]
    who = f"{', '.join(more)} and {last} share" if more else f"{last} has"
    return f": {who} the {word} {metric}, {shown}"
