"""The report's Overview and Compare: quality against dollars, the ranking, the curves, and what differs."""

from __future__ import annotations

from collections import Counter

import pandas as pd
from shoestring import queries
from shoestring.bands import bands
from shoestring.ranking import DIRECTIONS, NOISE_IN_WORDS, Curve, rank
from shoestring.records import MICRO, Run
from shoestring.spending import added
from shoestring.standings import LOSSES, on_other_data, standings

from shoestring_ui import amounts, frames, takeaways, words
from shoestring_ui.charts import quality_per_dollar
from shoestring_ui.cost_charts import banded
from shoestring_ui.curve_charts import overlay
from shoestring_ui.differences import differing, shown
from shoestring_ui.identity import mark, state_words
from shoestring_ui.points import of_runs
from shoestring_ui.report.pieces import chart, csv, details, experiment, legend, note, section, table, who
from shoestring_ui.report.subject import Subject, way

CURVES_AT_MOST = 16  # runs in one chart, as on the page
METRICS_AT_MOST = 4


def overview(about: Subject) -> str:
    """Figures, the map of quality per dollar, the ranking at equal dollars, every run."""
    lede = "Every run at the dollars it has had, and how good it was by then."
    return section("overview", "Quality per dollar", lede, _figures(about), _map(about), _ranking(about), _runs(about))


def compare(about: Subject) -> str:
    """The curves over dollars, the seeds as bands, and only what differs."""
    lede = "The same metric of several runs over useful dollars, and what differs between them."
    charts = [_curves(about, metric) for metric in about.metrics[:METRICS_AT_MOST]]
    return section("compare", "Compare", lede, *charts, _seeds(about), _differences(about))


def _figures(about: Subject) -> str:
    micro = added(about.spends)
    spent, useful = sum(micro.values()) / MICRO, micro["useful"] / MICRO
    found = [s for s in queries.series(about.db, [r.id for r in about.compared], about.metric) if s.value]
    sign = 1.0 if way(about.metric) == "minimize" else -1.0
    best = min(found, key=lambda s: sign * s.value[-1], default=None)
    names = {r.id: r.name for r in about.runs}
    states = Counter(r.state for r in about.runs)
    others = ", ".join(f"{n} {state}" for state, n in states.most_common() if state != "succeeded")
    return words.figures([
        words.Figure("Spent", amounts.usd(spent), "actual, all attempts", money=True),
        words.Figure("Useful", amounts.share(useful, spent), amounts.usd(useful)),
        words.Figure(f"Best {about.metric}".strip(), amounts.value(best.value[-1] if best else None),
                     names[best.run_id] if best else "nothing measured yet"),
        words.Figure("Succeeded", f"{states['succeeded']} of {len(about.runs)}", others or "all succeeded"),
    ])  # fmt: skip


def _map(about: Subject) -> str:
    points = of_runs(about.compared, queries.series(about.db, [r.id for r in about.compared], about.metric))
    if not points:
        return words.empty("No quality yet", "The first evaluation of a run puts it here.")
    data = frames.of_points(points, about.metric, {r.id: r.state for r in about.compared})
    better = way(about.metric)
    return chart(
        lambda colours: quality_per_dollar(points, about.metric, better, colours),
        takeaways.of_points(points, about.metric, better), data, "quality-per-dollar", ["useful dollars"],
    )  # fmt: skip


def _ranking(about: Subject) -> str:
    newest = {(r.experiment, r.seed): r for r in about.compared if r.kind == "experiment"}
    finished = {r.experiment for r in newest.values() if r.state == "succeeded"}
    if len(finished) < 2 or about.metric not in DIRECTIONS:
        return ""
    ranking = standings(about.db, list(newest.values()), about.metric)
    rows = [
        [
            f"<span class='mono'>{p.place}</span>", experiment(p.run_ids[0], p.experiment),
            f"{amounts.value(p.value)} ± {p.se:.2g}", words.money(amounts.usd(p.usd)), str(p.seeds),
            words.escape(", ".join(p.tied_with)) or amounts.DASH,
        ]
        for p in ranking.places
    ]  # fmt: skip
    columns = ["Place", "Experiment", about.metric, "At", "Seeds", "Tied with"]
    noise = f"What counts as noise: {NOISE_IN_WORDS[ranking.noise]}."
    said = words.takeaway(takeaways.of_ranking(ranking))
    return f"<h3>Ranking at equal dollars</h3>{said}{words.table(columns, rows, noise, numeric=(2, 3, 4))}"


