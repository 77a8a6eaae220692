"""MLflow as a mirror: one MLflow run for each run, projected from our database. The only file with mlflow.

The database is the truth; a mirror can be made again at any time and gives the same. It runs in a process of its own
(`python -m shoestring.tracking`), outside every run's billed time: importing mlflow takes seconds, and on a small
machine it would steal them from training. Whatever goes wrong here is told and never stops a run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shoestring_trainer.run_dir import RunDir, write_atomic

from shoestring import queries
from shoestring.db import Database
from shoestring.home import Home
from shoestring.records import DRAWING, Run

PARAMS_PER_BATCH, METRICS_PER_BATCH, PARAM_CHARS = 100, 1000, 6000  # MLflow's own limits
STATUS = {"succeeded": "FINISHED", "failed": "FAILED", "cancelled": "KILLED"}  # of runs that have ended
HELD = ("leased", "running", "stopping")
SENT = "mlflow-sent.json"  # run id → what it looked like when it was last mirrored


@dataclass(frozen=True)
class Mirrored:
    """What a call of the mirror did: runs sent, and the problem of each that could not be."""

    sent: int
    problems: list[str]


class Tracker:
    """Starts mirrors beside the worker: low priority, in the background or waited for."""

    def __init__(self, home: Home, db_url: str, every_s: float = 1800.0) -> None:
        self.home, self.db_url, self.every_s = home, db_url, every_s
        self._process: subprocess.Popen[str] | None = None
        self._started_at = time.monotonic()

    def tick(self) -> None:
        """Mirror in the background if the last mirror is long ago and none runs."""
        if time.monotonic() - self._started_at >= self.every_s and not self._busy():
            self._start(nice=15)

    def finish(self, db: Database, timeout_s: float = 600.0) -> str:
        """Mirror all that changed and wait for it. Returns "" or what went wrong."""
        try:
            if self._busy():
                assert self._process
                self._process.communicate(timeout=timeout_s)
            if not stale(self.home, queries.runs(db)):
                return ""
            out, err = self._start().communicate(timeout=timeout_s)
            report = json.loads(out) if out.strip() else {"problems": [err.strip()[-2000:] or "no answer"]}
            return "; ".join(report["problems"])
        except Exception as error:  # a mirror must never stop a run
            return f"{type(error).__name__}: {error}"

    def close(self) -> None:
        """Stop a mirror that is still running; what it did not send goes with the next one."""
        if self._busy():
            assert self._process
            self._process.terminate()
            self._process.wait()

    def _busy(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _start(self, nice: int = 0) -> subprocess.Popen[str]:
        self._started_at = time.monotonic()
        command = [sys.executable, "-m", "shoestring.tracking", "--all", "--nice", str(nice)]
        command += ["--root", str(self.home.root), "--state", str(self.home.state)]
        pipe = subprocess.PIPE
        env = {**os.environ, "SHOESTRING_DB": self.db_url}
        self._process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=env, start_new_session=True)
        return self._process


def stale(home: Home, runs: list[Run]) -> list[Run]:
    """The runs that changed since they were last mirrored; needs no mlflow."""
    sent = _read_sent(home) if (home.state / "mlflow.db").exists() else {}
    mine = [run for run in runs if run.attempts and run.kind != DRAWING]  # pictures somebody asked for train nothing
    return [run for run in mine if sent.get(str(run.id)) != _stamp(run)]


def mirror_all(home: Home, db: Database, run_ids: list[int] | None = None) -> Mirrored:
    """Mirror the runs that changed, or exactly `run_ids` with whatever MLflow lacks of them.

    Each problem is told, none is raised.
    """
    todo = [queries.run(db, run_id) for run_id in run_ids] if run_ids else stale(home, queries.runs(db))
    if not todo:
        return Mirrored(0, [])
    problems = []
    with _one_at_a_time(home):
        try:
            mirror = Mirror(home, db)
        except Exception as error:
            return Mirrored(0, [f"{home.mlflow_url}: {type(error).__name__}: {error}"])
        for run in todo:
            try:
                mirror.mirror(run, whole=bool(run_ids))
                _write_sent(home, run)
            except Exception as error:  # one run that cannot be mirrored must not hide the others
                problems.append(f"run {run.id}: {type(error).__name__}: {error}")
    return Mirrored(len(todo) - len(problems), problems)


def mirrored(home: Home, run: Run, key: str) -> dict[int, float]:
    """What MLflow holds of one metric of a run: step → value; empty when it has no such run."""
    if not (home.state / "mlflow.db").exists():
        return {}
    client = _client(home)
    experiment = client.get_experiment_by_name(run.project)
    found = _search(client, experiment.experiment_id, run) if experiment else None
    history = client.get_metric_history(found.info.run_id, key) if found else []
    return {metric.step: metric.value for metric in history}


class Mirror:
    """One MLflow client on this project's own SQLite file."""

    def __init__(self, home: Home, db: Database) -> None:
        self.home, self.db = home, db
        self.client = _client(home)

    def mirror(self, run: Run, whole: bool = False) -> str:
        """Create or find the MLflow run of `run` and send what it lacks; return its MLflow id.

        What was sent before is known by its last step; `whole` looks at every point instead.
        """
        found = _search(self.client, self._experiment(run.project), run)
        mlflow_id = found.info.run_id if found else self._create(run)
        tags = dict(found.data.tags) if found else {}
        self._send_metrics(run, mlflow_id, -1 if whole else int(tags.get("shoestring.sent_step", -1)), whole)
        self._send_samples(run, mlflow_id, after=int(tags.get("shoestring.sent_samples_step", -1)))
        for key, value in run_tags(run).items():
            if tags.get(key) != value:
                self.client.set_tag(mlflow_id, key, value)
        if run.state in STATUS:
            self.client.set_terminated(mlflow_id, STATUS[run.state], end_time=_ms(run.ended_at or time.time()))
        else:
            self.client.update_run(mlflow_id, status="RUNNING" if run.state in HELD else "SCHEDULED")
        return mlflow_id

    def _experiment(self, name: str) -> str:
        found = self.client.get_experiment_by_name(name)
        if found:
            return found.experiment_id
        return self.client.create_experiment(name, artifact_location=self.home.mlflow_artifacts.as_uri())

    def _create(self, run: Run) -> str:
        """The facts that never change: name, params, code, data, machine, spec, patch."""
        # The key goes on last: a creation that was cut short is not found again, and is made anew.
        made = self.client.create_run(
            self._experiment(run.project), start_time=_ms(run.started_at or run.created_at), run_name=run.name
        )
        mlflow_id = made.info.run_id
        self._log_params(mlflow_id, flatten(run.config))
        patch = run.provenance.get("git_patch")
        self.client.log_text(mlflow_id, json.dumps(run.spec, indent=1), "spec.json")
        self.client.log_text(mlflow_id, json.dumps(run.config, indent=1), "config.json")
        self.client.log_text(mlflow_id, json.dumps(run.plan, indent=1), "plan.json")
        if patch:
            self.client.log_text(mlflow_id, patch, "uncommitted.patch")
        self.client.set_tag(mlflow_id, "shoestring.run_key", _key(run))
        return mlflow_id

    def _log_params(self, mlflow_id: str, flat: dict[str, str]) -> None:
        from mlflow.entities import Param

        params = [Param(key, value[:PARAM_CHARS]) for key, value in flat.items()]
        for first in range(0, len(params), PARAMS_PER_BATCH):
            self.client.log_batch(mlflow_id, params=params[first : first + PARAMS_PER_BATCH])

    def _send_metrics(self, run: Run, mlflow_id: str, after: int, whole: bool) -> None:
        """Send steps later than `after`; of a run that may still go back, only those a checkpoint has made final."""
        from mlflow.entities import Metric

        final = run.step if run.state in STATUS else run.checkpoint_step - 1
        if final <= after:
            return
        attempts = queries.attempts(self.db, run.id)
        began_ms = _ms(min((attempt.started_at for attempt in attempts), default=run.created_at))
        metrics = []
        for key in queries.metric_keys(self.db, [run.id]):
            known = {(m.step, m.value) for m in self.client.get_metric_history(mlflow_id, key)} if whole else set()
            for series in queries.series(self.db, [run.id], key, max_points=10**9):
                for step, value, seconds in zip(series.step, series.value, series.seconds, strict=True):
                    if after < step <= final and (step, value) not in known:
                        metrics.append(Metric(key, value, began_ms + int(seconds * 1000), step))
        metrics.sort(key=lambda metric: metric.step)
        for first in range(0, len(metrics), METRICS_PER_BATCH):
            self.client.log_batch(mlflow_id, metrics=metrics[first : first + METRICS_PER_BATCH])
        self.client.set_tag(mlflow_id, "shoestring.sent_step", str(final))

    def _send_samples(self, run: Run, mlflow_id: str, after: int) -> None:
        for folder in sorted(RunDir(Path(run.run_dir)).samples.glob("step-*")):
            step = int(folder.name.removeprefix("step-"))
            if step > after and (folder / "grid.png").is_file():
                self.client.log_artifact(mlflow_id, str(folder / "grid.png"), f"samples/{folder.name}")
                self.client.set_tag(mlflow_id, "shoestring.sent_samples_step", str(step))


