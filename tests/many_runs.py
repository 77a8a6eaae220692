"""A large project in SQLite, filled through SQL in seconds: runs, curves, attempts, pictures, trials, a long queue."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from shoestring import actions, migrate, plan, runs
from shoestring.db import Database
from shoestring.home import Home
from shoestring_trainer.run_dir import RunDir
from sqlalchemy import Connection, text

SEEDS = 4
MANIFEST = {
    "version": 1, "name": "tiny", "digest": "d" * 64, "space": "pixels", "shape": [3, 16, 16], "size_px": 16,
    "n_train": 5000, "caption_dim": 32, "caption_tokens": 3.0,
}  # fmt: skip
HEAD = f"""\
version: 1
project: many
data: tiny
budget: {{max_usd: 1000000}}
defaults:
  model: {{preset: nano}}
  until: {{steps: 1000}}
  seeds: {list(range(SEEDS))}
  evaluate: {{every_steps: 100, n_images: 16}}
  samples: {{prompts: [a red circle, a blue square, a green star, two dots], every_steps: 200}}
experiments:
"""
EXPERIMENT = """\
  rate-{i}:
    lr: {lr:.8f}
    stages:
      - {{share: 0.8, mask: {{kind: random, ratio: 0.75}}, warmup_steps: 10}}
      - {{share: 0.2, mask: {{kind: none}}}}
"""
SWEEP = """\
sweeps:
  masks:
    base: rate-0
    search: {stages.0.mask.ratio: {low: 0.0, high: 0.9}, model.experts.count: {choices: [1, 4]}}
    objectives: {val/loss: minimize, cost/usd: minimize}
    budget: {max_usd: 100}
