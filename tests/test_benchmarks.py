"""The benchmarks run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


def run(name: str, *argv: str) -> str:
    done = subprocess.run([sys.executable, str(BENCHMARKS / name), *argv], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
def test_the_step_benchmark_measures_each_ratio_in_turns(tmp_path):
    argv = ["--preset", "nano", "--batches", "4", "--ratios", "0", "0.75", "--rounds", "2", "--profile"]
    text = run("step.py", *argv, "--json", str(tmp_path / "step.json"))
    dense, masked = json.loads((tmp_path / "step.json").read_text())["rows"]
    assert "speed-up" in text and "profile of batch 4, ratio 0.75" in text
    assert dense["speedup"] == 1 and masked["predicted"] > 1.3
    assert 0 < masked["cpu_s"] < 60 and masked["peak_mb"] > 0
    assert sum(masked["profile"].values()) == pytest.approx(1)


@pytest.mark.slow
def test_peak_memory_is_forecast_within_its_error():  # at two of the five sizes of docs/memory.md
    rows = run("memory.py", "--markdown", "--only", "nano-16", "masked-256").splitlines()[2:]
    assert len(rows) == 2 and all(abs(float(row.split()[-2].rstrip("%"))) <= 15 for row in rows)
