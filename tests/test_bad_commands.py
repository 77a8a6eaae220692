"""Bad input on the command line: ids, words with SQL in them, amounts, databases, folders. Nothing is lost by any."""

from __future__ import annotations

import itertools
import json
import resource
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import doors
import pytest
from shoestring import actions, queries, runs
from shoestring.db import Database
from shoestring_trainer.run_dir import Result
from sqlalchemy import text

TABLE = "'; DROP TABLE runs; --"


@pytest.fixture(scope="module")
def queue(tmp_path_factory: pytest.TempPathFactory, migrated: Path, submission) -> Iterator[Database]:
    """A project in the current folder; its queue: run 1 queued, 2 cancelled, 3 succeeded, 4 failed, 5 paused."""
    root = tmp_path_factory.mktemp("queue")
    doors.project(root)
    (root / ".shoestring").mkdir()
    db = Database(f"sqlite:///{shutil.copy(migrated, root / '.shoestring' / 'shoestring.db')}")
    names = ("queued", "cancelled", "succeeded", "failed", "paused")
    made = {n: actions.submit(db, [submission(f"{n}/s0")], runs_dir=root / "runs", now=1e6)[0].run_id for n in names}
    actions.cancel(db, made["cancelled"])
    actions.pause(db, made["queued"]), actions.pause(db, made["paused"])
    for name, failure_class in (("succeeded", ""), ("failed", "nan")):
        lease = runs.claim(db, "w", name, now=1e6)
        assert lease and lease.run_id == made[name]
        runs.start(db, lease, 0, now=1e6)
        runs.finish(db, lease, Result(lease.token, name, failure_class, "", 100), now=1e6)
    actions.resume(db, made["queued"])
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SHOESTRING_HOME", raising=False)
        patch.delenv("SHOESTRING_DB", raising=False)
        patch.chdir(root)
        yield db


@pytest.fixture(autouse=True)
def nothing_is_lost(request: pytest.FixtureRequest) -> Iterator[None]:
    if "queue" not in request.fixturenames:
        yield
        return
    db = request.getfixturevalue("queue")
    before = [queries.runs(db), queries.events(db)]
    yield
    assert [queries.runs(db), queries.events(db)] == before


# ── runs ────────────────────────────────────────────────────────────────────────────────────────

NO_RUN = ("", "0", "6", "1 OR 1=1", "1; DROP TABLE runs", TABLE, "(SELECT 1)", "%", "queued%", "queue_", "queued/s_",
          "1.0", "0x1", "٢", "1\n2", str(2**63), "9" * 5000, "queued/s0\u202e", "../queued")  # fmt: skip


@pytest.mark.parametrize(
    ("verb", "name"), [*zip(itertools.cycle(["status", "cancel"]), NO_RUN)], ids=lambda it: ascii(it)[:20]
)
def test_what_names_no_run_is_not_found(queue, verb, name):
    refusal = doors.refused(verb, name, exit_code=6)
    assert refusal.code == "not_found" and "there is no run" in refusal.words and "shoestring status" in refusal.words


@pytest.mark.parametrize("verb", ["logs", "cancel"])
def test_minus_one_is_an_option_or_no_run(queue, verb):
    assert "No such option: -1" in doors.refused_by_the_parser(verb, "-1")
    done = doors.run(verb, "--json", "--", "-1")
    assert done.exit_code == 6 and "there is no run '-1'" in done.stdout


