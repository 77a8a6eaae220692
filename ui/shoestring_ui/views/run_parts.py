"""Tabs of the run page that say what it is made of: its stages and family, its spec against another run's."""

from __future__ import annotations

import json

import pandas as pd
import streamlit as st
from pydantic import ValidationError
from shoestring import queries
from shoestring.records import Run
from shoestring_trainer.config import Stage, TrainConfig

from shoestring_ui import amounts, words
from shoestring_ui.differences import differing, shown
from shoestring_ui.identity import label
from shoestring_ui.store import ask, recent
from shoestring_ui.theme import palette
from shoestring_ui.widgets import download

AGAINST = "against"  # the other run in the address


def stages(run: Run) -> None:
    """Draw the stages in their order, those of the run that it continues too, and the runs before and after it."""
    try:
        config = TrainConfig.model_validate(run.config)
    except ValidationError:
        st.html(words.empty("No stages", "This run does not train, or its config is of another version."))
        config = None
    if config is not None:
        began = config.start.step if config.start else 0
        losses = ask(queries.series, [run.id], "val/loss")
        measured = list(zip(losses[0].step, losses[0].value, strict=True)) if losses else []
        rows, first = [], 0
        for index, stage in enumerate(config.stages):
            last = first + stage.steps
            kept, whole = stage.mask.tokens_kept(config.n_tokens_at(index)), config.n_tokens_at(index)
            loss = next((value for step, value in reversed(measured) if first < step <= last), None)
            rows.append([
                str(index + 1), _mask(stage), f"{kept:,} of {whole:,}", words.escape(config.data_at(index).name),
                f"{first:,} to {last:,}", _progress(run, first, last, began),
                words.money(amounts.usd(stage.steps * stage.planned_usd_per_step)), amounts.value(loss),
            ])  # fmt: skip
            first = last
        heads = ["Stage", "Mask", "Tokens kept", "Data", "Steps", "Trained", "Planned", "val/loss"]
        st.html(
            words.table(heads, rows, "Consecutive steps with one mask; val/loss is the last of each.", (2, 4, 6, 7))
        )
    _family(run)


def _mask(stage: Stage) -> str:
    mask = stage.mask.model_dump()
    return "every token" if mask["kind"] == "none" else words.escape(f"{mask['place']} {mask['ratio']:g}")


def _progress(run: Run, first: int, last: int, began: int) -> str:
    if last <= began:
        parent = f"run {run.parent_id}" if run.parent_id else "the run before"
        return f"by {parent}"
    if run.step >= last:
        return words.state("complete")
    return f"{run.step - first:,} of {last - first:,}" if run.step > first else "to come"


def _family(run: Run) -> None:
    family = ask(queries.lineage, run.id)
    if len(family) < 2:
        return
    colours = palette()
    rows = [
        [
            words.who(one.id, one.name, colours) + (" (this run)" if one.id == run.id else ""),
            words.escape(one.kind),
            words.state(one.state),
            f"{one.step:,}",
            f"run {one.parent_id}" if one.parent_id else amounts.DASH,
        ]
        for one in family
    ]
    heads = ["Run", "Kind", "State", "Step", "Comes from"]
    st.html(words.table(heads, rows, "Its family: what it continues or repeats, and what came of it.", (3,)))


def spec(run: Run) -> None:
    """Draw what differs from another run, then what was asked for and what the trainer was given."""
    _difference(run)
    st.html("<p class='note'>What was asked for, every default filled in; below it, what the trainer was given.</p>")
    for title, value in (("Resolved spec", run.spec), ("config.json", run.config)):
        text = json.dumps(value, indent=2, ensure_ascii=False)
        with st.expander(title, expanded=title == "Resolved spec"):
            st.code(text, language="json", height=480)
    patch = run.provenance.get("git_patch", "")
    if patch:
        with st.expander("Uncommitted changes"):
            st.code(patch, language="diff", height=480)


def _difference(run: Run) -> None:
    others = {one.id: one for one in reversed(recent()) if one.id != run.id}
    if not others:
        return
    asked = st.query_params.get(AGAINST, "")
    named = {str(i): i for i in others}.get(asked)
    if asked and named is None:
        st.warning(f"There is no run {asked[:40]} to compare with.")
    ids = [None, *others]
    chosen = st.selectbox(
        "What differs from", ids, index=ids.index(named), width=420,
        format_func=lambda i: "choose a run" if i is None else label(others[i]),
    )  # fmt: skip
    if chosen is None:
        st.query_params.pop(AGAINST, None)
        return
    st.query_params[AGAINST] = str(chosen)
    pair = [run, others[chosen]]
    found = differing(pair)
    if not found:
        st.html(f"<p class='note'>Run {run.id} and run {chosen} ask for the same.</p>")
        return
    colours = palette()
    rows = [[f"<span class='mono'>{words.escape(path)}</span>", *(words.escape(shown(one)) for one in values)]
            for path, values in found.items()]  # fmt: skip
    heads = ["field", *(words.who(one.id, one.name, colours) for one in pair)]
    n = f"{len(found)} fields of the resolved specs differ" if len(found) > 1 else "One field differs"
    st.html(words.table_with_heads(heads, rows, f"{n}."))
    columns = {f"#{one.id} {one.name}": [shown(v[i]) for v in found.values()] for i, one in enumerate(pair)}
    download(pd.DataFrame({"field": list(found), **columns}), f"run-{run.id}-against-{chosen}")
