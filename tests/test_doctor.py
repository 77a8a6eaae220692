"""The doctor says what is there and what to do about what is not."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest
from shoestring import doctor, migrate, provenance
from shoestring.calibration import Calibration, Measured, Overheads, calibration_file, machine, write_calibration
from shoestring.home import Home


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.delenv("SHOESTRING_DB", raising=False)
    return Home(root=tmp_path, state=tmp_path / ".shoestring")


def test_a_new_project_is_told_to_migrate_build_and_calibrate(home):
    checks = {c.name: c for c in doctor.examine(home)}
    assert checks["database"].status == "fail" and "db upgrade" in checks["database"].hint
    assert checks["data"].status == "warn" and "dvc repro" in checks["data"].hint
    assert checks["calibration"].status == "warn" and "calibrate" in checks["calibration"].hint
    assert checks["Python"].status == "ok"
    assert not home.state.exists(), "looking changes nothing"


def test_a_migrated_database_is_fine(home):
    migrate.upgrade(home.db_url)
    assert [c.status for c in doctor.database(home)] == ["ok"]


def test_sharing_a_database_with_mlflow_or_optuna_is_a_fault(home, monkeypatch):
    assert doctor.databases_apart(home)[0].status == "ok"
    monkeypatch.setenv("SHOESTRING_DB", home.optuna_url)
    check = doctor.databases_apart(home)[0]
    assert check.status == "fail" and "Optuna" in check.fact


@pytest.fixture
def shared(home, db, monkeypatch):
    """`home` on a database of each kind, and what makes tables in it as another program would."""
    monkeypatch.setenv("SHOESTRING_DB", db.url.render_as_string(hide_password=False))

    def make(*tables: str) -> None:
        with db.write() as conn:
            for table in tables:
                conn.exec_driver_sql(f"CREATE TABLE {table} (x INTEGER)")

    return make


@pytest.mark.parametrize(
    ("tables", "status", "said"),
    [
        (("alembic_version", "experiments", "latest_metrics"), "fail", "tables of MLflow: experiments, latest_metrics"),
        (("alembic_version", "studies", "trial_params"), "fail", "tables of Optuna: studies, trial_params"),
        (("customers",), "warn", "tables of another program: customers"),
        (("alembic_version",), "warn", "tables of another program: alembic_version"),
        ((), "ok", "each have their own"),
    ],
)
def test_tables_of_others_in_our_database_are_told_by_their_owner(home, shared, tables, status, said):
    shared(*tables)
    check = doctor.databases_apart(home)[0]
    assert check.status == status and said in check.fact
    assert doctor.database(home)[0].status == "ok"


def test_one_file_in_two_spellings_is_one_database(home, monkeypatch):
    home.state.mkdir()
    (home.root / "link").symlink_to(home.state)
    for spelling in (home.state / ".." / home.state.name / "mlflow.db", home.root / "link" / "mlflow.db"):
        monkeypatch.setenv("SHOESTRING_DB", f"sqlite:///{spelling}")
        assert "shoestring and MLflow share" in doctor.databases_apart(home)[0].fact
    assert doctor.place("postgresql://a:x@host/runs") == doctor.place("postgresql+psycopg://b:y@host:5432/runs")
    assert doctor.place("postgresql://host/runs") != doctor.place("postgresql://host/other")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("UPDATE shoestring_version SET version_num = '9999'", "schema '9999', which this program"),
        ("UPDATE shoestring_version SET version_num = '0001'", "has schema 0001; this program needs"),
        ("DELETE FROM shoestring_version", "in disorder"),
        ("INSERT INTO shoestring_version VALUES ('0001')", "in disorder"),
        ("DROP TABLE checkpoints", "and lacks checkpoints"),
        ("ALTER TABLE runs DROP COLUMN inexact", "and lacks runs.inexact"),
    ],
)
def test_a_schema_that_is_unknown_old_in_disorder_or_not_whole_is_a_fault_with_a_way_out(
    home, db, shared, damage, said
):
    with db.write() as conn:
        conn.exec_driver_sql(damage)
    (check,) = doctor.database(home)
    assert check.status == "fail" and said in check.fact and check.hint


def test_a_database_of_mlflow_is_named(home, tmp_path, monkeypatch):
    with sqlite3.connect(tmp_path / "theirs.db") as theirs:
        theirs.execute("CREATE TABLE alembic_version (version_num TEXT)")
        theirs.execute("CREATE TABLE registered_models (name TEXT)")
    monkeypatch.setenv("SHOESTRING_DB", f"sqlite:///{tmp_path / 'theirs.db'}")
    assert "belongs to something else" in doctor.database(home)[0].fact
    assert "tables of MLflow: registered_models" in doctor.databases_apart(home)[0].fact


def test_an_old_python_is_a_fault():
    assert doctor.python_version((3, 9, 1))[0].status == "fail"


def test_a_package_that_is_not_as_pinned_is_told(tmp_path):
    (tmp_path / "constraints.txt").write_text("# pins\nnumpy==0.0.1\n")
    assert "numpy" in doctor.packages(tmp_path)[-1].fact
    assert "pinned 0.0.1" in doctor.packages(tmp_path)[-1].fact


def test_pins_are_found_whatever_the_spelling_of_the_name(tmp_path):
    lock = tmp_path / "constraints.txt"
    lock.write_text("Typing_Extensions==4.1\n# x==1\nflufl.lock==9\n")
    assert doctor.read_pins(lock) == {"typing-extensions": "4.1", "flufl-lock": "9"}


def test_a_manifest_that_does_not_read_is_a_fault_that_names_the_folder(home):
    folder = home.data / "broken"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{")
    check = doctor.data_sets(home)[0]
    assert check.status == "fail" and "broken" in check.fact


def test_an_old_calibration_is_worth_a_word(home):
    shapes = {"one": Measured(0.1, 0.05, 1e9, 1000, ("cpu", 1, "fp32", False))}
    overheads = {"procedural": Overheads(1.0, 1e-9, 1e-9, 0.01, 0.1)}
    measured = Calibration(machine(provenance.hardware()), shapes, overheads, "today")
    file = write_calibration(home.calibrations, measured)
    os.utime(file, (1_000_000, 1_000_000))
    assert doctor.calibration(home, now=1_000_000 + 3600)[0].status == "ok"
    old = doctor.calibration(home, now=1_000_000 + 90 * 86400)[0]
    assert old.status == "warn" and "90 days" in old.fact


def test_a_damaged_calibration_is_a_fault_and_the_other_checks_go_on(home):
    file = calibration_file(home.calibrations, machine(provenance.hardware()))
    file.parent.mkdir(parents=True)
    file.write_text("{}")
    checks = {c.name: c for c in doctor.examine(home)}
    assert checks["calibration"].status == "fail" and "is no calibration" in checks["calibration"].fact
    assert "disk" in checks


def test_pictures_before_encoding_are_no_set(home):
    (home.data / "raw").mkdir(parents=True)
    (home.data / "raw" / "manifest.json").write_text("{}")
    assert [c.status for c in doctor.data_sets(home)] == ["warn"]


def test_a_full_disk_is_a_fault(home):
    assert [doctor.disk(home, n)[0].status for n in (100 * 10**9, 2 * 10**9, 10**8)] == ["ok", "warn", "fail"]


def test_missing_programs_say_what_they_are_for():
    checks = doctor.programs(which=lambda _: None)
    assert [c.status for c in checks] == ["warn"] * 3 and all(c.hint for c in checks)


def test_a_password_is_never_shown():
    assert doctor.shown_url("postgresql://me:secret@host/db") == "postgresql://me:***@host/db"
