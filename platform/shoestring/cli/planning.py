"""Verbs before anything runs: plan, schema, diff, calibrate."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from shoestring.cli.output import guarded, say, say_json

if TYPE_CHECKING:
    from shoestring.plan import FilePlan, RunPlan
    from shoestring.ranges import Range

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
File = Annotated[Path, typer.Argument(help="The experiments file.")]
EXPERIMENTS = Path("experiments.yaml")
Number = TypeVar("Number", int, float)


def register(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    for verb in (plan, schema, diff, calibrate):
        app.command()(guarded(verb))


def plan(
    file: File = EXPERIMENTS,
    only: Annotated[list[str] | None, typer.Option("--only", help="Only this experiment (repeat for more).")] = None,
    detail: Annotated[bool, typer.Option("--detail", help="Show each run's stages and components.")] = False,
    on: Annotated[str, typer.Option("--on", help="Price it on these rows of the catalogue too: A,B or all.")] = "",
    run: Annotated[str, typer.Option("--run", help="Price this run of the database again, by id or name.")] = "",
    json_: Json = False,
) -> None:
    """Show what each run will be and cost: parameters, FLOPs, steps, hours, dollars, memory. Nothing runs."""
    from shoestring.cli.pricing import quote_lines, quotes_json, quotes_on
    from shoestring.home import Home
    from shoestring.plan import plan_file

    if run:
        return _price_again(run, on or "all", json_)
    planned = plan_file(file, only=only or (), described=True)
    home = Home.find(file.resolve().parent)
    quotes = quotes_on(home, on, [one.config for one in planned.runs]) if on else {}
    if json_:
        return say_json(planned.as_json() | ({"on": quotes_json(quotes)} if on else {}))
    for line in plan_lines(planned, detail):
        say(line)
    for line in quote_lines(quotes) if on else ():
        say(line)


def _price_again(name: str, on: str, json_: bool) -> None:
    """What a run of the database took, and what it would cost on other rows."""
    from shoestring_trainer.config import TrainConfig

    from shoestring import queries
    from shoestring.cli.looking import open_project
    from shoestring.cli.pricing import quote_lines, quotes_json, quotes_on
    from shoestring.draw_plan import trained
    from shoestring.errors import EnvironmentProblem
    from shoestring.quotes import measured

    home, db = open_project()
    found = queries.find_run(db, name)
    if found.unreadable:
        raise EnvironmentProblem(f"run {found.id} cannot be read: {found.unreadable}", "submit it again")
    config = TrainConfig.model_validate(trained(found).config)
    past = measured(config, found.step, found.spent_usd)
    whole = found.state == "succeeded" and found.step == config.n_steps  # else its hours are of a part, or of too much
    quotes = quotes_on(home, on, [config], past if whole else None)
    if json_:
        return say_json({"run": found.id, "name": found.name, "measured": vars(past), "on": quotes_json(quotes)})
    speed = f", {past.flops_per_s / 1e9:.3g} GFLOP/s overheads included" if past.hours else ""
    took = f"{duration(past.hours)} and {money(past.usd)}" if past.usd else "nothing"
    say(f"{found.name} ({found.state}, step {found.step} of {config.n_steps}): took {took} of {config.price.hardware}, "
        f"{past.flop:.4g} FLOP{speed}")  # fmt: skip
    for line in quote_lines(quotes):
        say(line)


def schema(json_: Json = True) -> None:
    """Print the JSON Schema of the experiments file, for editors."""
    from shoestring.schema import spec_schema

    say_json(spec_schema())


def diff(
    a: Annotated[str, typer.Argument(help="An experiment, a run's name, or a run's number.")],
    b: Annotated[str, typer.Argument(help="Another one.")],
    file: Annotated[Path, typer.Option("--file", "-f", help="The file that names experiments.")] = EXPERIMENTS,
    json_: Json = False,
) -> None:
    """Show what differs between two requests, and nothing else."""
    from shoestring.diff import differences

    found = differences(_request(a, file), _request(b, file))
    if json_:
        return say_json({"a": a, "b": b, "differences": [vars(d) for d in found]})
    if not found:
        say(f"{a} and {b} ask for the same.")
    for d in found:
        left, right = (_short(v) if there else "–" for v, there in ((d.a, d.in_a), (d.b, d.in_b)))
        say(f"{d.path}: {left} → {right}")


def calibrate(
    file: File = EXPERIMENTS,
    seconds: Annotated[float, typer.Option(min=0.1, max=600, help="Seconds of steps timed per shape.")] = 6.0,
    again: Annotated[bool, typer.Option("--again", help="Measure even if every shape of the file is known.")] = False,
    json_: Json = False,
) -> None:
    """Measure how long this machine takes for the steps of a file, so that dollars become whole steps."""
    from dataclasses import asdict

    from shoestring.calibration import distinct_works
    from shoestring.home import Home
    from shoestring.measuring import calibrate as measure
    from shoestring.measuring import shapes_of
    from shoestring.plan import survey

    surveyed = survey(file)
    home, known = Home.find(file.resolve().parent), surveyed.costs.calibration
    wanted = distinct_works(config for _, config in shapes_of(surveyed))
    fresh = not again and surveyed.costs.row.local and bool(wanted) and set(wanted) <= set(known.shapes)
    if not fresh:
        # Progress goes to the error stream: standard output stays one JSON document.
        known = measure(surveyed, home, seconds, lambda line: print(line, file=sys.stderr, flush=True))
    if json_:
        return say_json({"machine": known.machine, "measured": not fresh, **asdict(known)})
    say(f"{known.machine}: {len(known.shapes)} shapes known")
    for key, work in wanted.items():
        shape = known.shapes[key]
        speed = shape.flops / shape.s_per_step / 1e9
        say(f"  {key}  {shape.s_per_step:8.4f} s a step  ± {100 * shape.spread:3.1f} %  {speed:6.1f} GFLOP/s  "
            f"{mask_words(work.mask.model_dump())}")  # fmt: skip
    say("nothing to measure; --again measures again" if fresh else f"Next: shoestring plan {file}")


# ── text ────────────────────────────────────────────────────────────────────────────────────────


def plan_lines(planned: FilePlan, detail: bool = False) -> list[str]:
    """The plan as a table, its sum, warnings and the next command; lines of at most 100 columns.

    One run alone is shown with its stages and components, all of them with `detail`.
    """
    head = ("run", "params", "tokens", "GFLOP/img", "steps", "images", "time", "dollars, 10–90 %", "memory")
    lines = table([head, *(_row(run) for run in planned.runs)])
    if detail or len(planned.runs) == 1:
        for run in planned.runs:
            lines += ["", *detail_lines(run)]
    totals, needs = planned.totals, planned.needs
    work = f"{totals['flop']:.4g} FLOP, {totals['gpu_hours']:.3g} device-hours"
    lines += ["", f"{_runs(len(planned.runs))}: {spread(needs.usd, money)}, {work}"]
    lines.append(f"{spread(needs.hours, duration)}; memory at its peak {spread(needs.memory_bytes, size)}")
    for sweep in planned.sweeps:
        lines.append(
            f"sweep {sweep.sweep.name}: {sweep.sweep.trials} trials of {money(sweep.trial.usd.p50)}, "
            f"{spread(sweep.usd, money)} and {duration(sweep.needs.hours.p50)} in all"
            + (f", at most {money(sweep.sweep.max_usd)}" if sweep.sweep.max_usd else "")
        )
    if planned.runs:
        price = planned.runs[0].config.price
        lines.append(f"at ${price.usd_per_hour:g} an hour ({price.hardware}), {planned.runs[0].note}")
    if planned.max_usd is not None:
        over = planned.usd_with_sweeps.p90 > planned.max_usd
        lines.append(f"budget ${planned.max_usd:g}: " + ("refused at submission, too little" if over else "enough"))
    lines += [f"warning: {warning}"[:100] for warning in planned.warnings]
    built = f"build data/{', data/'.join(planned.unbuilt)}, then " if planned.unbuilt else ""
    return [*lines, f"Next: {built}shoestring submit {planned.file}"]


def _row(run: RunPlan) -> tuple[str, ...]:
    kept = _each(run.tokens_kept, str)
    gflop = _each([sum(parts.values()) / 1e9 for parts in run.forward_flops], lambda g: f"{g:#.3g}".rstrip("."))
    steps = _each(run.steps, str)
    spread = money(run.usd.p50)
    if run.usd.p50:
        low, high = (round(100 * (p / run.usd.p50 - 1)) for p in (run.usd.p10, run.usd.p90))
        spread += f" {low:+d}{high:+d} %"
    memory = size(run.needs.memory_bytes.p50)
    kept, images = f"{kept}/{run.tokens}", _count(run.images)
    return (
        run.name if len(run.name) <= 20 else run.name[:19] + "…",
        _count(run.parameters),
        kept,
        gflop,
        steps,
        images,
        duration(run.hours),
        spread,
        memory,
    )


def detail_lines(run: RunPlan) -> list[str]:
    """One run: what each stage needs, FLOPs by component, memory by part, and what other ways of computing it take."""
    head = ("stage", "mask", "tokens", "steps", "time, 10–90 %", "dollars, 10–90 %", "memory")
    rows = [
        (
            f"{i + 1}",
            mask_words(stage.mask.model_dump()),
            f"{run.tokens_kept[i]}/{run.config.n_tokens_at(i)}",
            f"{run.steps[i]:,}",
            spread(run.stages[i].hours, duration),
            spread(run.stages[i].usd, money),
            size(run.stages[i].memory_bytes.p50),
        )
        for i, stage in enumerate(run.config.stages[-len(run.steps) :])
    ]
    lines = [f"{run.name}: {spread(run.needs.hours, duration)}, {spread(run.usd, money)}", *table([head, *rows])]
    parts = [part for part in run.forward_flops[0] if any(stage[part] for stage in run.forward_flops)]
    per_stage = [f"stage {i + 1}" for i in range(len(run.forward_flops))]
    counted = [
        (part, *(f"{stage[part] / 1e9:.3g} + {2 * stage[part] / 1e9:.3g}" for stage in run.forward_flops))
        for part in parts
    ]
    lines += ["", *table([("GFLOP an image, forward + backward", *per_stage), *counted])]
    memory = ", ".join(f"{part} {size(n_bytes)}" for part, n_bytes in run.memory_bytes.items())
    lines += ["", f"memory at its peak {spread(run.needs.memory_bytes, size)}:", f"  {memory}"]
    lines.append(f"FLOP: {run.flop:.4g} with experts' tokens gathered, as here")
    if run.dispatch_flop:
        lines.append(f"      {run.flop + run.dispatch_flop:.4g} with one-hot dispatch, as published")
    if run.unmasked_flop > run.flop * (1 + 1e-9):
        lines.append(f"      {run.unmasked_flop:.4g} without masks, {run.unmasked_flop / run.flop:.2f} × as much")
    return lines


def table(rows: list[tuple[str, ...]]) -> list[str]:
    """Align columns: the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def money(usd: float) -> str:
    """Dollars with three significant digits, and never fewer decimals than cents."""
    if usd >= 1000:
        return f"${usd:,.0f}"
    decimals = 2
    while decimals < 6 and 0 < usd < 10 ** (2 - decimals):
        decimals += 1
    return f"${usd:.{decimals}f}"


