"""Queue: what will run next and why the rest waits; what the workers do; cancel, pause, resume, retry, drain."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import pandas as pd
import streamlit as st
from shoestring import queries
from shoestring.records import Line, Run, Worker

from shoestring_ui import amounts, verbs, words
from shoestring_ui.identity import mark, state_words
from shoestring_ui.pace import live
from shoestring_ui.store import ask, recent
from shoestring_ui.theme import palette
from shoestring_ui.widgets import ACTIVE, WAITING, grid, head, section, submit_first
from shoestring_ui.words import Figure

LINE_SHOWN = 200
ENDED_SHOWN = 8
MONEY = ("forecast", "p90", "spent")
SILENT_S = 60.0  # a worker that has not beaten for one lease


def page() -> None:
    """Draw the queue, every few seconds again."""
    head("Queue and workers", "In the order in which workers will take the runs, and why each one waits.")
    if not ask(queries.runs, limit=1):
        submit_first("nothing to wait for")
        return
    live(_body, moving=True, parts=3)  # one looks at it to see what happens


def _body() -> None:
    verbs.outcomes()
    line, workers = ask(queries.line, LINE_SHOWN), ask(queries.workers)
    ended = sorted(
        (r for r in recent(drawings=True) if r.state not in ACTIVE | WAITING), key=lambda r: -(r.ended_at or 0)
    )
    st.html(words.figures(_figures(line, workers)))
    if line.first:
        behind = line.n_active + line.n_waiting - len(line.first)
        more = f" {behind:,} more wait behind these." if behind else ""
        section("Running and waiting", "Choose rows, then act on them." + more)
        chosen = _table(line.first, "queue")
        _act(chosen, ("Pause", "Resume", "Cancel"))
    else:
        said = "Every run has ended. Write another under New run, or:"
        st.html(words.empty("The queue is empty", said, "shoestring submit experiments.yaml"))
    section("Workers")
    _workers(workers, {r.id: r for r in line.first})
    if ended:
        section("Ended last")
        chosen = _table(ended[:ENDED_SHOWN], "ended")
        _act(chosen, ("Retry",))


def _figures(line: Line, workers: Sequence[Worker]) -> list[Figure]:
    ahead = line.ahead_usd
    alive = [w for w in workers if w.state != "gone" and time.time() - w.beat_at <= SILENT_S]
    rate = sum(w.usd_per_hour for w in alive)
    return [
        Figure("Running", f"{line.n_active:,}"),
        Figure("Waiting", f"{line.n_waiting:,}"),
        Figure("Still planned", amounts.usd(ahead), "running and waiting", money=True),
        Figure("Workers", str(len(alive)), "alive" if alive else "shoestring work"),
        Figure("Burning", f"{amounts.usd(rate)}/h", "all workers", money=True),
        Figure(
            "Done in about",
            amounts.span(3600 * ahead / rate) if rate and ahead else "–",
            "at this rate" if rate else "",
        ),
    ]


def _why(run: Run, waits: Mapping[int, str]) -> str:
    if run.state in WAITING:
        return waits[run.id].replace("`", "")
    if run.state in ACTIVE:
        asked = f"{run.want} asked for" if run.want != "run" else ""
        return asked or f"step {run.step:,} of {run.n_steps:,}"
    return run.failure_class or run.reason


def _table(runs: Sequence[Run], name: str) -> list[Run]:
    """The rows as a table that can be chosen from; return what is chosen."""
    now, waits = time.time(), ask(queries.why_each, [r for r in runs if r.state in WAITING])
    data = pd.DataFrame([_row(r, waits, now) for r in runs])
    data = data if name == "queue" else data.drop(columns=["priority", "needs"])
    config = {
        "": st.column_config.TextColumn(width=32),
        "page": st.column_config.LinkColumn("#", display_text=r"run=(\d+)", width=48),
        "run": st.column_config.TextColumn(width=160),
        "why": st.column_config.TextColumn("why waiting" if name == "queue" else "reason", width=264),
        "needs": st.column_config.TextColumn(width=136),
        "attempt": st.column_config.TextColumn(width=96),
        "age": st.column_config.TextColumn("age" if name == "queue" else "ended", width=104),
    }
    rows = hash(tuple(r.id for r in runs))  # a choice is of rows, so it is forgotten when they are other runs
    event = grid(data, f"{name}-{rows}", MONEY, config, on_select="rerun", selection_mode="multi-row")
    return [runs[i] for i in event.selection.rows if i < len(runs)]


def _row(run: Run, waits: Mapping[int, str], now: float) -> dict[str, object]:
    """A run as a line of the table; `forecast` is the plan's middle, `p90` its 90th percentile."""
    ended = run.ended_at is not None
    return {
        "": mark(run.id),
        "page": f"run?run={run.id}",
        "run": run.name,
        "state": state_words(run.state),
        "priority": run.priority,
        "needs": _needs(run),
        "why": _why(run, waits),
        "attempt": f"{run.attempts:,}{_next_retry(run, now)}",
        "forecast": run.planned_usd,
        "p90": run.plan.get("usd", {}).get("p90"),
        "spent": run.spent_usd,
        "age": amounts.span(now - (run.ended_at or run.created_at)) + (" ago" if ended else ""),
    }