COMMANDS = {
    "cancel what was cancelled": (["cancel", "2"], 7, "conflict", "run 2 has cancelled already"),
    "cancel what has succeeded": (["cancel", "3"], 7, "conflict", "run 3 has succeeded already"),
    "cancel what has failed": (["cancel", "4"], 7, "conflict", "run 4 has failed already"),
    "pause twice": (["pause", "5"], 7, "conflict", "run 5 is paused"),
    "pause what has succeeded": (["pause", "3"], 7, "conflict", "queued or running"),
    "resume what is queued": (["resume", "1"], 7, "conflict", "run 1 is queued, not paused"),
    "resume what has succeeded": (["resume", "3"], 7, "conflict", "not paused"),
    "retry what has succeeded": (["retry", "3"], 7, "conflict", "only failed and cancelled"),
    "retry what is queued": (["retry", "1"], 7, "conflict", "only failed and cancelled"),
    "logs of what never ran": (["logs", "1"], 6, "not_found", "no attempt was started"),
    "logs of attempt -1": (["logs", "1", "--attempt", "-1"], 6, "not_found", "no log"),
    "draw without a checkpoint": (["sample", "1", "-p", "a cat"], 7, "conflict", "no checkpoint yet"),
    "draw two lines": (["sample", "1", "-p", "a\ncat"], 2, "usage", "line break"),
    "draw nothing": (["sample", "1", "-p", " "], 2, "usage", "empty"),
    "export without a checkpoint": (["export", "3", "--out", "x.safetensors"], 7, "conflict", "no checkpoint"),
    "export a pickle": (["export", "3", "--out", "x.pt"], 7, "conflict", "no checkpoint"),
    "finetune what failed": (["finetune", "4", "--like", "a", "--usd", "1"], 7, "conflict", "run 4 is failed"),
    "showcase of nothing": (["showcase"], 6, "not_found", "no finished experiment"),
    "measure -5 pictures": (["evaluate", "3", "--n", "-5"], 2, "usage", "--n -5"),
    "rank by SQL": (["rank", "--metric", TABLE], 2, "usage", "val/loss"),
    "a sweep's name of SQL": (["sweep", "report", TABLE], 6, "not_found", "DROP TABLE"),
    "no such sweep": (["sweep", "run", "experiments.yaml", "%"], 6, "not_found", "no sweep '%'"),
    "no trials": (["sweep", "run", "experiments.yaml", "x", "--trials", "0"], 6, "not_found", "no sweep"),
    "plan only SQL": (["plan", "--only", TABLE], 6, "not_found", "no experiment"),
    "submit only %": (["submit", "--only", "%"], 6, "not_found", "known: a"),
    "diff with nobody": (["diff", "a", "b"], 6, "not_found", "no experiment 'b'"),
    "diff with 2^63": (["diff", "a", str(2**63)], 6, "not_found", "there is no run"),
    "serve to the world": (["ui", "--address", "0.0.0.0"], 2, "usage", "make a tunnel: ssh"),
    "serve to a name": (["ui", "--address", "localhost.example.org"], 2, "usage", "make a tunnel: ssh"),
    "import nothing": (["import", "none.safetensors"], 6, "not_found", "none.safetensors"),
    "import /dev/zero": (["import", "/dev/zero"], 6, "not_found", "/dev/zero"),
    "import under a bad name": (["import", "experiments.yaml", "--name", "../x"], 2, "usage", "'../x'"),
    "import for no data set": (["import", "experiments.yaml", "--data", "../../etc"], 4, "environment", "../../etc"),
    "make a project where there is one": (["init"], 7, "conflict", "exists already"),
}  # fmt: skip


@pytest.mark.parametrize(("argv", "exit_code", "code", "words"), COMMANDS.values(), ids=COMMANDS)
def test_a_command_that_cannot_be_done_says_why(queue, argv, exit_code, code, words):
    refusal = doors.refused(*argv, exit_code=exit_code)
    assert refusal.code == code and words in refusal.words, refusal


@pytest.mark.parametrize("argv", [
    ["logs", "1", "-n", "-1"], ["logs", "1", "-n", "0"], ["sample", "1"], ["sample", "1", "-p", "x", "--seed", "-1"],
    ["sample", "1", "-p", "x", "--seed", str(2**64)], ["sample", "1", "-p", "x", "--guidance", "nan"],
    ["resume", "5", "--max-usd", "nan"], ["resume", "5", "--max-usd", "inf"], ["resume", "5", "--max-usd", "1e300"],
    ["resume", "5", "--max-usd", "-1"], ["resume", "5", "--max-usd", "$5"], ["rank", "--at-usd", "inf"],
    ["rank", "--at-usd", "-1"], ["calibrate", "--seconds", "nan"], ["ui", "--port", "70000"], ["ui", "--port", "0"],
    ["finetune", "3", "--like", "a", "--usd", "nan"], ["finetune", "3", "--like", "a", "--usd", "-1"],
    ["showcase", "--extra-usd", "nan"], ["showcase", "--extra-usd", "inf"], ["plan", "--what"],
    ["cancel"], ["nonsense"], ["plan", "a.yaml", "b.yaml"], ["logs", "1", "--attempt", "1.5"],
], ids=" ".join)  # fmt: skip
def test_what_the_command_line_does_not_take_ends_with_2(queue, argv):
    said = doors.refused_by_the_parser(*argv)
    assert "--help" in said and "Error" in said


