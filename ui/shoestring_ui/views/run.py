"""Run: one run, all of it. Its failure first, dollars against plan and cap, then a tab for each question."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import streamlit as st
from shoestring import queries
from shoestring.records import DRAWING, Run

from shoestring_ui import amounts, words
from shoestring_ui.curve_charts import X_AXES
from shoestring_ui.identity import state_words
from shoestring_ui.pace import live
from shoestring_ui.points import metric_order
from shoestring_ui.store import ask, recent
from shoestring_ui.theme import palette
from shoestring_ui.thumbnails import image
from shoestring_ui.views import logs, run_actions, run_parts
from shoestring_ui.views.compare import curve_controls, curves
from shoestring_ui.widgets import ACTIVE, WAITING, download, grid, head, pick_run, submit_first

TABS = ("Charts", "Samples", "System", "Log", "Spec", "Stages", "Cost by attempt", "Checkpoints", "Events")


def page() -> None:
    """Draw one run; the address says which, and which tab."""
    runs = recent()
    if not runs:
        head("Run", "One run: its state, its dollars, its curves, its pictures, its log.")
        submit_first("no run to look at")
        return
    picker, place = st.container(), st.container()
    with picker:
        run_id = pick_run(runs).id
    run = ask(queries.run, run_id)
    moving = run.state in ACTIVE | WAITING
    with place:
        live(lambda: _top(ask(queries.run, run_id)), moving)
    tabs = st.tabs(TABS, key="tab", bind="query-params")
    bodies = (
        *(_charts, _samples, _system, logs.tail, run_parts.spec, run_parts.stages),
        *(_attempts, _checkpoints, _events),
    )
    for tab, draw in zip(tabs, bodies, strict=True):
        if tab.open:
            with tab:
                draw(run)


def _top(run: Run) -> None:
    st.html(
        f"<h1>{words.escape(run.name)}</h1><p class='lede'>{words.state(run.state)} {words.prose(_reason(run))}</p>"
    )
    if run.state == "failed":
        st.html(_failure(run))
    run_actions.actions(run)
    st.html(words.figures(_figures(run)))
    st.html(words.bar(run.spent_usd, run.planned_usd, run.max_usd))
    st.html(words.facts(_facts(run)))
    if run.unreadable:
        st.warning(f"What is stored of it cannot be read, so it is not shown: {run.unreadable}.")
    if run.inexact:
        st.warning(f"It resumed inexactly, so its numbers may differ from an uninterrupted run's: {run.inexact}.")
    for one in ask(queries.speed_ups, run.id):
        st.html(f"<p class='note'>Mask {words.escape(one.words())}.</p>")


def _reason(run: Run) -> str:
    if run.state in WAITING:
        return f"· {ask(queries.why_waiting, run)}"
    if run.want != "run" and run.state in ACTIVE:
        return f"· {run.want} asked for"
    return f"· {run.reason}" if run.reason and run.state not in ("succeeded", "failed") else ""


def _failure(run: Run) -> str:
    """Class, last lines, what was lost, what to do: before anything else."""
    last = logs.last_lines(run, 12) or run.failure_detail
    kept = f"The checkpoint of step {run.checkpoint_step:,} is kept. " if run.checkpoint_step else ""
    return (
        f"<div class='card failure'><h2>✕ {words.escape(run.failure_class or 'failed')}</h2>"
        f"<p>{words.escape(run.failure_detail or 'The trainer ended without saying why.')}</p>"
        f"<pre>{words.escape(last)}</pre>"
        f"<p>It cost {words.money(amounts.usd(run.spent_usd))} and stopped at step {run.step:,} of {run.n_steps:,}. "
        f"{kept}{_what_now(run)}</div>"
    )


def _what_now(run: Run) -> str:
    if run.failure_class == "poisonous":
        return "What is stored of it cannot be trained, so submit its experiment once more.</p>"
    return f"Put right what the log says, then press Retry below, or:</p><pre>shoestring retry {run.id}</pre>"


def _figures(run: Run) -> list[words.Figure]:
    cap = f"cap {amounts.usd(run.max_usd)}" if run.max_usd else "no cap"
    forecast = run.plan.get("usd", {})
    spread = f"{amounts.usd(forecast['p10'])} to {amounts.usd(forecast['p90'])}" if "p90" in forecast else ""
    last = ask(queries.last_values, [run.id], ["val/loss", "train/loss", "perf/images_per_s"]).get(run.id, {})
    key = "val/loss" if "val/loss" in last else "train/loss"
    off = f"{100 * (run.spent_usd / run.planned_usd - 1):+.0f} % against the plan" if run.planned_usd else ""
    return [
        words.Figure("Spent", amounts.usd(run.spent_usd), off if run.state == "succeeded" else cap, money=True),
        words.Figure("Planned", amounts.usd(run.planned_usd), spread, money=True),
        words.Figure("Step", f"{run.step:,}", f"of {run.n_steps:,}, {amounts.share(run.step, run.n_steps)}"),
        words.Figure(key, amounts.value(last.get(key)), "last"),
        words.Figure("Images/s", amounts.value(last.get("perf/images_per_s")), "last"),
        words.Figure("Time", _took(run), f"{run.attempts} {'attempt' if run.attempts == 1 else 'attempts'}"),
    ]


def _took(run: Run) -> str:
    price = run.config.get("price", {}).get("usd_per_hour") or 0.0
    return amounts.span(3600 * run.spent_usd / price) if price else "–"


def _facts(run: Run) -> list[tuple[str, str]]:
    made, price, data = run.provenance, run.config.get("price", {}), run.config.get("data", {})
    commit = str(made.get("git_commit", ""))[:10] + (" + patch" if made.get("git_dirty") else "")
    rate = f"{amounts.usd(price['usd_per_hour'])}/h" if "usd_per_hour" in price else ""
    parent = f"<a href='run?run={run.parent_id}' target='_self'>#{run.parent_id}</a>" if run.parent_id else ""
    pairs = [
        ("Run", f"{words.swatch(run.id, palette())} #{run.id}, {words.escape(run.kind)}"),
        ("Experiment", f"{words.escape(run.experiment)}, seed {run.seed}"),
        (_relation(run), parent),
        ("Price", words.money(rate) + f" {words.escape(str(price.get('hardware', '')))}" if rate else ""),
        ("Parameters", amounts.count(run.plan.get("parameters"))),
        ("FLOPs", amounts.count(run.plan.get("flop"))),
        ("Data", words.escape(f"{data.get('name', '')} {str(data.get('digest', ''))[:10]}".strip())),
        ("Engine", words.escape(run.job)),
        ("Spec", words.escape(run.spec_hash[:10])),
        ("Git", words.escape(commit.strip())),
        ("Packages", words.escape(str(made.get("lock_hash", ""))[:10])),
        ("Tags", words.escape(", ".join(run.tags))),
    ]
    return [(k, v) for k, v in pairs if v and v != "–"]


def _charts(run: Run) -> None:
    metrics = metric_order(ask(queries.metric_keys, [run.id]))
    if not metrics:
        st.html(words.empty("Nothing recorded yet", "Points appear while the run trains.", "shoestring work"))
        return
    metric, x, smoothing, log = curve_controls(metrics)
    live(lambda: curves([_told(run)], metric, x, smoothing, log), run.state in ACTIVE)


def _told(run: Run) -> Run:
    """The run without the remark that stands at the top of this page already."""
    return replace(run, inexact="")


def _relation(run: Run) -> str:
    """What the run is to its parent."""
    if run.kind == DRAWING:
        return "Draws from"
    return "Continues" if run.config.get("start") else "Tries again"


def _system(run: Run) -> None:
    """What the machine did: every metric under `system/` and `perf/`."""
    metrics = [key for key in ask(queries.metric_keys, [run.id]) if key.startswith(("system/", "perf/"))]
    if not metrics:
        st.html(words.empty("Nothing recorded yet", "Speed and memory appear while the run trains.", "shoestring work"))
        return
    x = st.segmented_control("Over", list(X_AXES), default="dollars", required=True, key="x", bind="query-params")

    def body() -> None:
        for start in range(0, len(metrics), 2):
            for column, metric in zip(st.columns(2), metrics[start : start + 2], strict=False):
                with column:
                    curves([_told(run)], metric, x or "dollars", 0.0, False)

    live(body, run.state in ACTIVE)


def _samples(run: Run) -> None:
    samples = queries.samples(run)
    if not samples:
        st.html(words.empty("No samples yet", "The run draws a seeded grid as it trains, if its spec asks for it."))
        return
    steps = sorted({s.step for s in samples})
    if len(steps) > 6:
        steps = sorted({steps[round(i * (len(steps) - 1) / 5)] for i in range(6)})
    by_place = {(s.step, s.prompt): s for s in samples}
    prompts = list(dict.fromkeys(s.prompt for s in samples))
    usd = {s.step: s.usd for s in samples}
    heads = "".join(f"<th scope='col'>step {step:,}<br>{words.money(amounts.usd(usd[step]))}</th>" for step in steps)
    rows = []
    for prompt in prompts:
        found = [by_place.get((step, prompt)) for step in steps]
        cells = "".join(
            f"<td>{image(s.path, words.escape(f'step {s.step}: {prompt}', quote=True)) if s else ''}</td>"
            for s in found
        )
        rows.append(f"<tr><th scope='row'>{words.escape(prompt)}</th>{cells}</tr>")
    st.html(
        f"<div class='scroll'><table class='matrix roomy'><thead><tr><th scope='col'>Prompt</th>{heads}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _attempts(run: Run) -> None:
    rows = [
        {
            "attempt": a.token, "outcome": state_words(a.outcome), "steps": f"{a.first_step:,} to {a.last_step:,}",
            "took": amounts.span((a.ended_at or a.started_at) - a.started_at) if a.ended_at else "still runs",
            "cost": a.usd, "class": a.failure_class, "detail": a.detail, "worker": a.worker.split(":")[0],
        }
        for a in ask(queries.attempts, run.id)
    ]  # fmt: skip
    _grid_or_empty(rows, "attempts", "No attempt yet", money=("cost",))


def _checkpoints(run: Run) -> None:
    rows = [
        {"step": c.step, "attempt": c.token, "state": c.state, "size": amounts.size(c.bytes),
         "at": pd.Timestamp(c.created_at, unit="s").strftime("%Y-%m-%d %H:%M:%S"), "folder": c.path}
        for c in ask(queries.checkpoints, run.id)
    ]  # fmt: skip
    _grid_or_empty(rows, "checkpoints", "No checkpoint yet")


def _events(run: Run) -> None:
    rows = [
        {"at": pd.Timestamp(e.at, unit="s").strftime("%Y-%m-%d %H:%M:%S"), "event": e.kind, "attempt": e.token,
         "detail": ", ".join(f"{k} {v}" for k, v in e.detail.items())}
        for e in ask(queries.events, run.id)
    ]  # fmt: skip
    _grid_or_empty(rows, "events", "No event yet")


def _grid_or_empty(rows: list[dict[str, object]], name: str, title: str, money: tuple[str, ...] = ()) -> None:
    if not rows:
        st.html(words.empty(title, "It comes once a worker has taken the run.", "shoestring work"))
        return
    data = pd.DataFrame(rows)
    grid(data, name, money)
    download(data, name)
