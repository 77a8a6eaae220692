"""What a chart shows, in one sentence: the title of every chart. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from statistics import NormalDist, fmean, stdev

from shoestring.odds import Odds
from shoestring.queries import Purse
from shoestring.quotes import Quote
from shoestring.ranking import Ranking, value_at
from shoestring.records import MICRO, WASTED, Series, Trial

from shoestring_ui.amounts import share, span, usd, value
from shoestring_ui.charts import Point, front_of
from shoestring_ui.curve_charts import X_AXES
from shoestring_ui.differences import short, shown
from shoestring_ui.reaches import Goal
from shoestring_ui.words import few

TELLING = 8  # trials below which even the clearest order of them may be chance


def of_points(points: Sequence[Point], metric: str, way: str, noun: str = "runs") -> str:
    """Who is best, for how much, and how many runs nothing beats."""
    done = [p for p in points if not p.running]
    if not done:
        return f"No run has finished with {metric} yet; hollow runs still train."
    front = front_of(points, way)
    best = front[-1]
    word = "lowest" if way == "minimize" else "highest"
    first = f"{best.name} has the {word} {metric}, {value(best.quality)}, for {usd(best.usd)}"
    if len(done) == 1:
        return f"{first}; nothing else has finished."
    return f"{first}; {len(front)} of {len(done)} {noun} {'is' if len(front) == 1 else 'are'} on the Pareto front."


def of_goal(goal: Goal, points: Sequence[Point], way: str) -> str:
    """Who reaches the quality for the fewest dollars, and what the next one takes; or how far off the best is."""
    names = {p.run_id: p.name for p in points}
    at_least = "at most" if way == "minimize" else "at least"
    what = f"{goal.metric} of {at_least} {value(goal.quality)}"
    reaches = [one for one in goal.reaches if one.run_id in names]
    if not points:
        return f"No run has a {goal.metric} yet."
    if not reaches:
        best = (min if way == "minimize" else max)(points, key=lambda p: p.quality)
        return f"No run reaches {what}; {best.name} comes nearest, with {value(best.quality)} at {usd(best.usd)}."
    first, *others = reaches
    said = f"{names[first.run_id]} is the cheapest to reach {what}, at {usd(first.usd)}"
    if not others:
        return f"{said}; no other run reaches it." if len(points) > 1 else f"{said}."
    times = f"{others[0].usd / first.usd:.2f} × as much" if first.usd else usd(others[0].usd)
    count = f"{len(reaches)} of {len(points)} runs reach it"
    return f"{said}; {names[others[0].run_id]}, next, takes {times}, and {count}."


def of_budget(project: str, purse: Purse) -> str:
    """What is gone of a project's cap, what is kept back, and what is free."""
    assert purse.max_micro is not None
    cap, spent, kept = (micro / MICRO for micro in (purse.max_micro, purse.spent_micro, purse.reserved_micro))
    free = cap - spent - kept
    back = f" and {usd(kept)} is kept back for what has not ended" if kept else ""
    rest = f"{usd(free)} is free" if free >= 0 else f"{usd(-free)} more than it may cost"
    return f"{usd(spent)} of {project}'s {usd(cap)} is spent{back}: {rest}."


def of_ranking(ranking: Ranking) -> str:
    """Who wins at equal dollars, or that it is a tie."""
    if not ranking.places:
        return "No two runs can be compared yet."
    first = ranking.places[0]
    at = f"At {usd(ranking.at_usd)} each"
    if len(ranking.places) == 1:
        return f"{at}, {first.experiment} is alone with {ranking.metric} {value(first.value)}."
    if first.tied_with:
        return f"{at}, {first.experiment} is ahead, but not beyond the noise: a tie with {few(first.tied_with)}."
    gap = abs(first.value - ranking.places[1].value) / abs(ranking.places[1].value or 1)
    return f"{at}, {first.experiment} is best, {100 * gap:.1f} % ahead of {ranking.places[1].experiment}."


def of_equal(ranking: Ranking) -> str:
    """Who is best for the same dollars, and with which probability each other one is worse, where that can be known."""
    if not ranking.places:
        return f"No run has a {ranking.metric} at {usd(ranking.at_usd)}."
    known = [one for one in ranking.odds if one.a == ranking.places[0].experiment and one.p is not None]
    return f"At {usd(ranking.at_usd)} each: {of_odds(known)}" if known else of_ranking(ranking)


def of_odds(odds: Sequence[Odds]) -> str:
    """Who beats whom with which probability: the best against each other one."""
    return " ".join(f"{one.words()}." for one in odds if one.a == odds[0].a)


def of_parts(flop: Mapping[str, float]) -> str:
    """Which components of a model take most of its training."""
    whole, ranked = sum(flop.values()), sorted(flop, key=lambda name: -flop[name])
    first, *rest = [f"{name.replace('_', ' ')} {share(flop[name], whole)}" for name in ranked[:3]]
    return f"Of the training FLOPs, {first}{''.join(f', {one}' for one in rest)}."


def of_quotes(quotes: Mapping[str, Quote]) -> str:
    """Where a run costs least, of the hardware whose memory holds it; and where it is done first."""
    fitting = {name: one.needs for name, one in quotes.items() if one.fits is not False}
    if not fitting:
        return "No hardware of the catalogue has the memory for it."
    cheap = min(fitting, key=lambda name: fitting[name].usd.p50)
    quick = min(fitting, key=lambda name: fitting[name].hours.p50)
    first = f"It costs least on {cheap}, {usd(fitting[cheap].usd.p50)}"
    if quick == cheap:
        return f"{first}, and is done first there, in {span(3600 * fitting[cheap].hours.p50)}."
    soonest = fitting[quick]
    return f"{first}; {quick} is done first, in {span(3600 * soonest.hours.p50)}, for {usd(soonest.usd.p50)}."


