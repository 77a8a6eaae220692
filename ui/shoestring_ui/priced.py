"""A plan before submission: its figures, its table, and what its hardware cannot hold. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from shoestring.actions import Submitted
from shoestring.plan import FilePlan
from shoestring.prices import PriceRow
from shoestring.queries import Purse
from shoestring.records import MICRO

from shoestring_ui import amounts, words
from shoestring_ui.identity import state_words
from shoestring_ui.words import Figure

PARTS = ("p10", "p50", "p90")
MONEY = tuple(f"dollars {part}" for part in PARTS)


def price_words(plan: FilePlan) -> str:
    """What an hour costs, and where the speed is known from if it was measured (else a warning says so); HTML."""
    if not plan.runs:
        return ""
    first = plan.runs[0]
    price = first.config.price
    rate = words.money(f"{amounts.usd(price.usd_per_hour)}/h")
    known = f", {words.escape(first.note)}" if first.calibrated else ""
    return f"<p class='note'>{words.escape(price.hardware)} at {rate}{known}.</p>"


def figures(plan: FilePlan, before: Sequence[Submitted], purse: Purse | None) -> list[Figure]:
    """The row of figures: dollars, time and memory of runs and sweeps; what the project's budget has left."""
    needs = sum((sweep.needs for sweep in plan.sweeps), plan.needs)
    usd, hours, memory = needs.usd, needs.hours, needs.memory_bytes
    spans = [amounts.span(3600 * getattr(hours, part)) for part in PARTS]
    sizes = [amounts.size(getattr(memory, part)) for part in PARTS]
    n_new = f"{sum(not one.existed for one in before)} new" if before else ""
    return [
        Figure("Planned", amounts.usd(usd.p50), f"{amounts.usd(usd.p10)} to {amounts.usd(usd.p90)}", money=True),
        Figure("Time", spans[1], f"{spans[0]} to {spans[2]}"),
        Figure("Peak memory", sizes[1], f"{sizes[0]} to {sizes[2]}"),
        Figure("Runs", str(len(plan.runs)), n_new),
        Figure("Training", amounts.count(plan.totals["flop"]), "FLOPs, sweeps apart" if plan.sweeps else "FLOPs"),
        _left(plan, purse),
    ]


def _left(plan: FilePlan, purse: Purse | None) -> Figure:
    cap = plan.max_usd
    if cap is None and purse and purse.max_micro is not None:
        cap = purse.max_micro / MICRO
    if cap is None:
        return Figure("Budget", "no cap", f"project {plan.project}")
    gone = (purse.spent_micro + purse.reserved_micro) / MICRO if purse else 0.0
    return Figure("Budget left", amounts.usd(max(0.0, cap - gone)), f"of {amounts.usd(cap)}", money=True)


def too_large(plan: FilePlan, prices: Mapping[str, PriceRow]) -> list[str]:
    """The runs that likely need more memory than one device of their hardware has, with both numbers."""
    said = []
    for run in plan.runs:
        price, need = prices.get(run.config.price.hardware), run.needs.memory_bytes.p50
        if price is not None and price.memory_gb and need > price.memory_gb * 1e9:
            has = f"{run.config.price.hardware} has {price.memory_gb:g} GB"
            said.append(f"{run.name} likely does not fit: it needs {amounts.size(need)}, {has}.")
    return said


def table(plan: FilePlan, before: Sequence[Submitted]) -> pd.DataFrame:
    """A row a run: 10th, 50th and 90th percentile of dollars, time and memory; what the queue knows of it."""
    rows = []
    for index, run in enumerate(plan.runs):
        needs = run.needs
        rows.append({
            "run": run.name,
            **{f"dollars {part}": getattr(needs.usd, part) for part in PARTS},
            **{f"time {part}": amounts.span(3600 * getattr(needs.hours, part)) for part in PARTS},
            **{f"memory {part}": amounts.size(getattr(needs.memory_bytes, part)) for part in PARTS},
            "steps": run.n_steps,
            "parameters": amounts.count(run.parameters),
            "queue": _known(before[index]) if before else "",
        })  # fmt: skip
    return pd.DataFrame(rows)


def _known(one: Submitted) -> str:
    return f"is run {one.run_id}, {state_words(one.state)}" if one.existed else "new"
