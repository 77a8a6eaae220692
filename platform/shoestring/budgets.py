"""A project's money: its cap, what is gone of it, and what is kept back for runs that have not ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, Connection, case, func, select

from shoestring.bulk import upsert
from shoestring.errors import BudgetRefused
from shoestring.moves import note
from shoestring.rows import micro, usd
from shoestring.states import TERMINAL
from shoestring.tables import budgets, runs, sweeps


@dataclass(frozen=True)
class Purse:
    """Micro-dollars of one project: its cap (None: no cap), spent, and kept back beyond what is spent."""

    max_micro: int | None
    spent_micro: int
    reserved_micro: int


def purse(conn: Connection, project: str) -> Purse:
    """How the project's money stands. An unfinished run keeps back its forecast's 90th percentile (less what it has
    spent), a running sweep all of its budget (less what its trials have spent or keep back)."""
    cap = conn.scalar(select(budgets.c.max_micro).where(budgets.c.project == project))
    own = func.sum(runs.c.spent_micro), func.sum(_kept_back())
    spent, kept = conn.execute(select(*own).where(runs.c.project == project)).one()
    of_sweep = select(func.coalesce(func.sum(runs.c.spent_micro + _kept_back()), 0))
    promised = of_sweep.where(runs.c.sweep_id == sweeps.c.id).correlate(sweeps).scalar_subquery()
    begun = select(sweeps.c.max_micro, promised).where(
        sweeps.c.project == project, sweeps.c.state == "running", sweeps.c.max_micro.is_not(None)
    )
    for_trials = sum(max(0, most - int(gone)) for most, gone in conn.execute(begun))
    return Purse(cap, int(spent or 0), int(kept or 0) + for_trials)


@dataclass(frozen=True)
class Fund:
    """What a file's runs are paid from: its project, the cap that the file sets (None: what is set already), and the
    dollars that each of its sweeps may cost."""

    project: str
    max_usd: float | None = None
    sweeps_usd: Mapping[str, float] = field(default_factory=dict)


def afford(conn: Connection, fund: Fund, runs_usd: Sequence[float]) -> None:
    """Refuse new runs of these dollars, and the sweeps that have not begun, when the money left may not pay them.

    Raises BudgetRefused.
    """
    begun = set(conn.scalars(select(sweeps.c.name).where(sweeps.c.project == fund.project)))
    for_sweeps = [micro(dollars) for name, dollars in fund.sweeps_usd.items() if name not in begun]
    asked = sum(map(micro, runs_usd)) + sum(for_sweeps)
    now = purse(conn, fund.project)
    cap = now.max_micro if fund.max_usd is None else micro(fund.max_usd)
    if cap is None or asked + now.spent_micro + now.reserved_micro <= cap:
        return
    what = " and ".join(_count(n, word) for n, word in ((len(runs_usd), "run"), (len(for_sweeps), "sweep")) if n)
    spent = f", ${usd(now.spent_micro):.5f} is spent" if now.spent_micro else ""
    kept = f", ${usd(now.reserved_micro):.5f} is kept back for what has not ended" if now.reserved_micro else ""
    raise BudgetRefused(
        f"{what} may cost ${usd(asked):.5f} (90th percentile){spent}{kept}; budget.max_usd of project "
        f"{fund.project} is ${usd(cap):g}",
        "lower `until`, drop runs, raise budget.max_usd, or run `shoestring calibrate` to narrow the forecast",
    )


def afford_more(conn: Connection, project: str, what: str, more_usd: float) -> None:
    """Refuse what may cost so much more than is kept back for it already. Raises BudgetRefused."""
    now = purse(conn, project)
    free = None if now.max_micro is None else now.max_micro - now.spent_micro - now.reserved_micro
    if free is not None and micro(more_usd) > free:
        raise BudgetRefused(
            f"{what} needs ${more_usd:.5f} more; of budget.max_usd ${usd(now.max_micro or 0):g} of project {project} "
            f"${usd(max(0, free)):.5f} is free",
            "ask for less, or raise budget.max_usd in the experiments file and submit it again",
        )


def set_cap(conn: Connection, project: str, max_usd: float, at: float) -> None:
    """Cap what all runs of a project spend together."""
    upsert(conn, budgets, [{"project": project, "max_micro": micro(max_usd), "updated_at": at}])
    note(conn, at, "budget", None, project=project, max_usd=max_usd)


def _count(n: int, word: str) -> str:
    return f"{n} {word}{'s' if n > 1 else ''}"


def _kept_back() -> ColumnElement[int]:
    """Micro-dollars that a run may still cost by its forecast."""
    more = runs.c.reserved_micro - runs.c.spent_micro
    return case((runs.c.state.in_(sorted(TERMINAL)), 0), (more < 0, 0), else_=more)