def run_tags(run: Run) -> dict[str, str]:
    """The tags of a run's MLflow run; those under `shoestring.` are ours."""
    facts = run.provenance
    note = f"{run.experiment}, seed {run.seed}: planned ${run.planned_usd:.4f}, spent ${run.spent_usd:.4f}."
    if run.failure_class:
        note += f" {run.failure_class}: {run.failure_detail}"
    tags = {
        "mlflow.source.git.commit": facts.get("git_commit", ""),
        "mlflow.source.name": "shoestring",
        "mlflow.note.content": note,
        "shoestring.run_id": str(run.id),
        "shoestring.kind": run.kind,
        "shoestring.experiment": run.experiment,
        "shoestring.seed": str(run.seed),
        "shoestring.state": run.state,
        "shoestring.spec_hash": run.spec_hash,
        "shoestring.generation": str(run.generation),
        "shoestring.data_digest": str(facts.get("data_digest") or run.config.get("data", {}).get("digest", "")),
        "shoestring.code_digest": facts.get("code_digest", ""),
        "shoestring.lock_hash": facts.get("lock_hash", ""),
        "shoestring.git_dirty": str(bool(facts.get("git_dirty"))).lower(),
        "shoestring.hardware": json.dumps(facts.get("hardware", {})),
        "shoestring.price": json.dumps(run.config.get("price", {})),
        "shoestring.planned_usd": f"{run.planned_usd:.6f}",
        "shoestring.spent_usd": f"{run.spent_usd:.6f}",
        "shoestring.tags": ", ".join(run.tags),
        "shoestring.sweep_id": str(run.sweep_id or ""),
    }
    return {key: str(value) for key, value in tags.items() if value != ""}


