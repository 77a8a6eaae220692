"""New run: write a spec, see each mistake where it stands, see what it will cost, then put it into the queue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import streamlit as st
from shoestring import queries
from shoestring.actions import Submitted
from shoestring.errors import Fault, ShoestringError, SpecInvalid
from shoestring.home import Home
from shoestring.intake import submit_file
from shoestring.plan import FilePlan, plan_text
from shoestring.prices import read_prices
from shoestring.provenance import code_digest
from shoestring.records import Run

from shoestring_ui import amounts, drafts, priced, words
from shoestring_ui.identity import mark
from shoestring_ui.store import ask, database, forget
from shoestring_ui.widgets import download, grid, head, section

NO_FILE = "an empty page"
FRESH_S = 60  # how long a plan stands; Check makes it anew
MOST_SHOWN = 50  # runs that are there already
DONE = "new-run-done"  # the last text that was submitted and how many runs it made, in the session


def page() -> None:
    """Draw the page; the address says what the text starts from: `?file=…` or `?from=RUN`."""
    head("New run", "Write what is to be trained, see what it will cost, then put it into the queue.")
    home = Home.find()
    text = _editor(home)
    if not text.strip():
        st.html(words.empty("Nothing to plan yet", "Write a spec above; docs/spec.md says what can stand in it."))
        return
    with st.spinner("Pricing every run…"):
        answer = _priced(text, str(home.root), str(home.state))
    if answer.plan is None:
        _refused(text, answer)
    else:
        _forecast(home, text, answer.plan)


# ── the text ────────────────────────────────────────────────────────────────────────────────────


def _editor(home: Home) -> str:
    source, start = _start(home)
    text = st.text_area(
        "Spec", start, height=440, key=f"spec-{source}", persist_state="session",
        help="YAML, as in experiments.yaml. It is checked when you press Check, or Ctrl and Enter.",
    )  # fmt: skip
    if st.button("Check", key="check"):
        _priced.clear()
    return text


def _start(home: Home) -> tuple[str, str]:
    """(what the text starts from, the text); what cannot be read is said."""
    asked = st.query_params.get("from", "")
    try:
        if asked:
            run = ask(queries.find_run, asked)
            text = drafts.of_run(run)
            who = f"<a href='run?run={run.id}' target='_self'>#{run.id} {words.escape(run.name)}</a>"
            also = _otherwise(run)
            file = "Or <a href='new' target='_self'>start from a file</a>."
            st.html(f"<p class='note'>A copy of {who}: its request with every default filled in.{also} {file}</p>")
            return f"run-{run.id}", text
    except ShoestringError as problem:
        st.warning(words.in_markdown(f"{problem.message}. {problem.hint}"))
    files = drafts.spec_files(home.root)
    chosen = st.selectbox("Start from", [*files, NO_FILE], key="file", bind="query-params", width=320)
    if chosen == NO_FILE:
        return NO_FILE, drafts.START
    try:
        return f"file-{chosen}", drafts.of_file(home.root, chosen)
    except SpecInvalid as problem:
        st.warning(
            words.in_markdown(f"{chosen} cannot be shown: {problem.faults[0].message}. {problem.faults[0].hint}")
        )
    except (OSError, ShoestringError) as problem:
        st.warning(words.in_markdown(f"{chosen} cannot be read: {problem}"))
    return f"file-{chosen}", ""


def _otherwise(run: Run) -> str:
    """Why a copy that is not changed is another run all the same."""
    if run.config.get("start"):
        return " It went on from another run's checkpoint; this begins anew."
    if run.spec.get("code_digest") != code_digest():
        return " The trainer's code has changed since, so this is another run even unchanged."
    return ""


# ── what is wrong with it ───────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Priced:
    """A text's plan, or why there is none."""

    plan: FilePlan | None
    faults: tuple[Fault, ...] = ()
    problem: str = ""
    hint: str = ""


@st.cache_resource(ttl=FRESH_S, max_entries=16, show_spinner=False)
def _priced(text: str, root: str, state: str) -> Priced:
    try:
        return Priced(plan_text(text, drafts.FILE, Home(Path(root), Path(state)), described=True))
    except SpecInvalid as problem:
        return Priced(None, tuple(problem.faults))
    except ShoestringError as problem:
        return Priced(None, (), problem.message, problem.hint)