def _runs(about: Subject) -> str:
    ids = [r.id for r in about.runs]
    last = queries.last_values(about.db, ids, [about.metric]) if about.metric else {}
    data = pd.DataFrame([
        {"run": f"{mark(r.id)} #{r.id} {r.name}", "state": state_words(r.state), "kind": r.kind,
         about.metric or "quality": last.get(r.id, {}).get(about.metric), "spent": r.spent_usd,
         "planned": r.planned_usd, "steps": f"{r.step:,} / {r.n_steps:,}"}
        for r in reversed(about.runs)
    ])  # fmt: skip
    return f"<h3>Runs</h3>{table(data, 'The newest first.', ['spent', 'planned'])}{csv(data, 'runs')}"


def _drawn(about: Subject) -> list[Run]:
    """The runs whose curves are compared: the newest that have begun."""
    return [r for r in about.compared if r.attempts][-CURVES_AT_MOST:]


def _curves(about: Subject, metric: str) -> str:
    names = {r.id: r.name for r in _drawn(about)}
    series = [s for s in queries.series(about.db, list(names), metric) if s.value]
    if not series:
        return ""
    said = takeaways.of_curves(series, names, metric, DIRECTIONS.get(metric), "dollars")
    data, name = frames.of_curves(series, names, metric), f"curves-{metric.replace('/', '-')}"
    key = legend([(s.run_id, names[s.run_id]) for s in series])
    if all(len(s.value) == 1 for s in series):  # points are no curves
        return words.takeaway(said) + key + details(data, name, ["dollars"])
    return chart(lambda colours: overlay(series, names, metric, colours), said, data, name, ["dollars"], key)


def _seeds(about: Subject) -> str:
    """The seeds of each experiment as a band, where one has two."""
    runs = [r for r in _drawn(about) if r.kind == "experiment"]
    others = {r.id for r in on_other_data(runs)} if about.metric.startswith(LOSSES) else set()
    by_id = {r.id: r for r in runs if r.id not in others}
    drawn = [s for s in queries.series(about.db, list(by_id), about.metric) if s.value]
    lines = [Curve(by_id[s.run_id].experiment, by_id[s.run_id].seed, s) for s in drawn]
    found = bands(lines)
    if not found:
        return ""
    odds = rank(lines, about.metric).odds if about.metric in DIRECTIONS else ()
    said = takeaways.of_odds(odds) if odds else f"{about.metric} over the seeds: the mean and its standard error."
    rows = [
        {"experiment": b.experiment, "seeds": b.seeds, "dollars": usd, about.metric: mean, "standard error": se}
        for b in found for usd, mean, se in zip(b.usd, b.mean, b.se, strict=True)
    ]  # fmt: skip
    key = legend([(b.run_ids[0], f"and {b.seeds - 1} more of {b.experiment}") for b in found])
    return chart(
        lambda colours: banded(found, about.metric, colours), said, pd.DataFrame(rows), "bands", ["dollars"], key
    )


def _differences(about: Subject) -> str:
    runs = _drawn(about)
    found = differing(runs)
    if len(runs) < 2 or not found:
        return f"<h3>Only what differs</h3>{note('One run is compared.' if len(runs) < 2 else 'The specs are equal.')}"
    heads = ["field", *(who(r.id, r.name) for r in runs)]
    rows = [[f"<span class='mono'>{words.escape(p)}</span>", *(words.escape(shown(v)) for v in values)]
            for p, values in found.items()]  # fmt: skip
    rows.append(["spent", *(words.money(amounts.usd(r.spent_usd)) for r in runs)])
    made = words.table_with_heads(heads, rows, f"{len(found)} fields of the resolved specs differ.")
    return f"<h3>Only what differs</h3>{made}{csv(frames.of_differences(found, runs), 'differences')}"
