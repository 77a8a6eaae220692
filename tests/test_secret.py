"""The database's address by reference: found where it says, or refused without a word of it."""

from __future__ import annotations

import json
from pathlib import Path

import doors
import pytest
from shoestring.errors import EnvironmentProblem
from shoestring.home import Home
from shoestring.secret import MOST_BYTES, revealed


def test_a_reference_becomes_what_it_names_and_the_rest_stays(tmp_path, monkeypatch):
    (tmp_path / "address").write_text("postgresql://bob:s3cr3t@host/name\n")
    monkeypatch.setenv("ADDRESS", "sqlite:////tmp/x.db")
    assert revealed(f"file:{tmp_path}/address") == "postgresql://bob:s3cr3t@host/name"
    assert revealed("env:ADDRESS") == "sqlite:////tmp/x.db"
    assert revealed("sqlite:////tmp/y.db") == "sqlite:////tmp/y.db"
    monkeypatch.setenv("SHOESTRING_DB", "env:ADDRESS")
    assert Home.find(tmp_path).db_url == "sqlite:////tmp/x.db"


def spoilt(tmp_path: Path) -> dict[str, str]:
    files = {"empty": b"\n", "long": b"s3cr3t" * MOST_BYTES, "binary": b"s3cr3t\xff"}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    return {
        **{name: f"file:{tmp_path / name}" for name in (*files, "missing")},
        "folder": f"file:{tmp_path}", "endless": "file:/dev/zero", "unset": "env:NO_SUCH_VARIABLE", "nameless": "env:",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["empty", "long", "binary", "missing", "folder", "endless", "unset", "nameless"])
def test_a_secret_that_is_missing_or_none_is_refused_by_its_reference(name, tmp_path, monkeypatch):
    written = spoilt(tmp_path)[name]
    with pytest.raises(EnvironmentProblem) as caught:
        revealed(written)
    assert caught.value.code == "no_secret" and written in caught.value.message
    doors.project(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHOESTRING_DB", written)
    for argv in (["status"], ["db", "upgrade"], ["db", "url"]):
        refusal = doors.refused(*argv, exit_code=4)
        assert refusal.code == "no_secret" and "s3cr3t" not in json.dumps(refusal.error)


def test_a_command_works_on_the_database_that_a_file_names_and_does_not_tell_its_password(
    either, tmp_path, monkeypatch
):
    doors.project(tmp_path)
    monkeypatch.chdir(tmp_path)
    address = Home.find().db_url
    (tmp_path / "address").write_text(address)
    monkeypatch.setenv("SHOESTRING_DB", f"file:{tmp_path}/address")
    assert doors.run("db", "upgrade").exit_code == 0 and doors.run("status").exit_code == 0