def _refused(text: str, answer: Priced) -> None:
    if answer.problem:
        st.error(words.in_markdown(f"{answer.problem}. {answer.hint}"))
        return
    n = len(answer.faults)
    section("1 mistake" if n == 1 else f"{n} mistakes", "Line and column, the field, what is wrong, what to do.")
    st.html(words.faults(answer.faults, text))


# ── what it will cost ───────────────────────────────────────────────────────────────────────────


def _forecast(home: Home, text: str, plan: FilePlan) -> None:
    if not plan.runs and not plan.sweeps:
        st.html(words.empty("No run in it", "Write at least one experiment."))
        return
    refusal, before = "", list[Submitted]()
    try:
        before = submit_file(home, database(), plan, dry_run=True)
    except ShoestringError as problem:  # above all: the budget
        refusal = f"{problem.message}. {problem.hint}"
    section("What it will cost")
    st.html(priced.price_words(plan))
    st.html(words.figures(priced.figures(plan, before, ask(queries.purses).get(plan.project))))
    for warning in (*plan.warnings, *priced.too_large(plan, read_prices(home.root))):
        st.html(f"<p class='note'>{words.prose(warning)}</p>")
    if plan.unbuilt:
        sets = ", ".join(f"data/{name}" for name in plan.unbuilt)
        st.html(f"<p class='note'>Priced as described, not built yet: {words.escape(sets)}. Build it, then submit.</p>")
    data = priced.table(plan, before)
    grid(data, "forecast", priced.MONEY, {"queue": st.column_config.TextColumn(width="medium")})
    download(data, "forecast")
    if plan.sweeps:
        named = ", ".join(sweep.sweep.name for sweep in plan.sweeps)
        st.html(
            f"<p class='note'>Its sweeps ({words.escape(named)}) count in the budget. They start with "
            "<code>shoestring sweep run</code> from a file.</p>"
        )
    if refusal:
        st.error(words.in_markdown(f"Refused: {refusal}"))
    _submit(home, text, plan, before, refusal)


# ── into the queue ──────────────────────────────────────────────────────────────────────────────


def _submit(home: Home, text: str, plan: FilePlan, before: Sequence[Submitted], refusal: str) -> None:
    n_new = sum(not one.existed for one in before)
    label = f"Submit {n_new} new run{'s' if n_new > 1 else ''}" if n_new else "Submit"
    if st.button(label, type="primary", key="submit", disabled=bool(refusal) or not n_new):
        with st.spinner("Submitting…"):
            problem = _enter(home, text)
        if not problem:
            st.rerun()
        st.error(words.in_markdown(problem))
    entered, n_entered = st.session_state.get(DONE, ("", 0))
    if before and not n_new:
        said = f"{n_entered} new in the queue. A worker takes them: `shoestring work --until-empty`"
        st.success(said) if entered == text else st.info("Nothing new: every run of this spec is there already.")
    there = {one.run_id: (one, run.name) for one, run in zip(before, plan.runs, strict=False) if one.existed}
    if there:
        rows = [_row(one, name) for one, name in list(there.values())[:MOST_SHOWN]]
        st.html(words.table(["Run", "State", "To run it again"], rows, f"{len(there)} runs of this spec are there."))


def _row(one: Submitted, name: str) -> list[str]:
    link = f"<a href='run?run={one.run_id}' target='_self'>{mark(one.run_id)} #{one.run_id} {words.escape(name)}</a>"
    return [link, words.state(one.state), words.escape(one.hint) or amounts.DASH]


def _enter(home: Home, text: str) -> str:
    """Plan once more, now with built data sets only, and queue what is new; return why that failed."""
    try:
        done = submit_file(home, database(), plan_text(text, drafts.FILE, home))
    except SpecInvalid as problem:
        return str(problem)
    except ShoestringError as problem:
        return f"{problem.message}. {problem.hint}"
    st.session_state[DONE] = (text, sum(not one.existed for one in done))
    forget()
    return ""
