"""How a plan enters the queue: with what it is made from, asking its project's budget first; once, however often."""

from __future__ import annotations

from shoestring import actions, provenance
from shoestring.actions import Submitted
from shoestring.db import Database
from shoestring.home import Home
from shoestring.plan import FilePlan


def submit_file(
    home: Home, db: Database, planned: FilePlan, *, again: bool = False, dry_run: bool = False
) -> list[Submitted]:
    """Queue the runs of a planned file, or say of each what would become of it; an equal run that exists is named.

    `again` makes new runs nevertheless. Raises BudgetRefused with what they may cost and what is left.
    """
    digest = planned.runs[0].config.data.digest if planned.runs else ""
    made_from = {} if dry_run else provenance.collect(home.root, digest)
    fund = actions.Fund(planned.project, planned.max_usd, {one.sweep.name: one.usd.p90 for one in planned.sweeps})
    return actions.submit_plans(
        db, planned.runs, runs_dir=home.runs, again=again, fund=fund, dry_run=dry_run, provenance=made_from
    )
