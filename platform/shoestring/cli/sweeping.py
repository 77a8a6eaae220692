"""Verbs that compare and go on: sweep, rank, showcase, evaluate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shoestring.cli import steering
from shoestring.cli.output import guarded, say, say_json
from shoestring.errors import FAILED, NotFound, UsageError

if TYPE_CHECKING:
    from shoestring.db import Database
    from shoestring.evaluation import Evaluation
    from shoestring.ranking import Ranking
    from shoestring.records import Run
    from shoestring.sweep_report import Report

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
File = Annotated[Path, typer.Argument(help="The experiments file.")]
EXPERIMENTS = Path("experiments.yaml")


def register(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    sweep = typer.Typer(help="Search: Optuna proposes, ordinary runs of the queue train.", no_args_is_help=True)
    sweep.command("run")(guarded(sweep_run))
    sweep.command("report")(guarded(sweep_report))
    steering.register(sweep)
    app.add_typer(sweep, name="sweep")
    for verb in (rank, showcase, evaluate):
        app.command()(guarded(verb))


def sweep_run(
    file: File,
    name: Annotated[str, typer.Argument(help="The sweep's name in the file.")],
    trials: Annotated[
        int | None, typer.Option("--trials", help="How many in all; default: what the file says.")
    ] = None,
    jobs: Annotated[
        int, typer.Option("--jobs", help="Trials in flight at once: this process trains one, other workers the rest.")
    ] = 1,
    work: Annotated[bool, typer.Option("--work/--no-work", help="Train here, or wait for other workers.")] = True,
    json_: Json = False,
) -> None:
    """Run a sweep to its end, or go on where it stopped."""
    from shoestring import plan, provenance, sweep, sweep_report, tracking
    from shoestring.cli.looking import open_project

    home, db = open_project()
    survey = plan.survey(file, home)
    bench = sweep.Bench(
        home=home,
        db=db,
        price=lambda request: plan.plan_request(request, survey.costs),
        work=_worker(home, db) if work else _waiter(db),
        provenance=provenance.collect(home.root),
        tell=(lambda line: None) if json_ else say,
    )
    done = sweep.run_sweep(bench, survey.sweep(name), trials, jobs)
    _warn(tracking.Tracker(home, db.url.render_as_string(hide_password=False)).finish(db))
    _show_report(sweep_report.report(home, db, done), json_)


def sweep_report(
    name: Annotated[str, typer.Argument(help="The sweep's name.")],
    json_: Json = False,
) -> None:
    """Say what a sweep found: the Pareto front, the best trial, what mattered, what the money bought."""
    from shoestring import sweep_report as reports
    from shoestring.cli.looking import open_project

    home, db = open_project()
    _show_report(reports.report(home, db, steering.find_sweep(db, name)), json_)


def rank(
    spec: Annotated[Path | None, typer.Option("--spec", help="Only the runs of this file.")] = None,
    at_usd: Annotated[
        float | None, typer.Option("--at-usd", min=0.0, max=1e9, help="Default: the most that all reached.")
    ] = None,
    metric: Annotated[str, typer.Option("--metric")] = "val/loss",
    check: Annotated[
        bool, typer.Option("--check", help="Compare every number with MLflow's; exit 1 if one differs.")
    ] = False,
    json_: Json = False,
) -> None:
    """Rank experiments by quality at equal dollars; a tie is called a tie."""
    from shoestring import plan, queries
    from shoestring.cli.looking import open_project
    from shoestring.showcase import runs_of
    from shoestring.standings import standings

    home, db = open_project()
    if spec is None:
        runs = queries.runs(db, kind="experiment")
    else:
        runs = runs_of(db, plan.survey(spec, home))
    ranking = standings(db, runs, metric, at_usd)
    if check:
        return _check(home, db, ranking, json_)
    if json_:
        return say_json({**ranking.as_json(), "waiting": [r.id for r in runs if r.state != "succeeded"]})
    _show_ranking(ranking, runs)


def showcase(
    file: File = EXPERIMENTS,
    extra_usd: Annotated[
        float | None,
        typer.Option("--extra-usd", min=0, max=1e9, help="On top of the winner's; default: the file's `showcase`."),
    ] = None,
    json_: Json = False,
) -> None:
    """Queue the winner at equal dollars to be trained on, from its last checkpoint."""
    from dataclasses import asdict

    from shoestring import plan, provenance
    from shoestring import showcase as showcases
    from shoestring.cli.looking import open_project

    home, db = open_project()
    survey = plan.survey(file, home)
    done = showcases.submit_showcase(home, db, survey, extra_usd, provenance.collect(home.root))
    if json_:
        return say_json({**asdict(done), "winner": done.winner.id})
    what = f"is there already ({done.state})" if done.existed else "queued"
    say(f"run {done.run_id} {what}: continues run {done.winner.id} ({done.winner.name}) for ${done.extra_usd:.5f} more")
    if done.state != "succeeded":
        say("Next: shoestring work --until-empty")


def evaluate(
    run: Annotated[str, typer.Argument(help="Id or name of the run; `showcase` is the newest showcase.")],
    n: Annotated[int, typer.Option("--n", help="Pictures to draw.")] = 500,
    untrained: Annotated[bool, typer.Option("--untrained", help="The weights that training started from.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="The trained weights themselves, not their average.")] = False,
    spec: Annotated[Path | None, typer.Option("--spec", help="The showcase of this file.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Measure anew even if it was measured.")] = False,
    json_: Json = False,
) -> None:
    """Measure a run's quality: kernel distance to real pictures and caption retrieval."""
    from shoestring import evaluation, queries
    from shoestring.cli.looking import open_project

    home, db = open_project()
    found = _showcase_run(db, home, spec) if run == "showcase" else queries.find_run(db, run)
    if untrained and raw:
        raise UsageError("--untrained and --raw are two different weights", "give one of them")
    weights: evaluation.Weights = "untrained" if untrained else "raw" if raw else "ema"
    done = evaluation.evaluate(db, found, n, weights=weights, again=again)
    _mirror(home, db, found.id)
    if json_:
        return say_json({"run": done.run_id, "step": done.step, "reused": done.reused, **done.facts})
    _show_evaluation(done)


