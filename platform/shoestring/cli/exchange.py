"""Verbs that exchange weights with the outside world: import, export, finetune."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shoestring.cli.looking import open_project
from shoestring.cli.output import guarded, say, say_json
from shoestring.errors import UsageError

if TYPE_CHECKING:
    from shoestring.exchange import Exchanged

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
RunName = Annotated[str, typer.Argument(help="Id or name of the run.")]
Spec = Annotated[Path, typer.Option("--spec", help="The experiments file.")]
EXPERIMENTS = Path("experiments.yaml")


def register(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    app.command("import")(guarded(import_))
    for verb in (export, finetune):
        app.command()(guarded(verb))


def import_(
    file: Annotated[Path, typer.Argument(help="Weights in the public MicroDiT layout: .safetensors, or .pt.")],
    name: Annotated[str, typer.Option("--name", help="The run's name; default: the file's.")] = "",
    data: Annotated[str, typer.Option("--data", help="Data set to draw with; default: the experiments file's.")] = "",
    model: Annotated[
        str, typer.Option("--model", help="A preset or a JSON file of sizes, for what shapes do not tell.")
    ] = "",
    prefix: Annotated[
        str | None, typer.Option("--prefix", help="What stands before the layout's names, if several do.")
    ] = None,
    spec: Spec = EXPERIMENTS,
    json_: Json = False,
) -> None:
    """Take in public MicroDiT weights as a finished run, to be sampled, fine-tuned and exported."""
    from shoestring import exchange, provenance
    from shoestring.spec import read_spec

    home, db = open_project()
    top = read_spec(spec).top if spec.is_file() else None
    if top is None and not data:
        raise UsageError(f"there is no {spec} to name a data set", "--data NAME")
    source = exchange.Source(file, name, data or (top.data if top else ""), model, prefix)
    project = top.project if top else "imported"
    done = exchange.import_weights(home, db, source, project, provenance.collect(home.root))
    if json_:
        return _say_exchanged(done)
    say(f"run {done.run_id} {'is there already' if done.existed else 'imported'}")
    if left := done.facts.get("left_out"):
        say(f"  {left} tensors of the file belong to something else and were left out")
    say(f'Next: shoestring sample {done.run_id} --prompt "…"')


def export(
    run: RunName,
    out: Annotated[Path | None, typer.Option("--out", help="A .safetensors file, in the public layout.")] = None,
    diffusers: Annotated[Path | None, typer.Option("--diffusers", help="A new folder that diffusers loads.")] = None,
    raw: Annotated[bool, typer.Option("--raw", help="The trained weights; default: their moving average.")] = False,
    json_: Json = False,
) -> None:
    """Write a run's newest weights for others: the public MicroDiT layout, or a folder that diffusers loads."""
    from shoestring import exchange, queries

    target = diffusers or out
    if target is None or (diffusers and out):
        raise UsageError("give exactly one of --out FILE.safetensors and --diffusers DIR")
    _, db = open_project()
    done = exchange.export_weights(queries.find_run(db, run), target, raw=raw, as_folder=diffusers is not None)
    if json_:
        return _say_exchanged(done)
    say(f"run {done.run_id}, step {done.facts['step']}: {done.facts['out']}")


def finetune(
    run: RunName,
    like: Annotated[str, typer.Option("--like", help="The experiment whose stages and settings it gets.")],
    usd: Annotated[float, typer.Option("--usd", min=0, max=1e9, help="Dollars to train on for.")],
    spec: Spec = EXPERIMENTS,
    json_: Json = False,
) -> None:
    """Queue a finished run's weights (imported ones too) to be trained on, in the manner of an experiment."""
    from dataclasses import asdict

    from shoestring import exchange, plan, provenance, queries

    home, db = open_project()
    found = queries.find_run(db, run)
    survey = plan.survey(spec, home)
    done = exchange.submit_finetune(home, db, survey, found, like, usd, provenance.collect(home.root))
    if json_:
        return say_json(asdict(done))
    say(f"run {done.run_id} {f'is there already ({done.state})' if done.existed else 'queued'}: continues {found.name}")
    if done.state != "succeeded":
        say("Next: shoestring work --until-empty")


def _say_exchanged(done: Exchanged) -> None:
    say_json({"run": done.run_id, "existed": done.existed, **done.facts})
