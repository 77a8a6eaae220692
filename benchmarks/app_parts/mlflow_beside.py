"""MLflow's own UI on a store of the same size, filled through SQL from one run that its client wrote."""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path

from app_parts.stopwatch import Site
from mlflow import MlflowClient

COMPARED = 10


def address(folder: Path) -> str:
    return f"sqlite:///{folder / 'mlflow.db'}"


def argv(folder: Path, port: int) -> list[str]:
    """What serves the UI, as its users start it."""
    where = ("--backend-store-uri", address(folder), "--default-artifact-root", str(folder / "artifacts"))
    return [sys.executable, "-m", "mlflow", "ui", *where, "--host", "127.0.0.1", "--port", str(port)]


def fill(folder: Path, keys: tuple[str, ...], n_runs: int, points: int) -> None:
    """`n_runs` finished runs with `points` of each metric, twenty parameters and the tags of MLflow's own client."""
    folder.mkdir(parents=True)
    client = MlflowClient(address(folder))
    experiment = client.create_experiment("many")
    run = client.create_run(experiment, run_name="rate-0/s0")
    for i in range(20):
        client.log_param(run.info.run_id, f"stages.{i}.mask.ratio", str(i / 20))
    client.set_terminated(run.info.run_id)
    made = run.info.run_id
    with sqlite3.connect(folder / "mlflow.db") as conn:
        numbers = "WITH RECURSIVE n(i) AS MATERIALIZED (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
        columns = [row[1] for row in conn.execute("PRAGMA table_info(runs)")]
        new = {"run_uuid": "printf('%032d', i)", "name": "'rate-' || (i / 4) || '/s' || (i % 4)",
               "start_time": "start_time + i * 1000", "end_time": "end_time + i * 1000"}  # fmt: skip
        picked = ", ".join(new.get(name, name) for name in columns)
        conn.execute(
            f"INSERT INTO runs ({', '.join(columns)}) {numbers} SELECT {picked} FROM n, runs WHERE run_uuid = ?",
            (n_runs, made),
        )
        named = "CASE key WHEN 'mlflow.runName' THEN 'rate-' || (i / 4) || '/s' || (i % 4) ELSE value END"
        ratio = "CASE key WHEN 'stages.0.mask.ratio' THEN i / 1000.0 ELSE value END"
        for table, value in (("params", ratio), ("tags", named)):
            columns = [row[1] for row in conn.execute(f"PRAGMA table_info({table})")]
            picked = ", ".join({"run_uuid": "printf('%032d', i)", "value": value}.get(name, name) for name in columns)
            conn.execute(
                f"INSERT INTO {table} ({', '.join(columns)}) {numbers} SELECT {picked} FROM n, {table} "
                "WHERE run_uuid = ?",
                (n_runs, made),
            )
        listed = ", ".join(f"('{key}')" for key in keys)
        conn.execute(
            f"INSERT INTO metrics (key, value, timestamp, step, is_nan, run_uuid) {numbers}, "
            f"k(key) AS (VALUES {listed}), p(j) AS MATERIALIZED (SELECT 1 UNION ALL SELECT j + 1 FROM p WHERE j < ?) "
            "SELECT key, 0.1 + (i * 7919 % 1000) * 1e-5 + 1.0 / (1 + j), start_time + j, j, 0, printf('%032d', i) "
            "FROM n CROSS JOIN k CROSS JOIN p, runs WHERE runs.run_uuid = ?",
            (n_runs, points, made),
        )
        conn.execute(
            "INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid) "
            "SELECT key, value, timestamp, step, is_nan, run_uuid FROM metrics WHERE step = ?",
            (points,),
        )
    client.delete_run(made)


def site(url: str) -> Site:
    return Site("MLflow", url, "#root")


def table() -> tuple[str, str]:
    """Where its table of runs is, and when that is there: ten runs by name."""
    named = "[...main.querySelectorAll('a')].filter((a) => /^rate-/.test(a.textContent)).length >= 10"
    return "#/experiments/1/runs", named


def comparison(n_runs: int) -> tuple[str, str]:
    """Where its comparison of ten runs is, and when that is there: the runs by name, and a drawn plot."""
    ids = ",".join(f"%22{i:032d}%22" for i in range(1, 1 + min(COMPARED, n_runs)))
    drawn = f"""[...main.querySelectorAll('a, th, td, span')].filter((e) => /^rate-/.test(e.textContent)).length
        >= {min(COMPARED, n_runs)} && main.querySelector('.js-plotly-plot .main-svg path')"""
    return f"#/compare-runs?runs=[{ids}]&experiments=[%221%22]", drawn