# ── what they work with ─────────────────────────────────────────────────────────────────────────


def _worker(home: Any, db: Database) -> Any:
    """Train in this process until one of the runs has ended; other queued runs that come first are trained too."""
    from shoestring.cli.working import work_until

    return lambda run_ids: work_until(home, db, run_ids)


def _waiter(db: Database, every_s: float = 2.0) -> Any:
    """Wait until some other worker has brought one of the runs to an end or set it aside."""
    import time

    from shoestring import queries

    def wait(run_ids: Sequence[int]) -> None:
        moving = ("blocked", "queued", "leased", "running", "stopping")
        while all(queries.run(db, run_id).state in moving for run_id in run_ids):
            time.sleep(every_s)

    return wait


def _showcase_run(db: Database, home: Any, spec: Path | None) -> Run:
    from shoestring import plan, queries
    from shoestring import showcase as showcases

    runs = queries.runs(db, kind="showcase")
    if spec is not None:
        parents = {r.id for r in showcases.runs_of(db, plan.survey(spec, home))}
        runs = [r for r in runs if r.parent_id in parents]
    if not runs:
        raise NotFound("there is no showcase run yet", "shoestring showcase " + str(spec or EXPERIMENTS))
    return max(runs, key=lambda r: r.id)


def _mirror(home: Any, db: Database, run_id: int) -> None:
    """Send the new numbers to MLflow; a problem there is told and changes nothing here."""
    from shoestring import tracking

    _warn("; ".join(tracking.mirror_all(home, db, [run_id]).problems))


def _warn(problem: str) -> None:
    if problem:
        typer.echo(f"warning: MLflow: {problem}", err=True)


def _check(home: Any, db: Database, ranking: Ranking, json_: bool) -> None:
    from shoestring import queries, tracking

    run_ids = [i for place in ranking.places for i in place.run_ids]
    differing, n_points = [], 0
    for series in queries.series(db, run_ids, ranking.metric, max_points=10**9):
        ours = dict(zip(series.step, series.value, strict=True))
        theirs = tracking.mirrored(home, queries.run(db, series.run_id), ranking.metric)
        n_points += len(ours)
        if ours != theirs:
            differing.append({"run": series.run_id, "ours": ours, "mlflow": theirs})
    if json_:
        say_json({"metric": ranking.metric, "runs": len(run_ids), "points": n_points, "differing": differing})
    for row in differing:
        say(f"run {row['run']}: {ranking.metric} differs: here {row['ours']}, in MLflow {row['mlflow']}")
    if differing or not run_ids:
        if not run_ids:
            say("nothing is ranked, so nothing was compared")
        raise typer.Exit(FAILED)
    if not json_:
        say(f"check: {n_points} points of {ranking.metric} of {len(run_ids)} runs are the same here and in MLflow")


