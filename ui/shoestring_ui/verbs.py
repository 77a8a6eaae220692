"""What can be done to runs, in which states, and the one door through which pages do it and say what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import streamlit as st
from shoestring import actions, queries
from shoestring.db import Database
from shoestring.errors import ShoestringError
from shoestring.records import Run

from shoestring_ui import amounts, words
from shoestring_ui.store import database, forget

SAID = "said"  # what came of the last verb, in the session
WORKER = "worker"  # the worker that is chosen on the page, in the session
SAID_S = 20.0  # how long it stands on the page
HELD = frozenset({"leased", "running", "stopping"})


@dataclass(frozen=True)
class Verb:
    """One thing to do: what it means, whether a run's state allows it, how it is done and what is said then."""

    name: str
    means: str
    allowed: Callable[[Run], bool]
    act: Callable[[Database, int], str]


def _pause(db: Database, run_id: int) -> str:
    state = actions.pause(db, run_id)
    return f"Run {run_id} is paused." if state == "paused" else f"Run {run_id} pauses after its next checkpoint."


def _resume(db: Database, run_id: int, max_usd: float | None = None) -> str:
    state = actions.resume(db, run_id, max_usd=max_usd)
    return f"Run {run_id} is queued again." if state == "queued" else f"Run {run_id} goes on: its pause is taken back."


def _retry(db: Database, run_id: int) -> str:
    made = actions.retry(db, run_id)
    new = f"[run {made.run_id}](run?run={made.run_id})"
    return f"Run {run_id} had a later run already: {new}." if made.existed else f"Run {run_id} is tried again: {new}."


def _cancel(db: Database, run_id: int) -> str:
    state = actions.cancel(db, run_id)
    return f"Run {run_id} is cancelled." if state == "cancelled" else f"Run {run_id} stops: its worker was asked to."


VERBS = {
    verb.name: verb
    for verb in (
        Verb(
            "Pause",
            "Set aside; what trains makes a checkpoint first.",
            lambda run: run.state in {"queued", "leased", "running"} and run.want == "run",
            _pause,
        ),
        Verb(
            "Resume",
            "Queue again; it goes on from its last checkpoint.",
            lambda run: run.state == "paused" or (run.state in HELD and run.want == "pause"),
            _resume,
        ),
        Verb(
            "Retry",
            "A new run of the same request; the old one stays as it is.",
            lambda run: run.state in {"failed", "cancelled"} and run.failure_class != "poisonous",
            _retry,
        ),
        Verb(
            "Cancel",
            "End for good; checkpoints stay.",
            lambda run: run.state in HELD | {"blocked", "queued", "paused"} and run.want != "cancel",
            _cancel,
        ),
    )
}


def allowed(name: str, runs: Sequence[Run]) -> list[int]:
    """Ids of those runs whose state allows the verb."""
    return [run.id for run in runs if VERBS[name].allowed(run)]


def button(name: str, run_ids: Sequence[int], key: str, label: str = "", first: bool = False) -> None:
    """A button that does the verb to these runs; without any it cannot be pressed. Cancel asks once. `first`: it is
    what the page is there for.

    It acts in a callback, before the page is drawn again: a click is not lost when the run has moved on meanwhile.
    """
    verb, ids = VERBS[name], list(run_ids)
    label = label or name
    if name != "Cancel":
        kind: Literal["primary", "secondary"] = "primary" if first else "secondary"
        st.button(label, key=key, type=kind, disabled=not ids, help=verb.means, on_click=do, args=(name, ids))
        return
    with st.popover(label, disabled=not ids, key=f"{key}-ask"):
        st.write("A cancelled run cannot be resumed. Its checkpoints stay, and a retry starts a new run.")
        sure = f"Cancel run {ids[0]} for good" if len(ids) == 1 else f"Cancel {len(ids)} runs for good"
        st.button(sure, key=key, type="primary", disabled=not ids, on_click=do, args=(name, ids))


def do(name: str, run_ids: Sequence[int]) -> None:
    """Do the verb to each run; one that refuses does not keep the others from it."""
    say(each(run_ids, VERBS[name].act))


def each(run_ids: Sequence[int], act: Callable[[Database, int], str]) -> list[tuple[bool, str]]:
    """Act on each run; what is to be said: (True, what was done), or (False, the refusal's own words), in Markdown."""
    said = []
    for run_id in run_ids:
        try:
            said.append((True, act(database(), run_id)))
        except ShoestringError as problem:
            said.append((False, words.in_markdown(f"Run {run_id}: {problem.message}. {problem.hint}")))
    return said


def say(said: Sequence[tuple[bool, str]]) -> None:
    """Keep lines (whether it went well, Markdown) for `outcomes`, and forget what pages have read."""
    st.session_state[SAID] = (time.time() + SAID_S, list(said))
    forget()


def outcomes() -> None:
    """Draw what came of the last verb, for a while."""
    until, said = st.session_state.get(SAID, (0.0, []))
    if time.time() > until:
        return
    for went_well, line in said:
        (st.success if went_well else st.error)(line)


def resume_with_cap(run_id: int, key: str) -> None:
    """Resume a run whose money is spent, with the cap that the number input `key` holds."""
    say(each([run_id], lambda db, one: _resume(db, one, float(st.session_state[key]))))


def raise_budget(run: Run, key: str) -> None:
    """Set the project's budget to what the number input `key` holds; resume the run if it was paused."""

    def act(db: Database, run_id: int) -> str:
        budget = float(st.session_state[key])
        actions.set_budget(db, run.project, budget)
        said = f"The budget of {words.in_markdown(run.project)} is \\{amounts.usd(budget)}."
        return f"{said} {_resume(db, run_id)}" if run.state == "paused" else said

    say(each([run.id], act))


def file_away(run_id: int, priority_key: str, tags_key: str) -> None:
    """Write the priority and the tags that the two inputs hold; a finished run has no priority to change."""

    def act(db: Database, one: int) -> str:
        tags = [part.strip() for part in str(st.session_state[tags_key]).split(",") if part.strip()]
        actions.tag(db, one, tags)
        if priority_key in st.session_state:
            actions.set_priority(db, one, int(st.session_state[priority_key]))
        return f"Run {one} is filed."

    say(each([run_id], act))


def drain() -> None:
    """Ask the chosen worker to take no more runs."""
    _worker(stop=False)


def stop() -> None:
    """Ask the chosen worker to take no more runs, and pause the one that it holds."""
    _worker(stop=True)


def _worker(stop: bool) -> None:
    worker_id = str(st.session_state.get(WORKER, ""))
    try:
        actions.drain_worker(database(), worker_id)
        held = next((w.run_id for w in queries.workers(database()) if w.id == worker_id), None)
        said = [(True, "The worker takes no more runs, and ends when it holds none.")]
    except ShoestringError as problem:
        return say([(False, words.in_markdown(f"{problem.message}. {problem.hint}"))])
    say(said + each([held], _pause) if stop and held is not None else said)
