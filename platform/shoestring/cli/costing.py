"""The verb that says where the dollars went, and how well they were forecast: cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from shoestring.cli.output import guarded, say, say_json
from shoestring.errors import NotFound, UsageError

if TYPE_CHECKING:
    from shoestring.forecasts import Review
    from shoestring.records import Spend

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
NO_KEY = {"sweep": "(no sweep)", "experiment": "(idle workers)", "project": "(idle workers)"}
NOTHING = "Nothing has been spent yet. Next: shoestring work --until-empty"
IDLE = "idle: workers on the roster that carry no run, at their price an hour; in no run's books and under no budget"


def register(app: typer.Typer) -> None:
    """Add the verb of this file."""
    app.command()(guarded(cost))


def cost(
    by: Annotated[
        str, typer.Option("--by", help="outcome, day (UTC), sweep, machine, experiment or project.")
    ] = "outcome",
    project: Annotated[
        str | None, typer.Option("--project", help="Only this project's runs (idle workers have none).")
    ] = None,
    forecast: Annotated[
        bool, typer.Option("--forecast", help="What finished runs were planned to cost, against what they did.")
    ] = False,
    json_: Json = False,
) -> None:
    """Say where the dollars went: useful, unfinished, repeated, pruned, failed, cancelled, idle."""
    from shoestring import queries
    from shoestring.cli.looking import open_project
    from shoestring.spending import BY

    _, db = open_project()
    if by not in BY:
        raise UsageError(f"--by {by!r}", f"one of: {', '.join(BY)}")
    if project is not None and project not in (known := queries.projects(db)):
        raise NotFound(f"there is no project {project!r}", f"known: {', '.join(known)}" if known else "")
    if forecast:
        from shoestring.forecasts import review

        return _show_review(review(queries.runs(db, project=project, state="succeeded")), json_)
    _show_spending(queries.spends(db, project), by, project, json_)


def _show_spending(lines: list[Spend], by: str, project: str | None, json_: bool) -> None:
    from shoestring.records import MICRO, WASTED
    from shoestring.spending import added, grouped

    whole, groups = added(lines), grouped(lines, by)
    spent = sum(whole.values()) - whole["idle"]
    if json_:
        rows = [{by: key, "usd": sum(parts.values()) / MICRO, "micro": parts} for key, parts in groups.items()]
        return say_json(
            {
                "by": by,
                "project": project,
                "spent_micro": spent,
                "idle_micro": whole["idle"],
                "micro": whole,
                "rows": rows,
            }
        )
    if not lines:
        return say(NOTHING)
    wasted = sum(whole[outcome] for outcome in WASTED)
    idle = f", and ${whole['idle'] / MICRO:.6f} for idle workers" if whole["idle"] else ""
    say(f"${spent / MICRO:.6f} spent by runs, of that ${wasted / MICRO:.6f} wasted{idle}")
    for line in _table(whole, groups, by):
        say(line)
    if whole["idle"]:
        say(IDLE)


def _table(whole: dict[str, int], groups: dict[str, dict[str, int]], by: str) -> list[str]:
    """Dollars under each outcome that has any; by outcome, its share of all."""
    from shoestring.cli.planning import table
    from shoestring.records import MICRO

    total = sum(whole.values())
    outcomes = [outcome for outcome, micro in whole.items() if micro]
    if by == "outcome":
        rows = [(key, f"${sum(p.values()) / MICRO:.6f}", f"{sum(p.values()) / total:.1%}") for key, p in groups.items()]
        return table([("outcome", "dollars", "share"), *rows, ("all", f"${total / MICRO:.6f}", "")])
    head = (f"{by} (UTC)" if by == "day" else by, "dollars", *outcomes)

    def row(key: str, parts: dict[str, int]) -> tuple[str, ...]:
        cells = [f"${parts[o] / MICRO:.6f}" if parts[o] else "–" for o in outcomes]
        return (key or NO_KEY.get(by, ""), f"${sum(parts.values()) / MICRO:.6f}", *cells)

    return table([head, *(row(key, parts) for key, parts in groups.items()), row("all", whole)])


def _show_review(review: Review, json_: bool) -> None:
    from shoestring.cli.planning import money, table

    if json_:
        return say_json(review.as_json())
    if not review.forecasts:
        say("No run with planned dollars has finished in one attempt yet. Next: shoestring work --until-empty")
    else:
        head = ("run", "hardware", "known by", "planned", "10–90 %", "actual", "error", "within")
        rows: list[tuple[str, ...]] = [
            (
                f"{one.run_id} {one.name}", one.hardware, one.how or "–", money(one.p50_usd),
                f"{money(one.p10_usd)}–{money(one.p90_usd)}", money(one.actual_usd), f"{one.error:+.1%}",
                "yes" if one.inside else "no",
            )
            for one in review.forecasts
        ]  # fmt: skip
        for line in table([head, *rows]):
            say(line)
        for accuracy in review.accuracy:
            say(accuracy.words())
    if review.left_out:
        say("left out: " + ", ".join(f"{n} {why}" for why, n in review.left_out.items()))
