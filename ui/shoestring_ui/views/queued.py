"""Queue: what will run next and why the rest waits; what the workers do; cancel, pause, resume, retry, drain."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import pandas as pd
import streamlit as st
from shoestring import actions, queries
from shoestring.db import Database
from shoestring.errors import ShoestringError
from shoestring.records import Line, Run, Worker

from shoestring_ui import amounts, words
from shoestring_ui.identity import label, mark, state_words
from shoestring_ui.store import ask, database, forget, recent
from shoestring_ui.theme import palette
from shoestring_ui.widgets import ACTIVE, WAITING, grid, head, live, section, submit_first
from shoestring_ui.words import Figure

LINE_SHOWN = 200
ENDED_SHOWN = 8
SILENT_S = 60.0  # a worker that has not beaten for one lease
CAN: dict[str, tuple[Callable[[Database, int], object], frozenset[str]]] = {
    "Pause": (actions.pause, frozenset({"queued", "leased", "running"})),
    "Resume": (actions.resume, frozenset({"paused"})),
    "Retry": (actions.retry, frozenset({"failed", "cancelled"})),
    "Cancel": (actions.cancel, ACTIVE | WAITING),
}


def page() -> None:
    """Draw the queue, every few seconds again."""
    head("Queue and workers", "In the order in which workers will take the runs, and why each one waits.")
    if not ask(queries.runs, limit=1):
        submit_first("nothing to wait for")
        return
    live(_body, moving=True)


def _body() -> None:
    line, workers = ask(queries.line, LINE_SHOWN), ask(queries.workers)
    ended = sorted((r for r in recent() if r.state not in ACTIVE | WAITING), key=lambda r: -(r.ended_at or 0))
    st.html(words.figures(_figures(line, workers)))
    if line.first:
        behind = line.n_active + line.n_waiting - len(line.first)
        more = f" {behind:,} more wait behind these." if behind else ""
        section("Running and waiting", "Choose rows, then act on them." + more)
        chosen = _table(line.first, "queue")
        _act(chosen, ("Pause", "Resume", "Cancel"))
    else:
        st.html(words.empty("The queue is empty", "Every run has ended.", "shoestring submit experiments.yaml"))
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


def _why(run: Run) -> str:
    if run.state in WAITING:
        return ask(queries.why_waiting, run).replace("`", "")
    if run.state in ACTIVE:
        asked = f"{run.want} asked for" if run.want != "run" else ""
        return asked or f"step {run.step:,} of {run.n_steps:,}"
    return run.failure_class or run.reason


def _table(runs: Sequence[Run], name: str) -> list[Run]:
    """The rows as a table that can be chosen from; return what is chosen."""
    now = time.time()
    data = pd.DataFrame(
        [
            {
                "": mark(r.id),
                "page": f"run?run={r.id}",
                "run": r.name,
                "state": state_words(r.state),
                "why": _why(r),
                "priority": r.priority,
                "attempts": r.attempts,
                "planned": r.planned_usd,
                "spent": r.spent_usd,
                "since": amounts.span(now - (r.ended_at or r.created_at)) + " ago",
            }
            for r in runs
        ]
    )
    config = {
        "": st.column_config.TextColumn(width=32),
        "page": st.column_config.LinkColumn("#", display_text=r"run=(\d+)", width=48),
        "run": st.column_config.TextColumn(width="medium"),
        "why": st.column_config.TextColumn("why waiting" if name == "queue" else "reason", width="large"),
        "since": st.column_config.TextColumn("submitted" if name == "queue" else "ended"),
    }
    rows = hash(tuple(r.id for r in runs))  # a choice is of rows, so it is forgotten when they are other runs
    event = grid(data, f"{name}-{rows}", ["planned", "spent"], config, on_select="rerun", selection_mode="multi-row")
    return [runs[i] for i in event.selection.rows if i < len(runs)]


def _act(chosen: Sequence[Run], verbs: Sequence[str]) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        for verb in verbs:
            can = [r for r in chosen if r.state in CAN[verb][1]]
            text = f"{verb} {len(can)}" if can else verb
            if st.button(text, disabled=not can, key=f"act-{verb}"):
                if verb == "Cancel":
                    _confirm([r.id for r in can], [label(r) for r in can])
                else:
                    _do(verb, [r.id for r in can])


@st.dialog("Cancel for good?")
def _confirm(run_ids: list[int], names: list[str]) -> None:
    st.write("A cancelled run cannot be resumed; its checkpoints stay, and `shoestring retry` starts a new one.")
    st.text("\n".join(names))
    if st.button(f"Cancel {len(run_ids)} {'run' if len(run_ids) == 1 else 'runs'}", type="primary", key="confirm"):
        _do("Cancel", run_ids)


def _do(verb: str, run_ids: Sequence[int]) -> None:
    for run_id in run_ids:
        try:
            CAN[verb][0](database(), run_id)
            st.toast(f"{verb}: run {run_id}")
        except ShoestringError as problem:
            st.toast(f"Run {run_id}: {problem.message}. {problem.hint}")
    forget()
    st.rerun()


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
            chosen = st.selectbox("Worker", ids, format_func=names.__getitem__, key="worker", width=240)
            if st.button("Drain", key="drain", help="It ends after its current run."):
                _drain(chosen)


def _drain(worker_id: str) -> None:
    try:
        actions.drain_worker(database(), worker_id)
        st.toast("It takes no more runs.")
    except ShoestringError as problem:
        st.toast(f"{problem.message}. {problem.hint}")
    forget()
    st.rerun()