def _needs(run: Run) -> str:
    """Hardware, devices and forecast memory: `l40s, 2 × cuda, 3.1 GB`; the least that it asks for, where it does."""
    compute, price = run.config.get("compute", {}), run.config.get("price", {})
    n, device = compute.get("processes", 1), compute.get("device", "")
    forecast = run.plan.get("forecast")
    peak = forecast.get("memory_bytes") if isinstance(forecast, dict) else None
    n_bytes = peak.get("p50") if isinstance(peak, dict) else None
    memory = amounts.size(n_bytes) if isinstance(n_bytes, int | float) else ""
    devices = f"{n} × {device}" if device and n != 1 else device
    asks = run.cpus > 1 or run.memory_gb or run.gpu_memory_gb
    queue = f"queue {run.queue}" if run.queue != "default" else ""
    where = (queue, price.get("hardware", ""))
    parts = (run.needs, *where) if asks else (*where, devices, memory)
    return ", ".join(str(part) for part in parts if part)


def _next_retry(run: Run, now: float) -> str:
    """When a run that has failed before may be taken again: `, next in 8 s`; nothing for a first attempt."""
    if run.state != "queued" or not run.attempts:
        return ""
    return f", next in {amounts.span(run.run_after - now)}" if run.run_after > now else ", next now"


def _act(chosen: Sequence[Run], names: Sequence[str]) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        for name in names:
            ids = verbs.allowed(name, chosen)
            verbs.button(name, ids, key=f"act-{name}", label=f"{name} {len(ids)}" if ids else name)


def _workers(workers: Sequence[Worker], runs: dict[int, Run]) -> None:
    alive = [w for w in workers if w.state != "gone"]
    if not alive:
        st.html(words.empty("No worker is alive", "A worker takes runs and trains them.", "shoestring work"))
        return
    now, colours = time.time(), palette()
    rows = []
    for w in alive:
        run = runs.get(w.run_id or 0)
        silent = now - w.beat_at > SILENT_S
        beat = f"{amounts.span(now - w.beat_at)} ago"
        rows.append(
            [
                f"<span class='mono'>{words.escape(w.host)}:{w.pid}</span>",
                words.state(w.state),
                words.who(run.id, run.name, colours) if run else "–",
                words.escape(w.hardware),
                words.money(f"{amounts.usd(w.usd_per_hour)}/h"),
                f"<span class='state bad'>✕ silent {beat}</span>" if silent else beat,
            ]
        )
    heads = ["Worker", "State", "Run", "Hardware", "Price", "Last beat"]
    st.html(words.table(heads, rows, "A worker that is silent for longer than its lease loses its run.", (4,)))
    busy = [w for w in alive if w.state in ("working", "idle")]
    if busy:
        with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
            ids = [w.id for w in busy]
            names = {w.id: f"{w.host}:{w.pid}" for w in busy}
            st.selectbox("Worker", ids, format_func=names.__getitem__, key=verbs.WORKER, width=176)
            st.button("Drain", key="drain", help="It ends after its current run.", on_click=verbs.drain)
            means = "It takes no more runs, and the run that it holds is paused after a checkpoint."
            st.button("Stop", key="stop", help=means, on_click=verbs.stop)