# ── how it is shown ─────────────────────────────────────────────────────────────────────────────


def _show_ranking(ranking: Ranking, runs: list[Run]) -> None:
    from shoestring.ranking import NOISE_IN_WORDS

    if not ranking.places:
        say(f"nothing to rank by {ranking.metric} yet. Next: shoestring work --until-empty")
    else:
        better = "lower" if ranking.direction == "minimize" else "higher"
        say(f"{ranking.metric} at ${ranking.at_usd:.5f} of planned training each ({better} is better)")
        width = max(len(p.experiment) for p in ranking.places)
        for p in ranking.places:
            tie = f"  tie with {', '.join(p.tied_with)}" if p.tied_with else ""
            seeds = f"{p.seeds} seed{'s' if p.seeds > 1 else ''}"
            say(f"{p.place:>3}. {p.experiment:<{width}}  {p.value:.4f} ± {p.se:.4f}  {seeds}{tie}")
        say(NOISE_IN_WORDS[ranking.noise])
        first = ranking.odds[: len(ranking.places) - 1]  # the first against each other
        for one in first if any(one.p is not None for one in first) else ():
            say(f"     {one.words()}")
        if first and all(one.p is None for one in first):
            few = ", ".join(p.experiment for p in ranking.places if p.seeds < 2)
            say(f"who beats whom cannot be known from one seed ({few}): write seeds: [0, 1]")
    for run_id, why in ranking.left_out:
        say(f"     run {run_id} has no place: {why}")
    waiting = [r for r in runs if r.state != "succeeded"]
    if waiting:
        say("     not finished: " + ", ".join(f"run {r.id} {r.name} ({r.state})" for r in waiting))


def _show_report(report: Report, json_: bool) -> None:
    if json_:
        return say_json(report.as_json())
    cap = f" of ${report.max_usd:.5f}" if report.max_usd is not None else ""
    say(f"sweep {report.sweep}: {report.state}, {len(report.trials)} trials, ${report.spent_usd:.5f}{cap} spent")
    say(f"{'':2}{'trial':>5} {'run':>5}  " + "".join(f"{key:>16}" for key in report.objectives) + "  parameters")
    for trial in report.trials:
        mark = "*" if trial.number in report.front else "!" if trial.number in report.broken else ""
        values = "".join(f"{v:>16.5g}" for v in trial.values) or f"{trial.state:>16}".ljust(16 * len(report.objectives))
        params = ", ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in trial.params.items())
        run_id = "" if trial.run_id is None else trial.run_id
        say(f"{mark:2}{trial.number:>5} {run_id:>5}  {values}  {params}")
    if report.front:
        say("* on the Pareto front: no other trial is both cheaper and better")
    if report.broken:
        say("! above " + " or ".join(f"{key} {limit:g}" for key, limit in report.constraints.items()))
    if report.earlier:
        say(f"{len(report.earlier)} of them were paid before: trials {', '.join(map(str, report.earlier))}")
    for row in report.rungs:
        best = "" if row.value is None else f", best {row.value:.5g} (trial {row.best})"
        left = ", ".join(f"{n} {what}" for n, what in (
            (row.went_on, "went on"), (row.waiting, "wait"), (row.pruned, "pruned")) if n)  # fmt: skip
        say(f"  rung ${row.usd:g}: {row.reached} trials{', ' * bool(left)}{left}{best}")
    if report.rungs:
        say(f"  pruned trials took ${report.pruned_usd:.5f}")
    if report.bought:
        say(report.bought)
    if len(report.importance) > 1:
        shares = ", ".join(f"{path} {share:.0%}" for path, share in report.importance.items())
        say(f"importance for {next(iter(report.objectives))} (PED-ANOVA, {len(report.trials)} trials: rough): {shares}")


def _show_evaluation(done: Evaluation) -> None:
    again = " (measured before, reused; --again measures anew)" if done.reused else ""
    say(f"run {done.run_id} at step {done.step}, {done.facts.get('n')} pictures{again}")
    for key, value in done.values.items():
        say(f"  {key:<42} {value:.5g}")
    say(f"  {done.path}")