def flatten(value: Any, prefix: str = "") -> dict[str, str]:
    """Flatten nested JSON to dotted keys; a list of plain values stays one JSON value."""
    items: Iterable[tuple[Any, Any]]
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, (list, tuple)) and any(isinstance(item, (dict, list, tuple)) for item in value):
        items = enumerate(value)
    else:
        return {prefix: value if isinstance(value, str) else json.dumps(value)}
    return {key: text for name, item in items for key, text in flatten(item, f"{prefix}.{name}".strip(".")).items()}


def _client(home: Home) -> Any:
    """MLflow's client on this project's file, without its chatter."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    from mlflow.tracking import MlflowClient

    home.state.mkdir(parents=True, exist_ok=True)
    return MlflowClient(tracking_uri=home.mlflow_url)


def _search(client: Any, experiment_id: str, run: Run) -> Any:
    """The MLflow run that mirrors `run`, or None."""
    query = f"tags.`shoestring.run_key` = '{_key(run)}'"
    found = client.search_runs([experiment_id], filter_string=query, max_results=1)
    return found[0] if found else None


def _key(run: Run) -> str:
    return f"{run.id}:{run.spec_hash[:16]}:{run.generation}"


def _stamp(run: Run) -> str:
    return f"{_key(run)}:{run.state}:{run.step}:{run.checkpoint_step}"


def _ms(seconds: float) -> int:
    return int(seconds * 1000)


def _read_sent(home: Home) -> dict[str, str]:
    try:
        return json.loads((home.state / SENT).read_bytes())
    except (OSError, ValueError):
        return {}


def _write_sent(home: Home, run: Run) -> None:
    write_atomic(home.state / SENT, json.dumps({**_read_sent(home), str(run.id): _stamp(run)}).encode())


@contextlib.contextmanager
def _one_at_a_time(home: Home) -> Iterator[None]:
    import fcntl

    home.state.mkdir(parents=True, exist_ok=True)
    with open(home.state / "mlflow.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main(argv: list[str] | None = None) -> int:
    """Mirror runs into MLflow and print a JSON report; 1 when a run could not be mirrored."""
    parser = argparse.ArgumentParser(prog="python -m shoestring.tracking", description=main.__doc__)
    parser.add_argument("run_ids", nargs="*", type=int)
    parser.add_argument("--all", action="store_true", help="every run that changed since it was last mirrored")
    parser.add_argument("--root", type=Path)
    parser.add_argument("--state", type=Path)
    parser.add_argument("--nice", type=int, default=0)
    args = parser.parse_args(argv)
    os.nice(args.nice)
    home = Home.find(args.root)
    if args.state:
        home = Home(root=home.root, state=args.state)
    done = mirror_all(home, Database(home.db_url), args.run_ids or None)
    print(json.dumps({"sent": done.sent, "problems": done.problems}))
    return 1 if done.problems else 0


if __name__ == "__main__":
    sys.exit(main())
