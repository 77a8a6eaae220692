"""Weights from elsewhere, and for elsewhere: the trainer's import and export modules in processes of their own."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from shoestring_trainer.config import DataConfig, Stage, TrainConfig
from shoestring_trainer.manifest import read_manifest
from shoestring_trainer.run_dir import RunDir

from shoestring import actions
from shoestring.db import Database
from shoestring.draw_plan import trained
from shoestring.errors import Conflict, NotFound, ShoestringError, UsageError
from shoestring.faults import did_you_mean
from shoestring.home import Home
from shoestring.plan import RunPlan, Survey, extend_plan, read_data
from shoestring.records import Run
from shoestring.request import Request
from shoestring.request_parts import NAME
from shoestring.showcase import start_from


@dataclass(frozen=True)
class Source:
    """A file of public weights and what its shapes do not tell: `model` is a preset or a JSON file of sizes."""

    file: Path
    name: str = ""
    data: str = ""  # a set under data/, or a folder
    model: str = ""
    prefix: str | None = None


@dataclass(frozen=True)
class Exchanged:
    """A run that took weights in or gave them out; `facts` is the trainer's word."""

    run_id: int
    existed: bool
    facts: dict[str, Any]


def import_weights(home: Home, db: Database, source: Source, project: str, provenance: dict[str, Any]) -> Exchanged:
    """Make a finished run of a file of public weights, once: the same file, sizes and data set give the same run.

    Raises NotFound, EnvironmentProblem (no such data set), ShoestringError with the trainer's reason.
    """
    if not source.file.is_file():
        raise NotFound(f"{source.file} is not a file", "give a .safetensors or .pt of the public MicroDiT layout")
    data = read_data(home, source.data)
    origin = {"file": source.file.name, "sha256": _sha256(source.file)}
    told = {"model": _content(source.model), "prefix": source.prefix}
    spec_hash = hashlib.sha256(json.dumps([origin["sha256"], data.digest, told]).encode()).hexdigest()
    root = home.runs / f"import-{spec_hash[:12]}"
    name = source.name or re.sub(r"[^a-z0-9._-]+", "-", source.file.stem.lower()).strip("-._")[:64] or "imported"
    if not re.fullmatch(NAME, name):
        raise UsageError(f"--name {name!r}", "lower-case letters, digits, dots, dashes and underscores, at most 64")
    run_name, facts = f"{name}/{origin['sha256'][:8]}", {}
    if not RunDir(root).published():
        arguments = [str(source.file), "--data", data.path, "--out", str(root), "--name", run_name]
        arguments += ["--model", source.model] if source.model else []
        arguments += ["--prefix", source.prefix] if source.prefix is not None else []
        try:
            facts = _trainer("import_public", arguments)
        except ShoestringError as error:
            error.hint = (_sets(home) if error.code == "bad_data" else "") or error.hint
            raise
    one = actions.Submission(
        name=run_name,
        experiment=name,
        project=project,
        seed=0,
        spec_hash=spec_hash,
        config=RunDir(root).read_config(),
        spec={"import": {**origin, **told, "data": data.name}},
        kind="import",
        provenance={**provenance, "data_digest": data.digest, "imported": origin},
    )
    done = actions.record_import(db, one, run_dir=root, checkpoint=RunDir(root).published()[0])
    return Exchanged(done.run_id, done.existed, facts)


def export_weights(run: Run, out: Path, *, raw: bool = False, as_folder: bool = False) -> Exchanged:
    """Write a run's newest checkpoint to a file in the public layout, or to a folder that diffusers loads.

    Raises Conflict (no checkpoint), UsageError, ShoestringError with the trainer's reason.
    """
    if not RunDir(Path(trained(run).run_dir)).published():
        raise Conflict(f"run {run.id} has no checkpoint yet", f"train it first: shoestring work (it is {run.state})")
    if not as_folder and out.suffix != ".safetensors":
        raise UsageError(f"--out {out}: weights are written as .safetensors only", f"--out {out.stem}.safetensors")
    arguments = [run.run_dir, "--out", str(out.resolve()), *(["--raw"] if raw else [])]
    return Exchanged(run.id, True, _trainer("export_diffusers" if as_folder else "export_public", arguments))


