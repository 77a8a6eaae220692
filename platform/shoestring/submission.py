"""From a priced run to what the queue takes. Pure."""

from __future__ import annotations

from typing import Any

from shoestring.actions import Submission
from shoestring.run_plan import RunPlan


def submission(
    plan: RunPlan,
    provenance: dict[str, Any],
    *,
    kind: str = "experiment",
    parent_id: int | None = None,
    sweep_id: int | None = None,
) -> Submission:
    """Make the queue's entry of `plan`; `provenance` is `provenance.collect`'s, completed with the data's digest."""
    request = plan.request
    return Submission(
        name=plan.name,
        experiment=request.experiment,
        project=request.project,
        seed=request.seed,
        spec_hash=plan.spec_hash,
        config=plan.config,
        spec=request.model_dump(mode="json"),
        plan=plan.as_json(),
        kind=kind,
        parent_id=parent_id,
        sweep_id=sweep_id,
        priority=request.priority,
        tags=request.tags,
        max_usd=request.max_usd,
        planned_usd=plan.usd.p50,
        provenance={**provenance, "data_digest": plan.config.data.digest},
    )
