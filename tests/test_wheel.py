"""The wheel, without the source tree: it makes a project, migrates its database and trains the smoke experiment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def run(*argv: str | Path, cwd: Path, **env: str) -> str:
    done = subprocess.run(
        [str(a) for a in argv], cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
def test_the_wheel_alone_makes_a_project_migrates_its_database_and_trains_it(tmp_path):
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "-q")
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path / "wheels", ".", cwd=ROOT)
    (wheel,) = (tmp_path / "wheels").iterdir()
    installed = tmp_path / "installed"
    run(*pip, "install", "--no-deps", "--target", installed, wheel, cwd=tmp_path)
    project = tmp_path / "project"
    project.mkdir()
    # the wheel's packages come before the editable ones; SHOESTRING_* of this machine do not count
    env = {"PYTHONPATH": str(installed), "SHOESTRING_HOME": "", "SHOESTRING_DB": "", "OMP_NUM_THREADS": "1"}
    where = run(
        sys.executable, "-c", "import shoestring.migrate as m; print(m.migrations_folder())", cwd=project, **env
    )
    assert where.strip() == str(installed / "shoestring" / "migrations")
    shoestring = (sys.executable, "-m", "shoestring.cli.main")
    run(*shoestring, "init", cwd=project, **env)
    run(*shoestring, "submit", "experiments.yaml", cwd=project, **env)
    run(*shoestring, "work", "--until-empty", cwd=project, **env)
    status = json.loads(run(*shoestring, "status", "--json", cwd=project, **env))
    runs = status["runs"] if isinstance(status, dict) else status
    assert [r["state"] for r in runs] == ["succeeded"]
    assert not list(Path(installed).glob("**/experiments.yaml")), "nothing is written into the installation"
