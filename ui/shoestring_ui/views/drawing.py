"""Draw what you type: prompts become a small run of the queue; its progress, then its pictures. Part of Samples."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import streamlit as st
from shoestring import actions, provenance, queries
from shoestring.draw_plan import ENDED, DrawPlan, Order, plan_drawing
from shoestring.errors import NotFound, ShoestringError
from shoestring.home import Home
from shoestring.records import DRAWING, Run, Sample
from shoestring_trainer.drawing import MAX_CHARACTERS, MAX_PROMPTS

from shoestring_ui import amounts, words
from shoestring_ui.identity import label
from shoestring_ui.pace import live
from shoestring_ui.store import ask, database, forget
from shoestring_ui.theme import palette
from shoestring_ui.thumbnails import image
from shoestring_ui.widgets import ACTIVE, WAITING
from shoestring_ui.widgets import section as headline

EARLIER = 8  # drawings that the page names
MOST_SEED = 2**31 - 1
LEDE = "A worker draws it as a small run: it waits its turn, costs what it says, and the same words give the same run."


def section(runs: Sequence[Run]) -> None:
    """The form and what became of it; the address says what is typed and which drawing is shown (`?drawing=12`)."""
    headline("Draw what you type", LEDE)
    able = [r for r in runs if r.state in ENDED and r.checkpoint_step]
    asked, drawn = st.columns(2, gap="large")
    with asked:
        if able:
            st.fragment(_form)(able)
        else:
            text = "Pictures are drawn with the weights of a run that has ended."
            st.html(words.empty("No run has ended yet", text, "shoestring work --until-empty"))
    with drawn:
        _drawings()


def _form(runs: Sequence[Run]) -> None:
    """What to draw, what it will cost, and the button."""
    by_id = {r.id: r for r in sorted(runs, key=lambda r: -r.id)}
    asked = {str(i): n for n, i in enumerate(by_id)}.get(st.query_params.get("from", ""), 0)
    run_id = st.selectbox(
        "With the weights of", list(by_id), index=asked, format_func=lambda i: label(by_id[i]), width=420,
        key="draw-from", on_change=lambda: st.query_params.update({"from": str(st.session_state["draw-from"])}),
    )  # fmt: skip
    text = st.text_area(
        "Prompts, one a line", key="prompts", bind="query-params", height=144,
        placeholder="a red circle\na small orange house", max_chars=MAX_PROMPTS * (MAX_CHARACTERS + 1),
    )  # fmt: skip
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        steps = st.number_input("Steps", 1, 1000, 20, key="steps", bind="query-params", width=112)
        guidance = st.number_input(
            "Guidance", 0.0, 100.0, 3.0, step=0.5, key="guidance", bind="query-params", width=112
        )
        seed = st.number_input("Seed", 0, MOST_SEED, 0, key="seed", bind="query-params", width=112)
    prompts = tuple(line.strip() for line in text.splitlines() if line.strip())
    plan = None
    if prompts:
        try:
            plan = plan_drawing(Home.find(), by_id[run_id], Order(prompts, seed, steps, guidance))
            st.html(_forecast(plan))
        except ShoestringError as problem:
            st.html(_refusal(problem))
    else:
        st.html(f"<p class='note'>Up to {MAX_PROMPTS} lines of at most {MAX_CHARACTERS} characters.</p>")
    n = len(prompts)
    verb = f"Draw {n} {'picture' if n == 1 else 'pictures'}" if plan else "Draw"
    if st.button(verb, type="primary", disabled=plan is None, key="draw") and plan:
        _submit(plan)


def _forecast(plan: DrawPlan) -> str:
    seconds, usd = plan.seconds, plan.usd
    spread = f"{words.money(amounts.usd(usd.p10))} to {words.money(amounts.usd(usd.p90))}"
    return (
        f"<p class='note'>About {amounts.span(seconds.p50)} and {words.money(amounts.usd(usd.p50))} ({spread}), with "
        f"the checkpoint of step {plan.config.source.step:,}; {words.escape(plan.note)}.</p>"
    )


def _refusal(problem: ShoestringError) -> str:
    return (
        f"<div class='card failure' role='alert'><p>{words.escape(problem.message)}.</p>"
        f"<p>{words.prose(problem.hint)}</p></div>"
    )


def _submit(plan: DrawPlan) -> None:
    """Queue it and lead the address to it; a refusal stands where the button was pressed."""
    home = Home.find()
    try:
        done = actions.draw(database(), plan, runs_dir=home.runs, provenance=provenance.collect(home.root))
    except ShoestringError as problem:
        st.html(_refusal(problem))
        return
    forget()
    st.query_params["drawing"] = str(done.run_id)
    st.toast(f"Run {done.run_id} was there already: {done.state}" if done.existed else f"Run {done.run_id} is queued")
    st.rerun()


# ── what became of it ───────────────────────────────────────────────────────────────────────────


def _drawings() -> None:
    """The drawing that the address names, else the newest; below it the way to earlier ones."""
    newest = ask(queries.runs, kind=DRAWING, limit=EARLIER)[::-1]
    asked = st.query_params.get("drawing", "")
    shown = next((r for r in newest if str(r.id) == asked), None) or _named(asked) or next(iter(newest), None)
    if shown is None:
        return
    if asked and str(shown.id) != asked:
        st.warning(f"There is no drawing {asked} here; this is drawing {shown.id}.")
    run_id = shown.id
    live(lambda: _drawing(ask(queries.run, run_id)), shown.state in ACTIVE | WAITING)
    others = "".join(f"<li>{_link(r.id)} {words.state(r.state)} {words.escape(_first(r))}</li>" for r in newest)
    if len(newest) > 1:
        st.html(f"<p class='note'>Drawings</p><ul class='drawings'>{others}</ul>")


def _named(asked: str) -> Run | None:
    if not (asked.isascii() and asked.isdigit() and len(asked) < 19):
        return None
    with contextlib.suppress(NotFound):
        run = ask(queries.run, int(asked))
        return run if run.kind == DRAWING else None
    return None


def _drawing(run: Run) -> None:
    """One drawing: whose weights, how it stands, and a place for each picture."""
    samples = {s.index: s for s in queries.samples(run)}
    asked = run.spec.get("drawing", {})
    asked = asked if isinstance(asked, dict) else {}
    source, name = asked.get("run"), str(asked.get("name", ""))
    whose = words.who(source, name, palette()) if isinstance(source, int) else words.escape(name)
    how = ", ".join(f"{key} {asked[name]}" for key, name in (("seed", "seed"), ("steps", "n_steps"),
                                                             ("guidance", "guidance")) if name in asked)  # fmt: skip
    st.html(
        f"<p class='takeaway'>{_link(run.id)} {words.escape(_stands(run))}</p>"
        f"<p class='note'>{whose} {words.escape(how)} · planned {words.money(amounts.usd(run.planned_usd))}, "
        f"spent {words.money(amounts.usd(run.spent_usd))} · <a href='run?run={run.id}' target='_self'>its run</a></p>"
    )
    if run.state == "failed":
        st.html(_failure(run))
    prompts = asked.get("prompts") if isinstance(asked.get("prompts"), list) else [s.prompt for s in samples.values()]
    cells = "".join(_cell(samples.get(i), str(prompt)) for i, prompt in enumerate(prompts or []))
    st.html(f"<div class='drawn'>{cells}</div>")


def _stands(run: Run) -> str:
    """One sentence."""
    of = f"{min(run.step, run.n_steps)} of {run.n_steps}"
    if run.state in WAITING:
        return ask(queries.why_waiting, run).replace("`", "") or run.state
    if run.state in ACTIVE:
        return f"drawing {of}" if run.want == "run" else f"{run.want} asked for, {of} drawn"
    many = f"{run.n_steps} {'picture' if run.n_steps == 1 else 'pictures'}"
    return {"succeeded": f"✓ {many}", "failed": f"✕ failed with {of} drawn"}.get(run.state, f"{run.state}, {of} drawn")


def _failure(run: Run) -> str:
    return (
        f"<div class='card failure'><p>{words.escape(run.failure_class)}: {words.escape(run.failure_detail)}</p>"
        f"<pre>shoestring retry {run.id}</pre></div>"
    )


def _cell(sample: Sample | None, prompt: str) -> str:
    inside = image(sample.path, words.escape(prompt, quote=True)) if sample else "<span class='none'></span>"
    return f"<figure>{inside}<figcaption>{words.escape(prompt)}</figcaption></figure>"


def _link(run_id: int) -> str:
    return f"<a class='mono' href='samples?drawing={run_id}' target='_self'>#{run_id}</a>"


def _first(run: Run) -> str:
    """What tells a drawing from the others: its first prompt."""
    asked = run.spec.get("drawing")
    prompts = asked.get("prompts") if isinstance(asked, dict) else None
    if not isinstance(prompts, list) or not prompts:
        return ""
    more = f" and {len(prompts) - 1} more" if len(prompts) > 1 else ""
    return f"{str(prompts[0])[:60]}{more}"
