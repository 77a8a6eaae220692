"""Migrations: from nothing to today's schema, once; and databases that are not ours to migrate."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from shoestring import migrate
from shoestring.db import Database
from shoestring.errors import EnvironmentProblem
from shoestring.tables import VERSION_TABLE, metadata
from sqlalchemy import inspect, text


def url(path: Path) -> str:
    return f"sqlite:///{path}"


def test_an_upgrade_makes_the_database_and_its_folder_and_a_second_one_changes_nothing(tmp_path: Path):
    path = tmp_path / "50% new" / "shoestring.db"
    assert migrate.upgrade(url(path)) == ("", migrate.head())
    migrate.check(url(path))
    before = path.read_bytes()
    assert migrate.upgrade(url(path)) == (migrate.head(), migrate.head())
    assert path.read_bytes() == before


def test_the_migrations_make_exactly_the_tables_of_the_code(db: Database):
    with db.read() as conn:
        context = MigrationContext.configure(conn, opts={"version_table": VERSION_TABLE, "compare_type": True})
        assert compare_metadata(context, metadata) == []
        assert "alembic_version" not in inspect(conn).get_table_names()  # Optuna's and MLflow's


def test_in_sqlite_points_have_no_row_numbers_and_a_run_never_gets_the_id_of_another(sqlite_db: Database):
    with sqlite_db.read() as conn:
        made = dict(conn.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'table'").all())
    assert "WITHOUT ROWID" in made["metrics"] and "AUTOINCREMENT" in made["runs"]


def test_a_failed_upgrade_leaves_no_half_schema(tmp_path: Path, sqlite_db: Database):
    with sqlite_db.write() as conn:  # as if a later migration could not be found half way
        conn.exec_driver_sql(f"DELETE FROM {VERSION_TABLE}")
        before = conn.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar()
    with pytest.raises(EnvironmentProblem):
        migrate.upgrade(url(sqlite_db.path))
    with sqlite_db.read() as conn:
        assert conn.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar() == before


def test_no_database_and_an_empty_one_are_told_what_to_run(tmp_path: Path):
    with pytest.raises(EnvironmentProblem, match="no database") as caught:
        migrate.check(url(tmp_path / "none.db"))
    assert "shoestring db upgrade" in caught.value.hint
    (tmp_path / "empty.db").touch()
    with pytest.raises(EnvironmentProblem, match="no tables yet") as caught:
        migrate.check(url(tmp_path / "empty.db"))
    assert "shoestring db upgrade" in caught.value.hint


@pytest.mark.parametrize("act", [migrate.check, migrate.upgrade])
def test_what_is_not_our_database_is_left_alone(act, tmp_path: Path):
    (tmp_path / "text.db").write_text("not a database at all")
    with pytest.raises(EnvironmentProblem, match="not an SQLite database"):
        act(url(tmp_path / "text.db"))
    assert (tmp_path / "text.db").read_text() == "not a database at all"
    with pytest.raises(EnvironmentProblem, match="not a file"):
        act(url(tmp_path))
    with sqlite3.connect(tmp_path / "mlflow.db") as other:
        other.execute("CREATE TABLE alembic_version (version_num TEXT)")
    with pytest.raises(EnvironmentProblem, match="belongs to something else"):
        act(url(tmp_path / "mlflow.db"))


def test_an_upgrade_leaves_logging_as_it_was(tmp_path: Path):
    root = logging.getLogger()
    before = (root.level, list(root.handlers), logging.getLogger("sqlalchemy").level)
    migrate.upgrade(url(tmp_path / "shoestring.db"))
    assert (root.level, list(root.handlers), logging.getLogger("sqlalchemy").level) == before


def test_a_check_takes_no_lock_away_from_this_process_own_connections(sqlite_db: Database):
    def count() -> int | None:
        with sqlite_db.read() as conn:
            return conn.scalar(text(f"SELECT count(*) FROM {VERSION_TABLE}"))

    assert count() == 1  # the pool keeps this connection, and with it the locks on the file
    migrate.check(f"sqlite:///{sqlite_db.path}")
    other = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('CREATE TABLE other (x)'); c.close()"
    subprocess.run([sys.executable, "-c", other, str(sqlite_db.path)], check=True)  # thinks it is last: removes the WAL
    assert Path(f"{sqlite_db.path}-wal").exists()
    assert count() == 1
