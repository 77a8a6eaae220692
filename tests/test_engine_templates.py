"""The pull templates: each parses, starts the same worker, keeps the address secret and leaves retries to the queue."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest
import yaml

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "examples" / "engines"
WORK = ["shoestring", "work", "--idle-exit", "300"]


def test_every_template_is_known_here_and_none_holds_an_address() -> None:
    assert sorted(path.name for path in FOLDER.iterdir() if path.is_file()) == [
        "workers.k8s.yaml", "workers.sbatch", "workers.sky.yaml", "workers_ray.py",
    ]  # fmt: skip
    for path in FOLDER.iterdir():
        assert "@" not in path.read_text().replace("user:password@host", "").replace("B:TERM@120", "").replace(
            "@ray.remote", ""
        )


def test_the_slurm_array_is_a_shell_script_that_hands_the_signal_to_the_worker() -> None:
    path = FOLDER / "workers.sbatch"
    subprocess.run(["bash", "-n", str(path)], check=True)
    lines = path.read_text().splitlines()
    options = {line.removeprefix("#SBATCH --").split("=")[0] for line in lines if line.startswith("#SBATCH --")}
    assert {"array", "signal", "no-requeue", "time"} <= options
    assert lines[-1] == f"exec .venv/bin/{' '.join(WORK)}"


def test_the_skypilot_job_takes_the_address_as_a_secret() -> None:
    task = yaml.safe_load((FOLDER / "workers.sky.yaml").read_text())
    assert set(task) == {"name", "resources", "secrets", "volumes", "setup", "run"}
    assert task["secrets"] == {"SHOESTRING_DB": None}
    for part in ("setup", "run"):
        subprocess.run(["bash", "-n"], input=task[part], text=True, check=True)
    assert task["run"].strip().endswith(" ".join(WORK))


def test_the_kubernetes_job_never_tries_a_worker_again() -> None:
    job = yaml.safe_load((FOLDER / "workers.k8s.yaml").read_text())
    assert (job["apiVersion"], job["kind"], job["spec"]["backoffLimit"]) == ("batch/v1", "Job", 0)
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["restartPolicy"] == "Never" and pod["terminationGracePeriodSeconds"] >= 120
    assert container["command"] == WORK
    assert container["env"][0]["valueFrom"]["secretKeyRef"]["name"] == "shoestring"
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}


def test_the_ray_job_starts_workers_that_ray_does_not_retry() -> None:
    tree = ast.parse((FOLDER / "workers_ray.py").read_text())
    (work,) = (node for node in tree.body if isinstance(node, ast.FunctionDef))
    (remote,) = (node for node in work.decorator_list if isinstance(node, ast.Call))
    given = {keyword.arg: ast.literal_eval(keyword.value) for keyword in remote.keywords}
    assert given["max_retries"] == 0 and given["num_gpus"] == 1
    lists = [ast.literal_eval(node) for node in ast.walk(work) if isinstance(node, ast.List)]
    assert lists == [WORK]


@pytest.mark.parametrize("name", ["workers.sbatch", "workers.sky.yaml", "workers.k8s.yaml", "workers_ray.py"])
def test_the_documentation_names_the_template_and_says_whether_it_was_run(name: str) -> None:
    (row,) = (line for line in (FOLDER.parents[1] / "engines.md").read_text().splitlines() if f"[`{name}`]" in line)
    said = "yes, in the tests" if name == "workers.sbatch" else "**no**: parsed only"
    assert said in row
