"""Where a run came from: commit, patch, packages, code, hardware; quickly, and without git too."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from shoestring import provenance


def git(folder: Path, *args: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", "-C", str(folder), *who, *args], check=True, capture_output=True)


def test_a_folder_without_git_has_empty_strings_and_everything_else(tmp_path: Path) -> None:
    facts = provenance.collect(tmp_path, data_digest="d1")
    assert (facts["git_commit"], facts["git_patch"], facts["git_dirty"]) == ("", "", False)
    assert facts["data_digest"] == "d1"
    assert len(facts["code_digest"]) == len(facts["lock_hash"]) == 64
    assert facts["hardware"]["cores"] >= 1 and facts["hardware"]["ram_gb"] > 0
    assert provenance.hardware_name(facts["hardware"])
    json.dumps(facts)


def test_uncommitted_changes_are_kept_as_a_patch(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "a.txt").write_text("one\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    clean = provenance.git_state(tmp_path)
    assert len(clean["git_commit"]) == 40 and not clean["git_dirty"]
    (tmp_path / "a.txt").write_text("two\n")
    dirty = provenance.git_state(tmp_path)
    assert dirty["git_dirty"] and "+two" in dirty["git_patch"] and not dirty["git_patch_truncated"]
    (tmp_path / "a.txt").write_text("x" * (2 * provenance.PATCH_BYTES))
    assert provenance.git_state(tmp_path)["git_patch_truncated"]


def test_the_lock_hash_follows_the_constraints_file(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "constraints.txt").write_text("torch==2.13.0\n")
    assert provenance.lock_hash(tmp_path / "a") != provenance.lock_hash(tmp_path / "b")
    assert any(name.startswith("pydantic-2") for name in provenance.installed())


def test_a_gpu_names_the_hardware_when_there_is_one() -> None:
    facts = {"cpu": "c", "cores": 8, "gpus": [{"name": "NVIDIA H100"}] * 2}
    assert provenance.hardware_name(facts) == "2 × NVIDIA H100"
    assert provenance.hardware_name({**facts, "gpus": []}) == "c, 8 cores"


def test_collecting_loads_nothing_heavy() -> None:
    code = "import shoestring.provenance as p, sys, pathlib; p.collect(pathlib.Path('.'));"
    code += "print([m for m in ('torch', 'sqlalchemy', 'mlflow') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
