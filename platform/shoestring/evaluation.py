"""Quality on demand: the trainer's quality module in a process of its own, its numbers stored as the run's metrics."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from shoestring_trainer.run_dir import RunDir

from shoestring import actions
from shoestring.db import Database
from shoestring.draw_plan import trained
from shoestring.errors import Conflict, ShoestringError, UsageError
from shoestring.records import Run

ENDED = ("succeeded", "failed", "cancelled")
Weights = Literal["ema", "raw", "untrained"]
SUFFIX: dict[Weights, str] = {"ema": "", "raw": "_raw", "untrained": "_untrained"}  # of the metrics' names


@dataclass(frozen=True)
class Evaluation:
    """What was measured of a run. `values` are the metrics stored, `facts` the whole JSON, `reused` an earlier one."""

    run_id: int
    step: int
    values: dict[str, float]
    facts: dict[str, Any]
    path: Path
    reused: bool


def evaluate(db: Database, run: Run, n: int, *, weights: Weights = "ema", again: bool = False) -> Evaluation:
    """Measure a run's quality on `n` pictures and store it at its last step; reuse an equal earlier measurement.

    `weights`: the average (what samples are drawn with), the trained ones themselves, or those before training.

    Raises UsageError, Conflict (still in the queue, or without a checkpoint), ShoestringError with the trainer's word.
    """
    if n < 3:
        raise UsageError(f"--n {n}: at least 3 pictures", "300 and more give a usable standard error")
    if run.state not in ENDED:
        raise Conflict(f"run {run.id} is {run.state}: its weights still change", "shoestring work --until-empty")
    folder = RunDir(Path(trained(run).run_dir))
    if weights != "untrained" and not folder.published():
        raise Conflict(f"run {run.id} has no checkpoint", f"it is {run.state}; shoestring retry {run.id}")
    which = "" if weights == "ema" else f"-{weights}"
    path = folder.root / "evaluations" / f"step-{run.step:08d}-n{n}{which}.json"
    facts = None if again else _read(path)
    reused = facts is not None
    if facts is None:
        _measure(folder.root, path, n, weights)
        facts = _read(path)
        if facts is None:
            raise ShoestringError(f"the measurement left nothing readable in {path}", "run it again")
    values = metrics_of(facts, weights)
    actions.record_evaluation(db, run.id, run.step, values)
    return Evaluation(run.id, run.step, values, facts, path, reused)


def metrics_of(facts: dict[str, Any], weights: Weights = "ema") -> dict[str, float]:
    """The `eval/…` numbers of a measurement; those of other weights than the average under names of their own."""
    return {
        f"{key}{SUFFIX[weights]}": float(value)
        for key, value in facts.items()
        if key.startswith("eval/") and isinstance(value, int | float)
    }


def _measure(root: Path, out: Path, n: int, weights: Weights) -> None:
    """Run the quality module, its progress on our standard error. Raises ShoestringError with its last line."""
    out.parent.mkdir(parents=True, exist_ok=True)
    argv = [sys.executable, "-m", "shoestring_trainer.quality", str(root), "--n", str(n), "--out", str(out)]
    argv += [] if weights == "ema" else [f"--{weights}"]
    last = ""
    with subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout
        for line in process.stdout:
            last = line.strip() or last
            if sys.stderr.isatty():
                print(f"  {last}", file=sys.stderr)
    if process.returncode:
        raise ShoestringError(
            f"measuring failed: {last or f'exit code {process.returncode}'}",
            "the extras are needed: pip install -c constraints.txt -e .[data]" if "No module" in last else "",
        )


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
