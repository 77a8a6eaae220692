"""The doctor says what is there and what to do about what is not."""

from __future__ import annotations

import os
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
