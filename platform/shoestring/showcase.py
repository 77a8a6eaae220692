"""The showcase: the winner at equal dollars, trained on from its last checkpoint through its own stages once more."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shoestring_trainer.config import Start, TrainConfig
from shoestring_trainer.run_dir import RunDir, checkpoint_id

from shoestring import actions
from shoestring.db import Database
from shoestring.errors import Conflict, NotFound, UsageError
from shoestring.home import Home
from shoestring.plan import RunPlan, Survey, extend_plan
from shoestring.ranking import Ranking
from shoestring.records import Run
from shoestring.standings import newest_of, standings


@dataclass(frozen=True)
class Shown:
    """The showcase run, whether it was there already, and the run that it continues."""

    run_id: int
    existed: bool
    state: str
    winner: Run
    extra_usd: float


def runs_of(db: Database, survey: Survey) -> list[Run]:
    """The newest run of each request of the file, whatever its state."""
    return newest_of(db, survey.spec.top.project, (request.spec_hash for request in survey.requests))


def choose_winner(ranking: Ranking, runs: list[Run]) -> Run:
    """The run of the experiment with the best value, ahead beyond the noise or not; its lowest seed.

    Not its best seed: the best of several seeds is partly luck. Raises NotFound when nothing is ranked.
    """
    if not ranking.places:
        raise NotFound("no finished experiment to continue", "shoestring work --until-empty, then showcase again")
    by_id = {run.id: run for run in runs}
    best = ranking.places[0]
    return min((by_id[i] for i in best.run_ids), key=lambda run: (run.seed, run.id))


def plan_showcase(survey: Survey, winner: Run, extra_usd: float) -> RunPlan:
    """Price `winner` trained on for `extra_usd` more. Raises UsageError, Conflict, PlanRefused."""
    if extra_usd <= 0:
        raise UsageError(
            f"the showcase would train for ${extra_usd:.5f} more; the winner has had ${winner.planned_usd:.5f} already",
            "raise `showcase.until.usd` in the file, or give --extra-usd",
        )
    request = next((r for r in survey.requests if r.spec_hash == winner.spec_hash), None)
    if request is None:
        raise NotFound(
            f"{survey.spec.file} does not ask for run {winner.id} ({winner.name})", "give the file it is from"
        )
    start = start_from(
        winner, f"train it again: shoestring submit {survey.spec.file} --only {winner.experiment} --again"
    )
    config = TrainConfig.model_validate(winner.config)
    request = request.called(f"showcase/{winner.name.replace('/', '-')}", notes=f"continues run {winner.id}")
    return extend_plan(request, config, start, extra_usd, survey.costs)


def start_from(run: Run, hint: str) -> Start:
    """The checkpoint of a run's last step, to go on from. Raises Conflict, with `hint`, when it is not there."""
    n_steps = TrainConfig.model_validate(run.config).n_steps
    published = RunDir(Path(run.run_dir)).published()
    if not published or checkpoint_id(published[0])[0] != n_steps:
        have = published[0].name if published else "none"
        raise Conflict(f"run {run.id} has no checkpoint of its last step {n_steps} (newest: {have})", hint)
    return Start(checkpoint=str(published[0].resolve()), step=n_steps)


def submit_showcase(
    home: Home, db: Database, survey: Survey, extra_usd: float | None, provenance: dict[str, Any]
) -> Shown:
    """Queue the showcase of the file's winner, once: the same winner and dollars give the same run.

    `extra_usd` is on top of the winner's; without it the file's `showcase.until.usd` counts both.
    """
    runs = runs_of(db, survey)
    winner = choose_winner(standings(db, runs), runs)
    if extra_usd is None:
        asked = survey.spec.top.showcase
        if asked is None or asked.until.usd is None:
            raise UsageError(
                f"{survey.spec.file} has no `showcase`", "add `showcase: {until: {usd: …}}` or --extra-usd"
            )
        config = TrainConfig.model_validate(winner.config)
        extra_usd = asked.until.usd - config.planned_usd_at(config.n_steps)
    planned = plan_showcase(survey, winner, extra_usd)
    origin: dict[str, Any] = {"kind": "showcase", "parent_id": winner.id, "provenance": provenance}
    done = actions.submit_plans(db, [planned], runs_dir=home.runs, **origin)[0]
    return Shown(done.run_id, done.existed, done.state, winner, extra_usd)
