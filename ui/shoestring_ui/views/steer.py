"""Steering a sweep: stop it, let it cost more, ask for a point, and one trial at a time: promote it, clone its run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st
from shoestring import actions, queries
from shoestring.db import Database
from shoestring.errors import ShoestringError
from shoestring.records import Run, Sweep, Trial
from shoestring.rungs import REASON
from shoestring.spec_parts import Search, searches

from shoestring_ui import amounts, verbs, words
from shoestring_ui.differences import short, shown
from shoestring_ui.points import objectives
from shoestring_ui.store import database
from shoestring_ui.theme import palette
from shoestring_ui.widgets import section

MAX_USD = 1e9
TRIAL, BOX = "trial", "steer-trial"  # in the address; the widget


def steer(sweep: Sweep, trials: Sequence[Trial], runs: dict[int, Run]) -> None:
    """What can be done to the sweep, each behind one button that says what it does."""
    section("Steer", "Its process looks between trials; where none runs, the next sweep run takes it up.")
    with st.container(horizontal=True, gap="small"):
        with st.popover("Stop", disabled=sweep.state != "running", key=f"stop-{sweep.id}-ask"):
            st.write("It proposes no further trial. Those in flight train to their end; run again, it goes on.")
            st.button(f"Stop sweep {sweep.name}", key=f"stop-{sweep.id}", type="primary", on_click=_stop, args=[sweep])
        with st.popover("Extend the cap", key=f"cap-{sweep.id}-ask"):
            _cap(sweep)
        search = searches(sweep.spec)
        with st.popover("Ask for a point", disabled=not search, key=f"point-{sweep.id}-ask"):
            _point(sweep, trials, search)
    if trials:
        _trial(sweep, trials, runs)


def _cap(sweep: Sweep) -> None:
    st.write("What all its trials may cost together, until the `budget` in the file is changed.")
    key, now = f"cap-{sweep.id}-usd", sweep.max_usd or sweep.spent_usd
    places = "%.6f" if now < 0.05 else "%.4f"
    st.number_input("Dollars", 0.0, MAX_USD, value=2 * now, format=places, step=None, key=key)
    st.button("Set the cap", key=f"cap-{sweep.id}", type="primary", on_click=_set_cap, args=[sweep, key])


def _point(sweep: Sweep, trials: Sequence[Trial], search: dict[str, Search]) -> None:
    st.write("It is tried before all proposals, and counts beside the trials that the file asks for.")
    best = _best(sweep, trials)
    for path, one in search.items():
        _field(sweep, path, one, [t.params[path] for t in trials if path in t.params], best.params if best else {})
    st.button("Ask for it", key=f"point-{sweep.id}", type="primary", on_click=_ask, args=[sweep, list(search)])


def _field(sweep: Sweep, path: str, one: Search, tried: Sequence[Any], best: dict[str, Any]) -> None:
    """One searched field, at the best trial's value."""
    key, start = f"point-{sweep.id}-{path}", best.get(path)
    if one.choices is not None:
        choices = list(one.choices)
        index = choices.index(start) if start in choices else 0
        st.selectbox(path, choices, index=index, format_func=shown, key=key)
        return
    low, high = one.ends
    whole = all(isinstance(value, int) for value in (low, high, *tried))
    start = start if isinstance(start, int | float) and low <= start <= high else low
    number = int if whole else float
    step = number(one.step) if one.step else number(1) if whole else None
    st.number_input(
        path, number(low), number(high), value=number(start), step=step, format=None if whole else "%.6g", key=key,
        help=one.words,
    )  # fmt: skip


