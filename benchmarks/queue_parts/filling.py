"""Runs to measure with: real ones from a YAML text by the product's own path, and as many copies of one as needed."""

from __future__ import annotations

import json
from pathlib import Path

from shoestring import actions, plan
from shoestring.db import Database
from shoestring.home import Home
from shoestring.tables import runs
from sqlalchemy import text

PROJECT = "load"
MANIFEST = {
    "version": 1, "name": "tiny", "digest": "d" * 64, "space": "pixels", "shape": [3, 16, 16], "size_px": 16,
    "n_train": 5000, "caption_dim": 32, "caption_tokens": 3.0,
}  # fmt: skip
HEAD = f"""\
version: 1
project: {PROJECT}
data: tiny
budget: {{max_usd: 1000000}}
defaults:
  model: {{preset: nano}}
  until: {{steps: 1000}}
  evaluate: {{every_steps: 100, n_images: 16}}
  samples: {{prompts: [a red circle, a blue square], every_steps: 500}}
experiments:
"""
STAGES = """\
    stages:
      - {share: 0.8, mask: {kind: random, ratio: 0.75}, warmup_steps: 10}
      - {share: 0.2, mask: {kind: none}}
"""


def written(n: int, first: int = 0) -> str:
    """A file of `n` experiments (at most 1,000, as the product allows), each written out with a rate of its own."""
    numbers = range(first, first + n)
    return HEAD + "".join(f"  e{i}:\n    lr: {(1 + i) * 1e-7:.8f}\n{STAGES}" for i in numbers)


def project(folder: Path) -> Home:
    """A project folder with the facts of one data set."""
    (folder / "data" / "tiny").mkdir(parents=True, exist_ok=True)
    (folder / "data" / "tiny" / "manifest.json").write_text(json.dumps(MANIFEST))
    return Home(folder, folder / ".shoestring")


def fill(db: Database, folder: Path, n: int) -> None:
    """Put `n` queued runs into an empty database: one submitted as users do, and copies that differ in name and hash.

    Its project has a budget, so that each claim asks whether that is spent, as after `shoestring submit`.
    """
    home = project(folder)
    (home.root / "experiments.yaml").write_text(written(1))
    planned = plan.plan_file(home.root / "experiments.yaml", home)
    actions.set_budget(db, PROJECT, planned.max_usd or 1e6)
    actions.submit_plans(db, planned.runs, runs_dir=home.runs)
    same = [c.name for c in runs.c if c.name not in ("id", "name", "spec_hash", "seed")]
    numbers = "WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < :n)"
    copy = (
        f"INSERT INTO runs (name, spec_hash, seed, {', '.join(same)}) "
        f"{numbers} SELECT name || '.' || i, substr(spec_hash, 1, 56) || '-' || i, seed + i, {', '.join(same)} "
        "FROM runs, numbers"
    )
    event = (
        "INSERT INTO events (at, run_id, kind, detail) SELECT at, runs.id, events.kind, detail FROM events, runs "
        "WHERE events.kind = 'submitted' AND runs.id > 1"
    )
    with db.write() as conn:
        if n > 1:
            conn.execute(text(copy), {"n": n - 1})
            conn.execute(text(event))
    settle(db)


def settle(db: Database) -> None:
    """Do now what each database does by itself soon after such a load: move SQLite's log into its file, gather
    PostgreSQL's statistics."""
    if db.path is None:
        with db.write() as conn:
            conn.exec_driver_sql("ANALYZE")
        return
    raw = db.engine.raw_connection()  # a checkpoint is no transaction
    raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    raw.close()
