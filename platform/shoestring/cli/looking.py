"""Verbs that look: logs of runs, samples drawn from one. (`status` and `ui` have files of their own.)"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shoestring.cli.output import guarded, say, say_json
from shoestring.errors import Conflict, NotFound, ShoestringError, UsageError

if TYPE_CHECKING:
    from shoestring.db import Database
    from shoestring.draw_plan import Order
    from shoestring.home import Home
    from shoestring.records import Run

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ACTIVE = ("queued", "leased", "running", "stopping")


def register(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    for verb in (logs, sample):
        app.command()(guarded(verb))


def open_project() -> tuple[Home, Database]:
    """This folder's home and its database, checked to be of this version. Raises EnvironmentProblem."""
    from shoestring import migrate
    from shoestring.db import Database
    from shoestring.home import Home

    home = Home.find()
    migrate.check(home.db_url)
    return home, Database(home.db_url)


def logs(
    run: Annotated[str, typer.Argument(help="Id or name of the run.")],
    attempt: Annotated[
        int | None, typer.Option("--attempt", help="Token of the attempt; the last one if left out.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on printing until the run stops.")] = False,
    lines: Annotated[int, typer.Option("-n", min=1, help="How many last lines.")] = 50,
    json_: Json = False,
) -> None:
    """Print the last lines of a run's output."""
    from shoestring_trainer.run_dir import RunDir

    from shoestring import queries

    _, db = open_project()
    found = queries.find_run(db, run)
    tokens = _tokens(Path(found.run_dir))
    if not tokens:
        raise NotFound(f"run {found.id} has no log: no attempt was started", "shoestring work")
    token = attempt if attempt is not None else tokens[-1]
    if token not in tokens:
        raise NotFound(f"run {found.id} has no log of attempt {token}", f"attempts with a log: {tokens}")
    path = RunDir(Path(found.run_dir)).log(token)
    text = path.read_text(encoding="utf-8", errors="replace")
    last = text.splitlines()[-lines:]
    if json_:
        return say_json({"run": found.id, "attempt": token, "path": str(path), "lines": last})
    for line in last:
        say(line)
    if follow:
        for more in _follow(db, found.id, path, len(text.encode())):
            typer.echo(more, nl=False)


def sample(
    run: Annotated[str, typer.Argument(help="Id or name of the run.")],
    prompt: Annotated[list[str], typer.Option("--prompt", "-p", help="What to draw (repeat for more).")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the pictures.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**63 - 1)] = 0,
    steps: Annotated[int, typer.Option("--steps", min=1, max=1000, help="Denoising steps.")] = 20,
    guidance: Annotated[float, typer.Option("--guidance", min=0.0, max=100.0)] = 3.0,
    queue: Annotated[bool, typer.Option("--queue", help="As a small run, which a worker draws, once.")] = False,
    json_: Json = False,
) -> None:
    """Draw pictures for prompts with a run's newest checkpoint, at once or by a worker."""
    import subprocess
    import tempfile

    from shoestring_trainer.run_dir import RunDir

    from shoestring import queries
    from shoestring.draw_plan import Order, trained

    if any("\n" in text or not text.strip() for text in prompt):
        raise UsageError("a prompt is empty or has a line break", 'give one line each: --prompt "a red apple"')
    home, db = open_project()
    found = trained(queries.find_run(db, run))
    if queue:
        if out:
            raise UsageError(f"--out {out}: with --queue the pictures go to the run's own folder", "leave --out away")
        return _queue(home, db, found, Order(tuple(prompt), seed, steps, guidance), json_)
    if not RunDir(Path(found.run_dir)).published():
        raise Conflict(
            f"run {found.id} has no checkpoint yet", f"train it first: shoestring work (it is {found.state})"
        )
    out = (out or home.state / "drawings" / f"run-{found.id}-seed-{seed}").resolve()
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as prompts:
        prompts.write("\n".join(prompt) + "\n")
        prompts.flush()
        argv = [sys.executable, "-m", "shoestring_trainer.sample", found.run_dir, "--prompts-file", prompts.name]
        argv += ["--out", str(out), "--seed", str(seed), "--steps", str(steps), "--guidance", str(guidance)]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise ShoestringError(f"drawing failed: {''.join(last) or f'exit code {done.returncode}'}")
    files = sorted(str(path) for path in out.glob("*.png"))
    if json_:
        return say_json({"run": found.id, "out": str(out), "files": files})
    for file in files:
        say(file)


def _queue(home: Home, db: Database, run: Run, order: Order, json_: bool) -> None:
    """Submit a drawing and say what to do next."""
    from dataclasses import asdict

    from shoestring_trainer.run_dir import RunDir

    from shoestring import actions, provenance, queries
    from shoestring.draw_plan import plan_drawing

    plan = plan_drawing(home, run, order)
    done = actions.draw(db, plan, runs_dir=home.runs, provenance=provenance.collect(home.root))
    folder = RunDir(Path(queries.run(db, done.run_id).run_dir)).sample_step(plan.config.source.step)
    if json_:
        forecast = {"usd": asdict(plan.usd), "seconds": asdict(plan.seconds), "how": plan.how}
        facts = {"draws_from": run.id, "checkpoint": plan.config.source.checkpoint, "pictures": str(folder)}
        return say_json({**asdict(done), **facts, **forecast})
    n = plan.config.n_steps
    what = f"{n} {'picture' if n == 1 else 'pictures'} with run {run.id} ({run.name}, step {plan.config.source.step})"
    if done.existed:
        say(f"run {done.run_id} is there already ({done.state}): {what}")
    else:
        say(f"run {done.run_id} queued: {what}, about {plan.seconds.p50:.0f} s and ${plan.usd.p50:.6f}; {plan.note}")
    say(f"pictures: {folder}")
    if done.state != "succeeded":
        say(f"Next: {done.hint or 'shoestring work --until-empty'}")


def _tokens(run_dir: Path) -> list[int]:
    return sorted(int(path.parent.name.removeprefix("t")) for path in run_dir.glob("attempts/t*/log.txt"))


def _follow(db: Database, run_id: int, path: Path, offset: int) -> Iterator[str]:
    from shoestring import queries

    while True:
        over = queries.run(db, run_id).state not in ACTIVE
        with open(path, "rb") as file:
            file.seek(offset)
            chunk = file.read()
        offset += len(chunk)
        if chunk:
            yield chunk.decode("utf-8", errors="replace")
        if over:
            return
        time.sleep(0.5)
