"""The sweep benchmark's arithmetic; a whole one takes hours."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

FILE = Path(__file__).resolve().parents[1] / "benchmarks" / "sweep.py"
spec = importlib.util.spec_from_file_location("sweep_benchmark", FILE)
assert spec and spec.loader
benchmark = importlib.util.module_from_spec(spec)
spec.loader.exec_module(benchmark)


def test_the_hypervolume_is_the_area_that_the_front_dominates():
    front = [(1.0, 2.0), (2.0, 1.0)]
    assert benchmark.hypervolume(front, (3.0, 3.0)) == pytest.approx(3.0)
    assert benchmark.hypervolume([*front, (2.5, 2.5)], (3.0, 3.0)) == pytest.approx(3.0), "a dominated point adds none"
    assert benchmark.hypervolume([(3.0, 3.0)], (3.0, 3.0)) == 0.0


def test_samplers_are_compared_within_a_repetition_below_one_corner():
    points = {
        "tpe-0": [(1.0, 1.0)],
        "random-0": [(2.0, 2.0)],
        "tpe-1": [(1.0, 2.0)],
        "random-1": [(1.0, 2.0), (3.0, 3.0)],
    }
    found = benchmark.compare(points, dict.fromkeys(points, 0.1))
    assert found["corner"] == {"usd": 3.0, "loss": 3.0}
    assert found["ratio"] == {"mean": pytest.approx(2.5), "low": pytest.approx(1.0), "high": pytest.approx(4.0)}
