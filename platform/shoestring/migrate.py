"""Bring a database to this program's schema, and say what is wrong with one that is not there.

Migrations are in `alembic/` of a source tree and in `shoestring/migrations` of an installed wheel. Ours have a version
table of their own: MLflow and Optuna both keep theirs in `alembic_version`.
"""

from __future__ import annotations

import os
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from shoestring.db import Database, take_turns
from shoestring.errors import EnvironmentProblem
from shoestring.tables import VERSION_TABLE, metadata

UPGRADE = "run: shoestring db upgrade"
ALEMBIC = "alembic_version"  # MLflow's and Optuna's
# Tables by which to know them; not `runs`, `metrics` and `trials`, whose names are ours, too.
MLFLOW = {"experiments", "experiment_tags", "latest_metrics", "params", "registered_models", "model_versions"}
OPTUNA = {"studies", "study_directions", "study_user_attributes", "trial_params", "trial_values", "version_info"}


def migrations_folder() -> Path:
    """Where the migrations are. Raises EnvironmentProblem when the installation lacks them."""
    here = Path(__file__).resolve()
    for folder in (here.parent / "migrations", here.parents[2] / "alembic"):
        if (folder / "env.py").is_file():
            return folder
    raise EnvironmentProblem("this installation has no migrations", "install it again: pip install shoestring")


def upgrade(url: str, to: str = "head") -> tuple[str, str]:
    """Create or upgrade the database, in one transaction; return its revision before ("" for none) and after.

    Several at the same time take turns, and make one schema. Raises EnvironmentProblem for what is not a database, not
    ours, in disorder, or newer than this program.
    """
    from alembic import command

    db = Database(url, migrating=True)
    _refuse_other_files(db)
    if db.path is not None:
        db.path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with db.write() as conn:
            take_turns(conn, "upgrade")
            before = _revision(db, conn)
            config = _config()
            config.attributes["connection"] = conn
            if before != head():
                command.upgrade(config, to)
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


def lacking(url: str) -> list[str]:
    """Tables and columns (`runs.step`) of this program's schema that the database has not; of one at its head, none."""
    db = Database(url)
    with db.read() as conn:
        found = inspect(conn)
        there = {name: {column["name"] for column in found.get_columns(name)} for name in found.get_table_names()}
    db.close()
    tables = [table for table in metadata.sorted_tables if table.name in there]
    missing = [table.name for table in metadata.sorted_tables if table.name not in there]
    return missing + [f"{t.name}.{c.name}" for t in tables for c in t.columns if c.name not in there[t.name]]


def strangers(url: str) -> dict[str, list[str]]:
    """Tables beside ours in the database, by the program they belong to: MLflow, Optuna, or "another program".

    Empty where there is no database yet. Raises EnvironmentProblem.
    """
    db = Database(url)
    if db.path is not None and not db.path.exists():
        return {}
    with db.read() as conn:
        tables = set(inspect(conn).get_table_names()) - {*metadata.tables, VERSION_TABLE}
    db.close()
    owners = {"MLflow": tables & MLFLOW, "Optuna": tables & OPTUNA}
    owners["another program"] = tables.difference(*owners.values(), {ALEMBIC})
    if ALEMBIC in tables and not owners["MLflow"] and not owners["Optuna"]:
        owners["another program"].add(ALEMBIC)
    return {owner: sorted(names) for owner, names in owners.items() if names}


def head() -> str:
    """The revision of this program's schema."""
    return _scripts().get_current_head() or ""


def _scripts():  # type: ignore[no-untyped-def]
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(_config())


def _config():  # type: ignore[no-untyped-def]
    from alembic.config import Config

    config = Config()  # no ini file: logging stays as the program has it
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    return config


def _revision(db: Database, conn: Connection) -> str:
    """The schema's revision, "" for an empty database. Raises EnvironmentProblem when not ours or unknown."""
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
    revisions = list(conn.scalars(text(f"SELECT version_num FROM {VERSION_TABLE}")))
    if len(revisions) > 1 or (not revisions and tables & metadata.tables.keys()):
        said = " and ".join(sorted(revisions)) or "none"
        raise EnvironmentProblem(
            f"the database {db.shown} is in disorder: it has tables, and its schema's revision is {said}",
            "go back to a copy that was whole, or point SHOESTRING_DB at a new database: shoestring db upgrade",
            code="dirty_schema",
        )
    found = revisions[0] if revisions else ""
    try:
        known = not found or _scripts().get_revision(found) is not None
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