# ── databases and folders ───────────────────────────────────────────────────────────────────────


def not_sqlite(path: Path) -> None:
    path.write_text("just words, and enough of them to be taken for a page of something\n" * 50)


def foreign(path: Path) -> None:
    with sqlite3.connect(path) as conn:
        conn.execute("CREATE TABLE experiments (name TEXT)")


def newer(path: Path) -> None:
    db = Database(f"sqlite:///{path}")
    with db.write() as conn:
        conn.execute(text("UPDATE shoestring_version SET version_num = '9999'"))
    db.close()


DATABASES = {
    "missing": (lambda path: path.unlink(), "no_database", "shoestring db upgrade"),
    "no tables": (lambda path: path.write_bytes(b""), "no_schema", "shoestring db upgrade"),
    "not a database": (not_sqlite, "not_a_database", "move it away"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "not_a_database", "not a file"),
    "a device": (lambda path: (path.unlink(), path.symlink_to("/dev/zero")), "not_a_database", "not a file"),
    "another program's": (lambda path: (path.unlink(), foreign(path)), "foreign_database", "tables experiments"),
    "of a newer program": (newer, "newer_schema", "'9999'"),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "code", "words"), DATABASES.values(), ids=DATABASES)
def test_a_database_that_cannot_be_used_is_refused_with_what_to_do(spoil, code, words, tmp_path, migrated, monkeypatch):
    doors.project(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SHOESTRING_HOME", raising=False)
    path = Path(shutil.copy(migrated, tmp_path / "shoestring.db"))
    spoil(path)
    monkeypatch.setenv("SHOESTRING_DB", f"sqlite:///{path}")
    for argv in (["submit"], ["db", "check"]):
        refusal = doors.refused(*argv, exit_code=4)
        assert refusal.code == code and words in refusal.words, refusal


@pytest.mark.parametrize("url", [
    "postgresql://bob:s3cr3t@127.0.0.1:9/none", "postgresql://bob:s3cr%33t@127.0.0.1:9/none",
    "postgresql://bob:s3cr3t@127.0.0.1:port/none", "mysql://bob:s3cr3t@127.0.0.1/x", "s3cr3t", "sqlite://",
    "postgresql://bob:s3cr3t@127.0.0.1:9/none?sslrootcert=/none&sslmode=verify-full",
    "postgresql://bob@127.0.0.1:9/none?password=s3cr3t", "postgresql://:s3cr3t@127.0.0.1:9/none",
], ids=range(9))  # fmt: skip
def test_an_address_of_a_database_is_refused_without_its_password(url, tmp_path, monkeypatch):
    doors.project(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHOESTRING_DB", url)
    for argv in (["status"], ["db", "upgrade"]):
        refusal = doors.refused(*argv, exit_code=4)
        assert refusal.code == "database" and "s3cr3t" not in json.dumps(refusal.error), refusal
    assert url == "s3cr3t" or "s3cr3t" not in doors.run("db", "url").stdout


@pytest.mark.parametrize("home", ["/dev/null/x", "/dev/full", "/proc/x", "experiments.yaml", "x\0y"])
def test_a_folder_that_cannot_be_made_is_told_by_its_name(home, tmp_path, monkeypatch):
    doors.project(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SHOESTRING_DB", raising=False)
    if "\0" in home:  # no environment variable can hold it
        with pytest.raises(ValueError):
            monkeypatch.setenv("SHOESTRING_HOME", home)
        return
    monkeypatch.setenv("SHOESTRING_HOME", home)
    refusal = doors.refused("db", "upgrade", exit_code=4)
    assert refusal.code == "file_access" and Path(home).name in refusal.words


def test_a_full_disk_ends_a_command_with_its_reason(tmp_path):
    """No file may grow beyond 16 KiB, which is how a full disk looks to a program that writes."""
    doors.project(tmp_path)
    done = subprocess.run(
        [sys.executable, "-B", "-m", "shoestring.cli.main", "db", "upgrade", "--json"],  # -B: nor half a .pyc
        env={"SHOESTRING_HOME": str(tmp_path / "state")}, cwd=tmp_path, capture_output=True, text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (16384, 16384)),
    )  # fmt: skip
    assert done.returncode == 4 and "Traceback" not in done.stderr, done
    assert json.loads(done.stdout)["error"]["code"] in ("database", "file_access")


@pytest.mark.parametrize("content", [
    b"", b"[]", b"null", b"\xff", b"{", b"[" * 100_000, b'{"version": 2}', b'{"version": 1}', b" " * 2_000_000,
    b'{"version": ' + b"7" * 5000 + b"}",
    *(json.dumps({**doors.MANIFEST, **bad}).encode() for bad in (
        {"shape": [3, 0, 0]}, {"shape": [3, -16, 16]}, {"shape": [3, 1e9, 1e9]}, {"shape": 3}, {"n_train": 0},
        {"digest": 3}, {"caption_tokens": "many"}, {"caption_tokens": float("nan")}, {"space": "pickles"},
    )),
], ids=range(19))  # fmt: skip
def test_a_damaged_manifest_of_a_data_set_is_refused_with_what_to_do(content, tmp_path):
    file = doors.project(tmp_path)
    (tmp_path / "data" / "tiny" / "manifest.json").write_bytes(content)
    refusal = doors.refused("plan", str(file), exit_code=4)
    assert refusal.code == "environment" and "manifest.json" in refusal.words and "build it again" in refusal.words


def test_a_data_set_that_is_no_folder_of_files_is_not_built(tmp_path):
    file = doors.project(tmp_path)
    manifest = tmp_path / "data" / "tiny" / "manifest.json"
    for make in (lambda: manifest.symlink_to("/dev/zero"), manifest.mkdir, lambda: None):
        manifest.unlink(missing_ok=True)
        make()
        refusal = doors.refused("plan", str(file), exit_code=4)
        assert refusal.code == "environment" and "'tiny' is not built" in refusal.words and "dvc repro" in refusal.words
        manifest.is_dir() and manifest.rmdir()


def test_a_bad_catalogue_of_prices_is_told_like_a_bad_spec(tmp_path):
    file = doors.project(tmp_path)
    row = "{usd_per_hour: -1, source: '', date: tomorrow, peak_tflops: .inf, device: tpu}"
    (tmp_path / "prices.yaml").write_text(f"version: 1\nprices:\n  this-machine: {row}\n  A: {row}\n")
    found = doors.refused("plan", str(file), exit_code=3).faults
    assert {f["code"] for f in found} == {"out_of_range", "bad_format", "not_finite", "bad_choice", "bad_name"}
    (tmp_path / "prices.yaml").unlink()
    (tmp_path / "prices.yaml").symlink_to("/dev/zero")
    assert doors.refused("plan", str(file), exit_code=6).code == "not_found"


def test_a_damaged_calibration_is_told_with_the_command(tmp_path, monkeypatch):
    from shoestring.calibration import calibration_file, machine
    from shoestring.provenance import hardware

    file = doors.project(tmp_path)
    monkeypatch.setenv("SHOESTRING_HOME", str(tmp_path / "state"))
    path = calibration_file(tmp_path / "state" / "calibrations", machine(hardware()))
    path.parent.mkdir(parents=True)
    for content in (b"", b"[]", b'{"shapes": [], "overheads": {}, "measured_at": ""}', b"[" * 100_000, b"\xff"):
        path.write_bytes(content)
        refusal = doors.refused("plan", str(file), exit_code=4)
        assert refusal.code == "environment" and "shoestring calibrate" in refusal.words


# ── the app's addresses ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("asked", ["9" * 5000, "<script>alert(1)</script>"], ids=["5,000 digits", "a script"])
def test_an_address_of_the_app_that_names_no_run_shows_another(queue, asked, monkeypatch):
    from streamlit.testing.v1 import AppTest

    monkeypatch.setenv("SHOESTRING_DB", queue.url.render_as_string())
    for page, key, value in (("run", "run", asked), ("compare", "runs", f"{asked},1")):
        shown = AppTest.from_string(f"from shoestring_ui.views import {page}\n{page}.page()\n", default_timeout=60)
        shown.query_params.update({key: value})
        shown.run()
        assert not shown.exception
        assert not [html for html in shown.get("html") if "<script>" in html.proto.body]
