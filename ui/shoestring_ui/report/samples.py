"""The report's Samples: prompts down, runs across, every place of the slider worked out beforehand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from shoestring import queries
from shoestring.records import Run, Sample, Series

from shoestring_ui import amounts, matrix, words
from shoestring_ui.pictures import first_shown, png
from shoestring_ui.report.pieces import section, who
from shoestring_ui.report.subject import Subject

RUNS_AT_MOST = 8
ROWS_AT_MOST = 16
PLACES_AT_MOST = 60  # of a slider
BYTES_AT_MOST = 6_000_000  # of all pictures in base64
RULES = ("equal dollars", "step")


def samples(about: Subject) -> str:
    """The matrix at the end, and what a slider over dollars or steps needs to show any other place."""
    lede = "The same prompts, the same seeds: what each run draws at the same dollars or step."
    found = {r.id: s for r in about.runs if r.attempts and (s := queries.samples(r))}
    with_some = [r for r in about.runs if r.id in found]
    if not with_some:
        return section("samples", "Samples", lede, words.empty("No samples yet", "Runs draw them while they train."))
    first = first_shown(with_some) if not about.chosen else [r.id for r in with_some][-RUNS_AT_MOST:]
    runs = [r for r in with_some if r.id in first]
    every, pictures, left_out = _affordable([s for r in runs for s in found[r.id]])
    if not every:
        return section("samples", "Samples", lede, words.empty("No samples here", "Their files are gone."))
    quality = queries.series(about.db, [r.id for r in runs], about.metric) if about.metric else []
    rules = {rule: _slider(runs, every, quality, rule, pictures) for rule in RULES}
    first_seen = rules[RULES[0]]
    shown = first_seen["places"][first_seen["start"]]
    data = json.dumps({"pictures": list(pictures.values()), "rules": rules}).replace("<", "\\u003c")
    note = f"<p class='note'>{words.escape(left_out)}</p>" if left_out else ""
    return section(
        "samples", "Samples", lede,
        f"<div class='samples'><p class='takeaway' aria-live='polite'>{words.escape(shown['said'])}</p>{_controls()}"
        f"{_table(runs, every, shown, list(pictures.values()))}<script type='application/json'>{data}</script></div>",
        note,
    )  # fmt: skip


def _affordable(every: Sequence[Sample]) -> tuple[list[Sample], dict[str, str], str]:
    """The pictures that there is room for, the newest first, their bytes by path, and what was left out in words."""
    rows = list(dict.fromkeys(row for _, row in matrix.sort_rows(every)))
    prompts = {prompt for prompt, _ in rows[:ROWS_AT_MOST]}
    wanted = [s for s in every if s.prompt in prompts]
    pictures: dict[str, str] = {}
    for sample in sorted(wanted, key=lambda s: -s.step):
        content = png(sample.path)
        if content and sum(map(len, pictures.values())) + len(content) <= BYTES_AT_MOST:
            pictures[sample.path] = content
    kept = [s for s in wanted if s.path in pictures]
    gone = len(every) - len(kept)
    return kept, pictures, f"{gone} of {len(every)} pictures are left out, to keep this page small." if gone else ""


def _slider(
    runs: Sequence[Run], every: Sequence[Sample], quality: Sequence[Series], rule: str, pictures: Mapping[str, str]
) -> dict[str, Any]:
    """Where the slider starts, and each place of it: what it is called, the sentence, each run's words, each cell."""
    index = {path: i for i, path in enumerate(pictures)}  # as the page keeps them
    places = matrix.places(every, rule)
    if len(places) > PLACES_AT_MOST:
        places = [places[round(i * (len(places) - 1) / (PLACES_AT_MOST - 1))] for i in range(PLACES_AT_MOST)]
    begin, found = matrix.start(runs, every, rule), []
    for at in places:
        one = matrix.build(runs, every, quality, (rule, at))
        cells = [[_cell(one, run, row, index) for run in runs] for row in one.rows]
        named = f"{at:,.0f}" if rule == "step" else amounts.usd(at)
        found.append({"at": named, "said": one.takeaway, "lanes": [_lane(lane) for lane in one.lanes], "cells": cells})
    return {"start": max((i for i, at in enumerate(places) if at <= begin), default=0), "places": found}


def _lane(lane: matrix.Lane) -> str:
    return f"{lane.metric} {amounts.value(lane.quality)}" if lane.quality is not None else ""


def _cell(one: matrix.Matrix, run: Run, row: matrix.Row, index: Mapping[str, int]) -> list[Any]:
    """[picture or −1, step, dollars, by how much it is stale]"""
    sample = one.pictures.get((run.id, row))
    if sample is None:
        return [-1, "nothing yet", "", ""]
    return [index[sample.path], f"step {sample.step:,}", amounts.usd(sample.usd), one.stale(sample)]


def _controls() -> str:
    """The slider; the script shows it, as it does nothing without one."""
    options = "".join(
        f"<label><input type='radio' name='rule' value='{rule}'{' checked' if rule == RULES[0] else ''}> {rule}</label>"
        for rule in RULES
    )
    return (
        f"<div class='controls' hidden><fieldset><legend>At</legend>{options}</fieldset>"
        "<label class='slider'><span>Useful dollars</span>"
        "<input type='range' min='0' step='1'><output class='mono'></output></label></div>"
    )


def _table(runs: Sequence[Run], every: Sequence[Sample], shown: Mapping[str, Any], pictures: Sequence[str]) -> str:
    still = matrix.build(runs, every, [], ("latest", 0.0))
    heads = "".join(
        f"<th scope='col'>{who(lane.run.id, lane.run.name)}"
        f"{''.join(f'<br>{words.escape(text)}' for text in lane.differs)}<span class='under lane'>{words.escape(said)}"
        "</span></th>"
        for lane, said in zip(still.lanes, shown["lanes"], strict=True)
    )
    body = []
    for (prompt, _), cells in zip(still.rows, shown["cells"], strict=True):
        drawn = "".join(_drawn(cell, f"{run.name}: {prompt}", pictures) for run, cell in zip(runs, cells, strict=True))
        body.append(f"<tr><th scope='row'>{words.escape(prompt)}</th>{drawn}</tr>")
    return (
        f"<div class='scroll'><table class='matrix{' roomy' if len(runs) <= 5 else ''}'><thead><tr>"
        f"<th scope='col'>Prompt</th>{heads}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _drawn(cell: Sequence[Any], alt: str, pictures: Sequence[str]) -> str:
    index, step, usd, stale = cell
    source = f"src='data:image/png;base64,{pictures[index]}'" if index >= 0 else "hidden"
    return (
        f"<td><img class='sample' alt='{words.escape(alt, quote=True)}' {source}><span class='under'>"
        f"<span class='step'>{words.escape(step)}</span> <span class='money'>{words.escape(usd)}</span></span>"
        f"<span class='under stale'>{words.escape(stale)}</span></td>"
    )
