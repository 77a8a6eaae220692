"""The queue from the command line: submit, status, work, logs, sample, cancel and the rest, with their exit codes."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from shoestring.cli import serving
from shoestring.cli.main import app
from shoestring_trainer.prepare.procedural import procedural_set
from typer.testing import CliRunner, Result

SPEC = """
version: 1
project: tiny
data: procedural-16
budget: {max_usd: 0.01}
defaults:
  model: {preset: nano, depth: 2}
  batch_size: 4
  lr: 1e-3
  until: {steps: 4}
  evaluate: {every_steps: 4, n_images: 4}
  samples: {prompts: [a red circle], every_steps: 4, n_steps: 2}
  checkpoints: {every_steps: 2}
  stages: [{mask: {kind: none}}]
experiments:
  dense: {}
  masked:
    stages: [{mask: {kind: random, ratio: 0.5}}]
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    procedural_set(copies=1).write(folder / "procedural-16")
    return folder


@pytest.fixture
def project(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder with a migrated database; the current directory."""
    for name in ("SHOESTRING_HOME", "SHOESTRING_DB"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments.yaml").write_text(SPEC)
    (tmp_path / "data").symlink_to(data)
    assert call("db", "upgrade").exit_code == 0
    return tmp_path


def call(*argv: str) -> Result:
    return CliRunner().invoke(app, list(argv))


def answer(*argv: str, code: int = 0) -> Any:
    done = call(*argv, "--json")
    assert done.exit_code == code, done.output
    return json.loads(done.stdout)


def states() -> dict[int, str]:
    return {run["id"]: run["state"] for run in answer("status")["runs"]}


def test_help_and_completion_load_nothing_heavy() -> None:
    heavy = ["sqlalchemy", "alembic", "torch", "mlflow", "optuna", "streamlit", "pydantic", "rich.live"]
    code = f"import sys, shoestring.cli.main; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_a_database_the_command_to_run_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHOESTRING_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    done = call("status")
    assert done.exit_code == 4 and "shoestring db upgrade" in done.stderr
    assert answer("status", code=4)["error"]["hint"] == "shoestring db upgrade"


def test_an_empty_queue_names_the_next_command(project: Path) -> None:
    assert "shoestring submit" in call("status").stdout
    assert answer("status")["runs"] == []
    done = call("work", "--until-empty")
    assert done.exit_code == 0 and "Nothing to do" in done.stdout


def test_what_is_submitted_twice_exists_and_again_makes_it_anew(project: Path) -> None:
    plan = answer("submit", "--dry-run")
    assert [run["name"] for run in plan["runs"]] == ["dense/s0", "masked/s0"] and states() == {}
    assert [row["existed"] for row in answer("submit", "--only", "dense")["runs"]] == [False]
    both = answer("submit")
    assert both["new"] == 1 and [(row["run"], row["existed"]) for row in both["runs"]] == [(1, True), (2, False)]
    assert "0 new, 2 unchanged" in call("submit").stdout
    assert answer("submit", "--again")["new"] == 2 and len(states()) == 4
    assert call("submit", "--only", "densse").exit_code == 6
    shown = call("status").stdout
    assert "dense/s0" in shown and "no worker is alive" in shown.lower()


def test_what_may_cost_more_than_the_budget_is_refused_whole(project: Path) -> None:
    (project / "experiments.yaml").write_text(SPEC.replace("0.01", "0.00000001"))
    done = call("submit")
    assert done.exit_code == 5 and "budget.max_usd" in done.stderr
    assert states() == {}
    (project / "experiments.yaml").write_text(SPEC)
    answer("submit")
    (project / "experiments.yaml").write_text(SPEC.replace("0.01", "0.00000001"))
    assert answer("submit")["new"] == 0  # nothing new: nothing to refuse


def test_runs_are_paused_resumed_cancelled_and_retried(project: Path) -> None:
    answer("submit")
    assert answer("pause", "1")["runs"][0]["state"] == "paused"
    assert states() == {1: "paused", 2: "queued"}
    assert answer("resume", "dense/s0")["runs"][0]["state"] == "queued"
    assert call("cancel", "1", "masked").exit_code == 0
    assert states() == {1: "cancelled", 2: "cancelled"}
    assert answer("retry", "1")["runs"][0]["new_run"] == 3
    mixed = answer("cancel", "1", "3", code=7)["runs"]  # 1 is over: that does not keep 3 from it
    assert mixed[0]["error"]["code"] == "conflict" and mixed[1]["state"] == "cancelled"
    for verb in ("cancel", "pause", "resume", "retry", "status", "logs"):
        assert call(verb, "no-such-run").exit_code == 6
        assert call(verb, "1 OR 1=1").exit_code == 6
    assert call("logs", "2").exit_code == 6
    assert call("sample", "2", "--prompt", "a red circle").exit_code == 7
    assert call("sample", "2", "--prompt", "two\nlines").exit_code == 2


def test_the_app_is_served_on_this_machine_only(project: Path) -> None:
    argv = serving.ui_argv("127.0.0.1", 8599)
    assert argv[1:4] == ["-m", "streamlit", "run"] and Path(argv[4]).name == "served.py"
    assert argv[argv.index("--server.address") + 1] == "127.0.0.1"
    assert argv[argv.index("--browser.gatherUsageStats") + 1] == "false"
    for address in ("0.0.0.0", "192.0.2.1", "::", "example.org"):
        assert call("ui", "--address", address).exit_code == 2
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = call("ui", "--port", str(port))
        assert done.exit_code == 7 and str(port) in done.stderr


@pytest.mark.slow
def test_what_is_submitted_is_worked_shown_logged_drawn_and_mirrored(project: Path) -> None:
    answer("submit")
    done = call("work", "--until-empty")
    assert done.exit_code == 0, done.output
    assert "dense/s0" in done.stdout and "succeeded" in done.stdout and "warning" not in done.stderr
    run = answer("status", "dense")
    assert run["state"] == "succeeded" and run["metrics"]["val/loss"] > 0
    assert [attempt["outcome"] for attempt in run["attempts"]] == ["succeeded"]
    assert run["provenance"]["data_digest"] and run["spent_usd"] > 0
    assert "checkpoint at step 4" in call("status", "1").stdout
    logs = answer("logs", "1", "-n", "1")
    assert logs["attempt"] == run["attempts"][0]["token"] and "succeeded" in logs["lines"][0]
    assert call("logs", "1", "--follow").exit_code == 0
    drawn = answer("sample", "1", "-p", "a red circle", "--steps", "2", "--out", str(project / "drawn"))
    assert drawn["files"] and all(Path(file).read_bytes().startswith(b"\x89PNG") for file in drawn["files"])
    assert (project / ".shoestring" / "mlflow.db").is_file()
    assert answer("submit")["new"] == 0