"""
KEYS = (
    *("eval/kid_effnet", "perf/images_per_s", "perf/mfu", "perf/share_data", "perf/share_optimizer"),
    *("system/rss_mb", "train/grad_norm", "train/loss", "train/lr", "val/loss"),
)  # sorted, as the table is
USD, HOUR_USD, AT_ONCE = 0.02, 0.1, 50


@dataclass(frozen=True)
class Size:
    """How much of everything; the last `active` of the runs still train, and `trials` of them belong to a sweep."""

    runs: int = 1000
    metrics: int = 10
    points: int = 1000
    grids: int = 5  # of four pictures, of each run
    queued: int = 0
    trials: int = 100
    active: int = 2


def fill(home: Home, size: Size) -> None:
    """Make a project at `home` with a database of that size; its folder must be empty."""
    home.state.mkdir(parents=True, exist_ok=True)
    migrate.upgrade(home.db_url)
    db = Database(home.db_url)
    (home.data / "tiny").mkdir(parents=True, exist_ok=True)
    (home.data / "tiny" / "manifest.json").write_text(json.dumps(MANIFEST))
    file = home.root / "experiments.yaml"
    many = range(-(-size.runs // SEEDS))
    file.write_text(HEAD + "".join(EXPERIMENT.format(i=i, lr=(1 + i) * 1e-7) for i in many) + SWEEP)
    planned = plan.plan_file(file, home)
    actions.submit_plans(db, planned.runs[: size.runs], runs_dir=home.runs)
    worker = runs.new_worker_id()
    runs.register(db, worker, "2 cores", HOUR_USD)
    sweep = actions.create_sweep(db, plan.survey(file, home).sweeps[0]).id if size.trials else 0
    names = {"n": size.runs, "active": size.active, "trials": size.trials, "sweep": sweep, "worker": worker}
    values = {**names, "points": size.points, "usd": USD, "now": time.time(), "micro": round(USD * 1e6)}
    with db.write() as conn:
        for statement in TRAINED:
            conn.execute(text(statement), values)
    for first in range(1, size.runs + 1, AT_ONCE):  # a write-ahead log that stays small
        with db.write() as conn:
            _curves(conn, KEYS[-size.metrics :], {**values, "first": first, "last": first + AT_ONCE - 1})
    if size.queued:
        with db.write() as conn:
            _queue(conn, size.queued)
    _pictures(home, size)
    raw = db.engine.raw_connection()  # a checkpoint is no transaction
    raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    raw.close()
    db.close()


# one run in 25 has failed half-way; the newest still train; each began ten minutes after the one before it
TRAINED = (
    "UPDATE runs SET n_steps = max(n_steps, :points)",
    """UPDATE runs SET state = 'succeeded', attempts = 1, lease_token = 1, step = n_steps, checkpoint_step = n_steps,
       spent_micro = :micro + id % 97, planned_micro = :micro, reserved_micro = :micro,
       started_at = :now - 600 * (:n - id + 2), ended_at = :now - 600 * (:n - id + 1) WHERE id <= :n""",
    """UPDATE runs SET state = 'failed', failures = 1, failure_class = 'nan', failure_detail = 'train/loss is nan',
       step = n_steps / 2, checkpoint_step = n_steps / 2, spent_micro = spent_micro / 2 WHERE id % 25 = 0""",
    """UPDATE runs SET kind = 'trial', sweep_id = :sweep WHERE id <= :trials""",
    """UPDATE runs SET state = 'running', owner = :worker, claim_nonce = 'n' || id, ended_at = NULL, step = n_steps / 2,
       lease_until = :now + 1e6, checkpoint_step = n_steps / 2 WHERE id > :n - :active""",
    """INSERT INTO attempts (run_id, token, worker, started_at, ended_at, outcome, first_step, last_step, micro)
       SELECT id, 1, :worker, started_at, ended_at, state, 0, step, spent_micro FROM runs""",
    """INSERT INTO checkpoints (run_id, step, token, path, bytes, created_at)
       SELECT id, checkpoint_step, 1, run_dir || '/checkpoints/last', 1000000, started_at FROM runs""",
    """INSERT INTO events (at, run_id, token, kind, detail)
       SELECT started_at, id, 1, 'started', '{"step": 0}' FROM runs""",
    """INSERT INTO trials (sweep_id, number, run_id, params, state, results)
       SELECT :sweep, id - 1, id, json_object('stages.0.mask.ratio', (id * 37 % 90) / 100.0,
       'model.experts.count', 1 + 3 * (id % 2)), 'complete',
       json_array(0.1 + (id * 53 % 100) / 1000.0, :usd + id * 1e-6) FROM runs WHERE id <= :trials""",
    "UPDATE workers SET run_id = :n, state = 'working', started_at = :now - 600 * :n, beat_at = :now",
)


def _curves(conn: Connection, keys: tuple[str, ...], values: dict[str, object]) -> None:
    """`points` of each metric, to the step that the run has reached; falling, with its own noise."""
    listed = ", ".join(f"('{key}')" for key in keys)
    conn.execute(
        text(f"""
        INSERT INTO metrics (run_id, key, step, value, images, flops, usd, seconds)
        WITH RECURSIVE numbers(i) AS MATERIALIZED (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < :points),
        keys(key) AS (VALUES {listed})
        SELECT runs.id, key, i * n_steps / :points, 0.1 + (runs.id * 7919 % 1000) * 1e-5 + 1.0 / (1 + i)
               + (i * 104729 % 1000) * 1e-6, i * 16.0, i * 1e9, i * :usd / :points, i * 2.0
        FROM runs CROSS JOIN keys CROSS JOIN numbers
        WHERE runs.id BETWEEN :first AND :last AND i * n_steps / :points <= step AND i * n_steps / :points > 0
        """),
        values,
    )


def _queue(conn: Connection, n: int) -> None:
    """`n` copies of the newest run that wait."""
    same = ("experiment", "project", "kind", "spec", "config", "plan", "provenance", "tags", "n_steps",
            "planned_micro", "reserved_micro")  # fmt: skip
    conn.execute(
        text(f"""
        INSERT INTO runs (name, spec_hash, seed, state, run_after, created_at, run_dir, {", ".join(same)})
        WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < :n)
        SELECT experiment || '/w' || i, 'queued-' || i, i, 'queued', created_at, created_at, run_dir || '-' || i,
               {", ".join(same)}
        FROM numbers CROSS JOIN (SELECT * FROM runs ORDER BY id DESC LIMIT 1)
        """),
        {"n": n},
    )


def _pictures(home: Home, size: Size) -> None:
    """Grids of four small pictures, evenly over the steps of each run."""
    prompts = ["a red circle", "a blue square", "a green star", "two dots"]
    noise = np.random.default_rng(0).integers(0, 255, (64, 32, 32, 3), dtype=np.uint8)
    for run_id in range(1, size.runs + 1):
        folder = RunDir(home.runs / f"{run_id:05d}")
        _log(folder.log(1))
        for grid in range(1, size.grids + 1):
            step = 1000 * grid // size.grids
            place = folder.sample_step(step)
            place.mkdir(parents=True)
            for i in range(len(prompts)):
                Image.fromarray(noise[(run_id * 7 + grid * 4 + i) % 64]).save(place / f"{i:03d}.png", compress_level=1)
            meta = {"step": step, "usd": USD * grid / size.grids, "prompts": prompts}
            (place / "meta.json").write_text(json.dumps(meta))


def _log(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"step {step} train/loss {1 / step:.4f}\n" for step in range(10, 1010, 10)))