def spread(number: Range, words: Callable[[float], str]) -> str:
    """A forecast in words: the middle, and in brackets the 10th and 90th percentile."""
    return f"{words(number.p50)} ({words(number.p10)}–{words(number.p90)})"


def size(n_bytes: float) -> str:
    return f"{n_bytes / 2**30:.1f} GiB" if n_bytes >= 2**30 else f"{n_bytes / 2**20:.0f} MiB"


def duration(hours: float) -> str:
    seconds = hours * 3600
    if seconds < 100:
        return f"{seconds:.0f} s"
    if hours < 3:
        return f"{seconds / 60:.{1 if seconds < 600 else 0}f} min"
    return f"{hours:,.0f} h"


def mask_words(mask: dict[str, Any]) -> str:
    return "every token" if mask["kind"] == "none" else f"{mask['place']} {mask['ratio']:g}"


def _runs(n: int) -> str:
    return "1 run" if n == 1 else f"{n} runs"


def _each(values: Sequence[Number], words: Callable[[Number], str]) -> str:
    """One number a stage; of more than two the first and the last."""
    between = "+" if len(values) <= 2 else "…"
    return between.join(map(words, values if len(values) <= 2 else (values[0], values[-1])))


def _count(n: int) -> str:
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if n >= size:
            return f"{n / size:.3g} {unit}"
    return str(n)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:59] + "…"


def _request(name: str, file: Path) -> dict[str, Any]:
    """The request called `name`: a run of the database by number, or an experiment or run of the file.

    Raises NotFound.
    """
    from shoestring.errors import NotFound
    from shoestring.faults import did_you_mean

    if not name.isdigit() and file.is_file():
        from shoestring.plan import survey

        requests = survey(file, described=True).requests
        for request in requests:
            if name in (request.name, request.experiment):
                return request.model_dump(mode="json")
        known = {known for r in requests for known in (r.experiment, r.name)}
        if "/" not in name:
            raise NotFound(f"{file} has no experiment {name!r}", did_you_mean(name, known))
    from shoestring import migrate, queries
    from shoestring.db import Database
    from shoestring.home import Home

    home = Home.find()
    migrate.check(home.db_url)
    return queries.find_run(Database(home.db_url), name).spec