def of_spending(micro: Mapping[str, int]) -> str:
    """How much of what runs spent was useful, and what most of the waste was."""
    spent = sum(micro.values()) - micro["idle"]
    first = f"{share(micro['useful'], spent)} of the {usd(spent / MICRO)} that runs spent is useful so far"
    most = max(WASTED, key=lambda outcome: micro[outcome])
    if not micro[most]:
        return f"{first}; nothing is wasted."
    return f"{first}; most of the waste is {most}, {usd(micro[most] / MICRO)}."


def of_curves(
    series: Sequence[Series],
    names: Mapping[int, str],
    metric: str,
    way: str | None,
    x: str,
    others: Collection[int] = (),
) -> str:
    """At the furthest x that all have reached: who is best and by how much.

    `others` are runs whose values mean something else: the best is sought among the rest, and it is said.
    """
    others = [s.run_id for s in series if s.run_id in others]
    if others:
        rest = [s for s in series if s.run_id not in others]
        if len(rest) < 2:
            return f"{metric} of {len(series)} runs that do not compare: it is measured on something else for each."
        left = ", ".join(f"#{i}" for i in others)
        return f"{of_curves(rest, names, metric, way, x)} Not compared, for it is measured on something else: {left}."
    field, _ = X_AXES[x]
    drawn = [s for s in series if s.value]
    if not drawn:
        return f"No {metric} has been recorded yet."
    if len(drawn) == 1:
        one = drawn[0]
        if len(one.value) == 1:
            return f"{metric} is {value(one.value[0])} at step {one.step[0]:,}, its only point so far."
        return f"{metric} went from {value(one.value[0])} to {value(one.value[-1])} in {one.step[-1]:,} steps."
    reach = min(getattr(s, field)[-1] for s in drawn)
    at = usd(reach) if x == "dollars" else f"{reach:,.0f} {x if x != 'step' else 'steps'}"
    found = {s.run_id: _at(s, field, reach) for s in drawn}
    ranked = sorted((v, r) for r, v in found.items() if v is not None)
    if way == "maximize":
        ranked.reverse()
    if len(ranked) < 2 or way is None:
        return f"{metric} of {len(drawn)} runs over {x}."
    (best, run_id), (last, last_id) = ranked[0], ranked[-1]
    word = "lowest" if way == "minimize" else "highest"
    return (
        f"At {at}, the furthest that all have reached, {names[run_id]} has the {word} {metric}, {value(best)}; "
        f"{names[last_id]} the {'highest' if word == 'lowest' else 'lowest'}, {value(last)}."
    )


def _at(series: Series, field: str, reach: float) -> float | None:
    """The metric interpolated at `reach` of any x-axis."""
    axis = [float(v) for v in getattr(series, field)]
    moved = Series(series.run_id, series.key, series.step, series.value, series.images, series.flops, axis, axis)
    return value_at(moved, reach)


def of_heatmap(trials: Sequence[Trial], x: str, y: str, objective: tuple[int, str, str]) -> str:
    """Which trial is best and where it lies."""
    index, name, way = objective
    done = [t for t in trials if len(t.values) > index]
    if not done:
        return f"No trial has a {name} yet."
    best = (min if way == "minimize" else max)(done, key=lambda t: t.values[index])
    where = ", ".join(f"{short(p)} {_level(best.params.get(p))}" for p in (x, y))
    mean = fmean(t.values[index] for t in done)
    return f"Best {name} {value(best.values[index])} at {where}; the mean of {len(done)} trials is {value(mean)}."


def _level(found: object) -> str:
    return f"{found:.3g}" if isinstance(found, float) else shown(found)


def of_parallel(trials: Sequence[Trial], params: Sequence[str], objective: tuple[int, str, str]) -> str:
    """What tells the better half of the trials from the rest: the field whose mean moved most, if by more than chance.

    Two halves drawn by chance differ in a field's mean by s √(n / ab): a and b trials in them, s the field's deviation.
    Significant beyond 95 %, two-sided, over as many fields as were looked at (Bonferroni).
    """
    index, name, way = objective
    ranked = sorted(trials, key=lambda t: t.values[index], reverse=way == "maximize")
    n, half = len(ranked), len(ranked) // 2
    if n < TELLING:
        return f"{n} trials through {len(params)} fields: too few to see what the good ones share ({TELLING} may do)."
    moves = []
    for path in params:
        numbers = [float(t.params[path]) for t in ranked if isinstance(t.params.get(path), int | float)]
        if len(numbers) == n and max(numbers) > min(numbers):
            good, rest = fmean(numbers[:half]), fmean(numbers[half:])
            by_chance = stdev(numbers) * math.sqrt(n / (half * (n - half)))
            moves.append((abs(good - rest) / by_chance, path, good, rest))
    if not moves or max(moves)[0] < NormalDist().inv_cdf(1 - 0.025 / len(moves)):
        return f"No field tells the better half of the {n} trials by {name} from the rest, beyond chance."
    _, path, good, rest = max(moves)
    way = "higher" if good > rest else "lower"
    return f"The better half by {name} has the {way} {short(path)}: {good:.3g} on average, against {rest:.3g}."
