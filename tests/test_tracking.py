"""MLflow mirrors what the database holds: once, whole, in order, and never in the way of a run."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from shoestring import actions, migrate, provenance, queries, runs, tracking
from shoestring.actions import Submission
from shoestring.db import Database
from shoestring.home import Home
from shoestring.tail import Point
from shoestring_trainer import config as c
from shoestring_trainer.presets import PRESETS
from shoestring_trainer.run_dir import Result, RunDir

FACTS = {
    "git_commit": "c0ffee", "git_dirty": True, "git_patch": "+two\n", "lock_hash": "l1", "code_digest": "k1",
    "data_digest": "d1", "hardware": provenance.hardware(),
}  # fmt: skip


def config() -> c.TrainConfig:
    data = c.DataConfig(
        path="/data/x", name="x", digest="d1", space="pixels", shape=(3, 16, 16), size_px=16, n_train=4,
        caption_dim=8, caption_tokens=3.0,
    )  # fmt: skip
    stage = c.Stage(steps=1, mask=c.RandomMask(kind="random", ratio=0.5), lr=1e-3)
    return c.TrainConfig(
        name="tiny", seed=0, data=data, model=PRESETS["nano"], objective=c.Edm(kind="edm"),
        optimizer=c.AdamW(kind="adamw"), batch_size=4, stages=(stage,) * 20, evaluate=c.Evaluate(every_steps=2),
        checkpoints=c.Checkpoints(every_steps=4), price=c.Price(hardware="test", usd_per_hour=1.0, source="test"),
    )  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    root = tmp_path_factory.mktemp("project")
    home = Home(root=root, state=root / "state")
    migrate.upgrade(home.db_url)
    return home


def point(step: int, key: str = "train/loss", value: float = 0.0) -> Point:
    return Point(key, step, value or 1.0 / (1 + step), 4.0 * step, 1e6 * step, 1e-5 * step, 0.5 * step)


def history(home: Home, mlflow_id: str, key: str = "train/loss") -> list[Any]:
    return tracking._client(home).get_metric_history(mlflow_id, key)


def grid(run_dir: str, step: int) -> None:
    folder = RunDir(Path(run_dir)).sample_step(step)
    folder.mkdir(parents=True)
    (folder / "grid.png").write_bytes(b"a picture")


def started(home: Home, db: Database, name: str) -> runs.Lease:
    spec_hash = hashlib.sha256(name.encode()).hexdigest()
    entry = Submission(name, "tiny", "demo", 0, spec_hash, config(), spec={"model": "nano"}, provenance=FACTS)
    run_id = actions.submit(db, [entry], runs_dir=home.runs)[0].run_id
    me = runs.new_worker_id()
    runs.register(db, me, "test", 1.0)
    lease = runs.claim(db, me, "n1")
    assert lease and lease.run_id == run_id
    runs.start(db, lease, 0)
    return lease


def test_a_run_is_mirrored_once_as_far_as_it_is_final_and_then_whole(home: Home) -> None:
    db = Database(home.db_url)
    lease = started(home, db, "tiny/s0")
    run_id = lease.run_id
    runs.record(db, lease, [point(step) for step in range(7)])
    runs.add_checkpoint(db, lease, 4, "checkpoints/step-00000004.t1", 10)
    grid(queries.run(db, run_id).run_dir, 4)

    assert tracking.mirror_all(home, db) == tracking.Mirrored(1, [])
    client = tracking._client(home)
    experiment = client.get_experiment_by_name("demo").experiment_id
    (mirror,) = client.search_runs([experiment])
    mlflow_id = mirror.info.run_id
    assert mirror.info.status == "RUNNING" and mirror.info.run_name == "tiny/s0"
    assert [m.step for m in history(home, mlflow_id)] == [0, 1, 2, 3]  # after a kill, 4 to 6 may come again

    runs.record(db, lease, [point(step) for step in range(7, 21)])
    runs.finish(db, lease, Result(lease.token, "succeeded", "", "", 20), 1234)
    grid(queries.run(db, run_id).run_dir, 20)
    assert tracking.mirror_all(home, db) == tracking.Mirrored(1, [])
    assert tracking.mirror_all(home, db) == tracking.Mirrored(0, [])
    runs_now = client.search_runs([experiment])
    assert [it.info.run_id for it in runs_now] == [mlflow_id] and runs_now[0].info.status == "FINISHED"

    (series,) = queries.series(db, [run_id], "train/loss")
    ours = dict(zip(series.step, series.value, strict=True))
    assert tracking.mirrored(home, queries.run(db, run_id), "train/loss") == ours and len(ours) == 21
    times = [m.timestamp for m in history(home, mlflow_id)]
    assert times == sorted(times) and times[20] - times[0] == 10_000

    assert tracking.mirror_all(home, db, [run_id]) == tracking.Mirrored(1, [])  # asked for again: nothing is doubled
    assert len(history(home, mlflow_id)) == 21

    data = client.get_run(mlflow_id).data
    assert len(data.params) > tracking.PARAMS_PER_BATCH
    assert data.params["stages.19.mask.ratio"] == "0.5" and data.params["data.shape"] == "[3, 16, 16]"
    wanted = {
        "mlflow.source.git.commit": "c0ffee", "shoestring.lock_hash": "l1", "shoestring.data_digest": "d1",
        "shoestring.state": "succeeded", "shoestring.spent_usd": "0.001234",
    }  # fmt: skip
    assert {key: data.tags[key] for key in wanted} == wanted
    assert data.tags["shoestring.spec_hash"] == lease.run.spec_hash
    assert json.loads(data.tags["shoestring.hardware"]) == FACTS["hardware"]
    assert "planned" in data.tags["mlflow.note.content"]
    names = {item.path for item in client.list_artifacts(mlflow_id)}
    assert names == {"spec.json", "config.json", "plan.json", "uncommitted.patch", "samples"}
    folders = [item.path for item in client.list_artifacts(mlflow_id, "samples")]
    assert folders == ["samples/step-00000004", "samples/step-00000020"]
    kept = home.mlflow_artifacts / mlflow_id / "artifacts" / "samples" / "step-00000020" / "grid.png"
    assert kept.read_bytes() == b"a picture"


def test_a_run_that_mlflow_refuses_is_told_and_hides_no_other(home: Home) -> None:
    db = Database(home.db_url)
    bad, good = (started(home, db, name) for name in ("bad/s0", "good/s0"))
    runs.record(db, bad, [point(1), point(1, key="not a name for MLflow?")])
    runs.record(db, good, [point(1)])
    for lease in (bad, good):
        runs.finish(db, lease, Result(lease.token, "succeeded", "", "", 1))
    problem = tracking.Tracker(home, home.db_url).finish(db)  # in a process of its own, as the worker has it
    assert problem.startswith(f"run {bad.run_id}: MlflowException") and f"run {good.run_id}" not in problem
    assert tracking.mirrored(home, queries.run(db, good.run_id), "train/loss") == {1: 0.5}
    assert [run.id for run in tracking.stale(home, queries.runs(db))] == [bad.run_id]  # tried again next time


def test_after_an_outage_of_mlflow_and_a_killed_mirror_everything_is_there_once(tmp_path: Path) -> None:
    home = Home(root=tmp_path, state=tmp_path / "state")
    migrate.upgrade(home.db_url)
    db, file = Database(home.db_url), home.state / "mlflow.db"
    lease = started(home, db, "outage/s0")
    runs.record(db, lease, [point(step) for step in range(1, 7)])
    runs.add_checkpoint(db, lease, 4, "checkpoints/step-00000004.t1", 10)
    assert tracking.Tracker(home, home.db_url).finish(db) == ""

    away = file.rename(file.with_suffix(".away"))
    file.write_text("MLflow's database is gone")
    runs.record(db, lease, [point(step) for step in range(7, 21)])
    problem = tracking.Tracker(home, home.db_url).finish(db)
    assert problem and queries.run(db, lease.run_id).step == 20  # the run does not mind
    file.unlink()
    away.rename(file)

    killed = tracking.Tracker(home, home.db_url, every_s=0)
    runs.finish(db, lease, Result(lease.token, "succeeded", "", "", 20))
    killed.tick()
    assert killed._process is not None
    time.sleep(3)  # somewhere in its work, or at its end
    killed._process.kill()
    killed.close()
    assert tracking.Tracker(home, home.db_url).finish(db) == ""
    (series,) = queries.series(db, [lease.run_id], "train/loss")
    ours = dict(zip(series.step, series.value, strict=True))
    assert tracking.mirrored(home, queries.run(db, lease.run_id), "train/loss") == ours and len(ours) == 20
    client = tracking._client(home)
    experiment = client.get_experiment_by_name("demo").experiment_id
    (mlflow_id,) = [r.info.run_id for r in client.search_runs([experiment]) if r.info.run_name == "outage/s0"]
    assert [m.step for m in history(home, mlflow_id)] == list(range(1, 21))


def test_a_mirror_in_the_background_is_started_when_the_last_is_long_ago(home: Home) -> None:
    quiet = tracking.Tracker(home, home.db_url, every_s=3600)
    quiet.tick()
    assert quiet._process is None
    eager = tracking.Tracker(home, home.db_url, every_s=0)
    eager.tick()
    assert eager._process is not None
    eager.close()
    assert eager._process.poll() is not None


def test_knowing_what_to_mirror_takes_no_mlflow(home: Home) -> None:
    code = "import sys; from shoestring import tracking; print('mlflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    run = queries.find_run(Database(home.db_url), "tiny/s0")
    assert tracking.stale(home, [run]) == []
    assert tracking.stale(home, [replace(run, step=run.step + 1)])
    assert not tracking.stale(home, [replace(run, attempts=0, state="queued")])  # never started: nothing to tell


def test_nested_values_are_flattened_to_dotted_names() -> None:
    nested = {"a": {"b": [{"c": 1}, {"c": 2.5}]}, "d": [1, 2], "e": None, "f": "text", "g": []}
    assert tracking.flatten(nested) == {
        "a.b.0.c": "1", "a.b.1.c": "2.5", "d": "[1, 2]", "e": "null", "f": "text", "g": "[]",
    }  # fmt: skip
