"""`shoestring calibrate`: time the trainer's own steps on this machine, in its own process, and keep the result."""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shoestring_trainer.config import TrainConfig
from shoestring_trainer.flops import forwards_per_picture

from shoestring.calibration import (
    Calibration,
    Measured,
    Overheads,
    distinct_works,
    machine,
    merged,
    read_calibration,
    works,
    write_calibration,
)
from shoestring.cost import full_work, stage_works
from shoestring.errors import EnvironmentProblem, ShoestringError, UsageError
from shoestring.executors.local import environment, started
from shoestring.home import Home
from shoestring.plan import Survey
from shoestring.provenance import hardware
from shoestring.request import Request

SWEEP_POINTS = 2  # shapes measured for a sweep besides its base


def shapes_of(survey: Survey) -> list[tuple[Request, TrainConfig]]:
    """One request and probe config per different model or mask of the file; of a sweep, the ends of its search."""
    requests = list(survey.requests)
    for sweep in survey.sweeps:
        requests.append(sweep.base)
        numbers = {p.path: p.high for p in sweep.parameters if p.choices is None}
        choices = {p.path: p.choices[-1] for p in sweep.parameters if p.choices}
        requests += [sweep.base.with_params(point) for point in (numbers, choices) if point][:SWEEP_POINTS]
    chosen: list[tuple[Request, TrainConfig]] = []
    seen: set[str] = set()
    for request in requests:
        config = request.probe()
        new = {work.key for work in works(config)} - seen
        if new:
            seen |= new
            chosen.append((request, config))
    return chosen


def calibrate(survey: Survey, home: Home, seconds: float, tell: Callable[[str], None]) -> Calibration:
    """Measure every shape of the file here and merge it into this machine's calibration.

    `seconds` of steps are timed per shape. Raises UsageError for hardware that is elsewhere, EnvironmentProblem.
    """
    if not survey.costs.row.local:
        raise UsageError(
            f"hardware {survey.costs.name!r} is not this machine, so it cannot be measured here",
            "calibrate with a file whose `hardware` is this-machine",
        )
    chosen = shapes_of(survey)
    n = len(distinct_works(config for _, config in chosen))
    tell(f"measuring {n} shapes, about {round(n * (seconds + 4) + 10)} s")
    alike: dict[tuple[str, int], list[tuple[Request, TrainConfig]]] = {}  # what one start of processes can time
    for pair in chosen:
        alike.setdefault((pair[1].compute.device, pair[1].compute.processes), []).append(pair)
    stored = read_calibration(home.calibrations, machine(hardware()))
    for pairs in alike.values():
        answer = _run_measure([config for _, config in pairs], seconds, tell)
        stored = merged(stored, from_measure(answer, pairs, stored.machine))
    stored = replace(stored, measured_at=datetime.now(UTC).isoformat(timespec="seconds"))
    write_calibration(home.calibrations, stored)
    return stored


def from_measure(
    answer: dict[str, Any], chosen: Sequence[tuple[Request, TrainConfig]], machine_name: str
) -> Calibration:
    """Turn the trainer's measurements into a calibration. `chosen` are the requests and configs that were measured."""
    by_key = {one["key"]: one for one in answer["measured"]}
    startup_s = answer["overheads"]["startup_s"]
    drift = drift_of([one["s_per_step_rounds"] for one in answer["measured"]])
    shapes: dict[str, Measured] = {}
    overheads: dict[str, Overheads] = {}
    for request, config in chosen:
        for work in works(config):
            one = by_key[work.key]
            spread = math.hypot(one["s_per_step_spread"] / one["s_per_step"] / max(1.0, one["n_steps"]) ** 0.5, drift)
            shapes[work.key] = Measured(one["s_per_step"], spread, work.flops, work.parameters, work.kind)
            overheads.setdefault(work.model_key, _overheads(one, request, startup_s))
    return Calibration(machine_name, shapes, overheads)


def drift_of(rounds: Sequence[Sequence[float]]) -> float:
    """How much this machine's speed wanders: relative standard deviation of a shape's rounds, which lie minutes apart.

    `rounds`: for each shape its seconds a step in each round. More steps do not make it smaller, so it is added to
    what they leave uncertain. 0 where nothing was measured twice.
    """
    apart = [(statistics.fmean(one), one) for one in rounds if len(one) > 1]
    squares = sum((seconds / mean - 1) ** 2 for mean, one in apart for seconds in one)
    return math.sqrt(squares / freedom) if (freedom := sum(len(one) - 1 for _, one in apart)) else 0.0


def _overheads(one: dict[str, Any], request: Request, startup_s: float) -> Overheads:
    """Per forward FLOP, so that other numbers of images, noise levels and sampler steps can be priced."""
    full = full_work(stage_works(request)).forward_flops
    picture_s = one["s_per_picture"]
    samples = request.samples
    # Without samples in the request the trainer timed its default grid: 10 dpmpp2m steps with guidance.
    forwards = forwards_per_picture(samples.sampler, samples.n_steps, samples.guidance) if samples else 20
    return Overheads(
        startup_s=startup_s,
        s_per_val_flop=one["s_per_val_image"] / len(request.evaluate.sigmas) / full,
        s_per_sample_flop=max(0.0, one["s_per_sample_image"] - picture_s) / forwards / full,
        s_per_sample_image=picture_s,
        s_per_checkpoint=one["s_per_checkpoint"],
    )


def _run_measure(configs: list[TrainConfig], seconds: float, tell: Callable[[str], None]) -> dict[str, Any]:
    """Run the trainer's `measure`, as the processes that all of these ask for, and read its answer.

    Raises EnvironmentProblem with its last words.
    """
    compute = configs[0].compute
    with tempfile.TemporaryDirectory(prefix="shoestring-measure-") as folder:
        asked, out = Path(folder) / "configs.json", Path(folder) / "measured.json"
        asked.write_text(json.dumps([config.model_dump(mode="json") for config in configs]))
        argv = started(["shoestring_trainer.measure", str(asked), "--out", str(out)], compute)
        log = Path(folder) / "log.txt"
        with (
            open(log, "w+b") as errors,
            subprocess.Popen(
                [*argv, "--seconds", str(seconds)], stdout=subprocess.PIPE, stderr=errors, env=environment(compute)
            ) as process,
        ):
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    tell("  " + line.decode(errors="replace").rstrip())
            except BaseException:
                process.terminate()
                raise
        if process.returncode or not out.exists():
            words = log.read_text(errors="replace").strip().splitlines()[-5:]
            raise EnvironmentProblem(
                f"measuring failed (exit {process.returncode}): " + " / ".join(words or ["it said nothing"]),
                "run `shoestring doctor`",
            )
        try:
            answer: dict[str, Any] = json.loads(out.read_bytes())
        except ValueError as error:
            raise ShoestringError(f"the trainer's measurements are not JSON: {error}") from None
        return answer