def submit_finetune(
    home: Home, db: Database, survey: Survey, run: Run, experiment: str, extra_usd: float, provenance: dict[str, Any]
) -> actions.Submitted:
    """Queue `run`'s weights to be trained on for `extra_usd` with the stages of an experiment of the file.

    Raises NotFound, Conflict, UsageError, PlanRefused.
    """
    if run.state != "succeeded":
        raise Conflict(f"run {run.id} is {run.state}: only a finished run is trained on", f"shoestring status {run.id}")
    planned = plan_finetune(survey, run, experiment, extra_usd)
    origin: dict[str, Any] = {"kind": "finetune", "parent_id": run.id, "provenance": provenance}
    return actions.submit_plans(db, [planned], runs_dir=home.runs, **origin)[0]


def plan_finetune(survey: Survey, run: Run, experiment: str, extra_usd: float) -> RunPlan:
    """Price it: the experiment's recipe with the run's own network and objective. Raises NotFound, Conflict."""
    request = _request(survey, experiment)
    config = TrainConfig.model_validate(trained(run).config)
    start = start_from(run, f"shoestring status {run.id}")
    if request.data.digest != config.data.digest:
        raise Conflict(
            f"run {run.id} was made for {config.data.name} with digest {config.data.digest[:12]}, and {experiment} "
            f"trains on {request.data.name} with digest {request.data.digest[:12]}",
            "name the run's own data set in the file, or import the weights again with that one",
        )
    if request.optimizer.kind != config.optimizer.kind:
        raise Conflict(
            f"run {run.id} has the state of {config.optimizer.kind}, and {experiment} trains with "
            f"{request.optimizer.kind}",
            f"choose an experiment with optimizer kind {config.optimizer.kind}",
        )
    request = request.with_params({"model": config.model.model_dump(), "objective": config.objective.model_dump()})
    request = request.called(f"finetune/{run.name.replace('/', '-')}-{experiment}", notes=f"continues run {run.id}")
    planned = extend_plan(request, config, start, extra_usd, survey.costs)
    return planned if run.kind != "import" else _with_warmup(planned, request)


def _with_warmup(planned: RunPlan, request: Request) -> RunPlan:
    """Put the recipe's warm-ups back: the optimiser of imported weights is cold."""
    first = len(planned.config.stages) - len(request.stages)
    stages: list[Stage] = list(planned.config.stages[:first])
    for stage, asked in zip(planned.config.stages[first:], request.stages, strict=True):
        stages.append(stage.model_copy(update={"warmup_steps": asked.warmup_steps}))
    return replace(planned, config=planned.config.model_copy(update={"stages": tuple(stages)}))


def _request(survey: Survey, experiment: str) -> Request:
    found = [r for r in survey.requests if experiment in (r.experiment, r.name)]
    if not found:
        known = {name for r in survey.requests for name in (r.experiment, r.name)}
        raise NotFound(f"{survey.spec.file} has no experiment {experiment!r}", did_you_mean(experiment, known))
    return min(found, key=lambda request: request.seed)


def _trainer(module: str, arguments: list[str]) -> dict[str, Any]:
    """Run a module of the trainer; its answer is its last line, JSON. Raises ShoestringError with its reason."""
    argv = [sys.executable, "-m", f"shoestring_trainer.{module}", *arguments]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode == 0:
        return json.loads(done.stdout.strip().splitlines()[-1])
    last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    kind, _, reason = last.partition(": ")
    known = kind in ("bad_checkpoint", "bad_config", "bad_data", "disk_full", "out_of_memory")
    raise ShoestringError(reason if known else last, code=kind if known else None)


def _sets(home: Home) -> str:
    """The data sets there are, and what a network must have to draw them."""
    sets = [_read(path.parent) for path in sorted(home.data.glob("*/manifest.json"))]
    told = [f"{d.name} (captions {d.caption_dim} wide, {'×'.join(map(str, d.shape))})" for d in sets if d]
    return f"data sets here: {', '.join(told)}; choose with --data" if told else ""


def _read(folder: Path) -> DataConfig | None:
    try:
        return read_manifest(folder)
    except (FileNotFoundError, ValueError):
        return None


def _content(model: str) -> str:
    """What `--model` says: a preset's name, or a JSON file's content."""
    return Path(model).read_text(encoding="utf-8") if model and Path(model).is_file() else model


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