def _trial(sweep: Sweep, trials: Sequence[Trial], runs: dict[int, Run]) -> None:
    """The trial that the address names, else the best: what it is, and what can be done with it."""
    by_number, best = {t.number: t for t in trials}, _best(sweep, trials)
    known = {str(n): n for n in by_number}
    number = known.get(st.query_params.get(TRIAL, ""), best.number if best else trials[-1].number)
    st.session_state[BOX] = number  # the address is the truth
    st.selectbox(
        "Trial", sorted(by_number), format_func=lambda n: _named(by_number[n]), key=BOX, width=420,
        on_change=lambda: st.query_params.update({TRIAL: str(st.session_state[BOX])}),
    )  # fmt: skip
    trial = by_number[number]
    run = runs.get(trial.run_id or 0)
    found = ", ".join(_value(name, v) for (_, name, _), v in zip(objectives(sweep), trial.values, strict=False))
    fields = ", ".join(f"{short(path)} {shown(value)}" for path, value in trial.params.items())
    st.html(
        f"<div class='card'><h2>Trial {number}</h2>"
        f"<p>{words.state(trial.state)}{' · ' if found else ''}{found} · {words.escape(fields)}</p>"
        f"{_of_run(run, best, number) if run else '<p>It has no run yet.</p>'}</div>"
    )
    if run and run.state == "paused" and run.reason == REASON:
        st.button(
            "Promote", key=f"promote-{run.id}", on_click=_promote, args=[number, run.id],
            help="It waits at a rung: let it go on to the next, whatever the others come to.",
        )  # fmt: skip


def _of_run(run: Run, best: Trial | None, number: int) -> str:
    other = f",{best.run_id}" if best and best.run_id and best.number != number else ""
    places = (
        ("Clone", f"new?from={run.id}"),
        ("Compare with the best", f"compare?runs={run.id}{other}" if other else ""),
    )
    links = " ".join(f"<a href='{address}' target='_self'>{name}</a>" for name, address in places if address)
    spent = words.money(amounts.usd(run.spent_usd))
    return (
        f"<p>{words.who(run.id, run.name, palette())}, {words.state(run.state)}, {spent} spent</p>"
        f"<p class='links'>{links}</p>"
    )


def _value(name: str, value: float) -> str:
    if name == "cost/usd":
        return words.money(amounts.usd(value))
    return f"{words.escape(name)} {amounts.value(value)}"


def _named(trial: Trial) -> str:
    fields = ", ".join(f"{short(path)} {shown(value)}" for path, value in trial.params.items())
    return f"{trial.number}: {fields}"


def _best(sweep: Sweep, trials: Sequence[Trial]) -> Trial | None:
    """The finished trial with the best first objective; of equals, the first."""
    goals, done = objectives(sweep), [t for t in trials if t.values]
    sign = -1.0 if goals and goals[0][2] == "maximize" else 1.0
    return min(done, key=lambda t: (sign * t.values[0], t.number), default=None)


# ── callbacks: they act before the page is drawn again ───────────────────────────────────────────


def _stop(sweep: Sweep) -> None:
    def act(db: Database) -> str:
        actions.stop_sweep(db, sweep.id)
        return f"Sweep {sweep.name} is stopped; what is in flight trains to its end."

    _do(act)


def _set_cap(sweep: Sweep, key: str) -> None:
    def act(db: Database) -> str:
        now = actions.set_sweep_cap(db, sweep.id, float(st.session_state[key]))
        said = f"Sweep {sweep.name} may cost \\{amounts.usd(now.max_usd)}."
        return said if now.state == "running" else f"{said} It is {now.state}: `shoestring sweep run FILE {sweep.name}`"

    _do(act)


def _ask(sweep: Sweep, paths: Sequence[str]) -> None:
    def act(db: Database) -> str:
        actions.ask_point(db, sweep.id, {path: st.session_state[f"point-{sweep.id}-{path}"] for path in paths})
        if sweep.state == "running":
            return "The point is tried next."
        return f"The point is tried when the sweep goes on: `shoestring sweep run FILE {sweep.name}`"

    _do(act)


def _promote(number: int, run_id: int) -> None:
    def act(db: Database) -> str:
        passed = queries.promotions(db, [run_id]).get(run_id, 0)
        done = actions.promote(db, run_id, passed)
        return (
            f"Trial {number} goes on to its next rung." if done else f"Trial {number} waits no more: nothing was done."
        )

    _do(act)


def _do(act: Callable[[Database], str]) -> None:
    try:
        verbs.say([(True, act(database()))])
    except ShoestringError as problem:
        verbs.say([(False, words.in_markdown(f"{problem.message}. {problem.hint}"))])
