"""Bring a database to this program's schema, and say what is wrong with one that is not there.

Migrations are in `alembic/` of a source tree and in `shoestring/migrations` of an installed wheel. Ours have a version
table of their own: MLflow and Optuna both keep theirs in `alembic_version`.
"""

from __future__ import annotations

import os
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from shoestring.db import Database
from shoestring.errors import EnvironmentProblem
from shoestring.tables import VERSION_TABLE

UPGRADE = "run: shoestring db upgrade"


def migrations_folder() -> Path:
    """Where the migrations are. Raises EnvironmentProblem when the installation lacks them."""
    here = Path(__file__).resolve()
    for folder in (here.parent / "migrations", here.parents[2] / "alembic"):
        if (folder / "env.py").is_file():
            return folder
    raise EnvironmentProblem("this installation has no migrations", "install it again: pip install shoestring")


def upgrade(url: str) -> tuple[str, str]:
    """Create or upgrade the database, in one transaction; return its revision before ("" for none) and after.

    Raises EnvironmentProblem for what is not a database, not ours, or newer than this program.
    """
    from alembic import command

    db = Database(url, migrating=True)
    _refuse_other_files(db)
    if db.path is not None:
        db.path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with db.write() as conn:
            before = _revision(db, conn)
            config = _config()
            config.attributes["connection"] = conn
            if before != head():
                command.upgrade(config, "head")
            return before, _revision(db, conn)
    finally:
        db.close()


def check(url: str) -> None:
    """Refuse a database that this program cannot work with. Raises EnvironmentProblem with the command to run."""
    db = Database(url)
    _refuse_other_files(db)
    with db.read() as conn:
        found = _revision(db, conn)
    db.close()
    if not found:
        raise EnvironmentProblem(f"the database {db.shown} has no tables yet", UPGRADE, code="no_schema")
    if found != head():
        raise EnvironmentProblem(
            f"the database {db.shown} has schema {found}; this program needs {head()}", UPGRADE, code="old_schema"
        )


def head() -> str:
    """The revision of this program's schema."""
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(_config()).get_current_head() or ""


def _config():  # type: ignore[no-untyped-def]
    from alembic.config import Config

    config = Config()  # no ini file: logging stays as the program has it
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    return config


def _revision(db: Database, conn: Connection) -> str:
    """The schema's revision, "" for an empty database. Raises EnvironmentProblem when not ours or unknown."""
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    tables = set(inspect(conn).get_table_names())
    if VERSION_TABLE not in tables:
        if tables:
            some = ", ".join(sorted(tables)[:3])
            raise EnvironmentProblem(
                f"the database {db.shown} belongs to something else: it has tables {some}",
                "point SHOESTRING_DB at a database of its own",
                code="foreign_database",
            )
        return ""
    found = conn.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}")) or ""
    try:
        known = not found or ScriptDirectory.from_config(_config()).get_revision(found) is not None
    except CommandError:
        known = False
    if not known:
        raise EnvironmentProblem(
            f"the database {db.shown} has schema {found!r}, which this program (schema {head()}) does not know",
            "a newer shoestring made it: pip install --upgrade shoestring, or point SHOESTRING_DB elsewhere",
            code="newer_schema",
        )
    return found


def _refuse_other_files(db: Database) -> None:
    """Refuse what is no readable file.

    What is no database, SQLite finds itself: opening the file here and closing it again would drop every lock that
    this process's open connections hold on it (sqlite.org/howtocorrupt.html, 2.2).
    """
    if db.path is None or not db.path.exists():
        return
    if not db.path.is_file():
        raise EnvironmentProblem(f"{db.path} is not a file", "point SHOESTRING_DB at a file", code="not_a_database")
    if not os.access(db.path, os.R_OK):
        raise EnvironmentProblem(f"{db.path} cannot be read", "check its permissions")
