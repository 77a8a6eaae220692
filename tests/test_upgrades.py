"""Every schema there ever was, with rows in every table, comes to today's on both databases and loses nothing.

Revisions are found by Alembic and tables by reflection, so a new migration is tested without a line here.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from shoestring import actions, migrate, queries, runs
from shoestring.db import Database
from shoestring.errors import ENVIRONMENT, EnvironmentProblem
from shoestring.tables import VERSION_TABLE, metadata
from shoestring_trainer.run_dir import Result
from sqlalchemy import JSON, BigInteger, Connection, Float, Integer, MetaData, Table, insert, inspect, select

REVISIONS = [script.revision for script in reversed(list(migrate._scripts().walk_revisions()))]
pytestmark = pytest.mark.filterwarnings("ignore:.*expression-based index")  # SQLite does not tell them
STATES = {"runs": "queued", "workers": "working", "checkpoints": "published", "trials": "running", "sweeps": "running"}


@pytest.fixture(params=["sqlite", "postgresql"])
def blank(request, tmp_path) -> Iterator[str]:
    """The address of a database in which there is nothing."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'shoestring.db'}"
        return
    server = request.getfixturevalue("postgres")
    url = server.new("template1")
    yield url
    server.drop(url.split("?")[0].rsplit("/", 1)[1])


def address(db: Database) -> str:
    return db.url.render_as_string(hide_password=False)


def reflected(conn: Connection) -> list[Table]:
    found = MetaData()
    found.reflect(conn)
    return [table for table in found.sorted_tables if table.name != VERSION_TABLE]


def value(table: Table, column: Any, n: int) -> Any:
    """What column `column` of row `n` (1, 2, …) gets; large, with accents, and such that foreign keys hold."""
    if column.foreign_keys:
        own = next(iter(column.foreign_keys)).column.table is table
        return n if not own else None if n == 1 else 1
    if column.name == "state":
        return STATES[table.name]
    if isinstance(column.type, JSON):
        return ["é", n] if column.name in ("tags", "results") else {"key": f"é{n}", "deep": {"n": [n, None, 0.1 + 0.2]}}
    if isinstance(column.type, BigInteger):
        return 2**40 + n
    if isinstance(column.type, Integer):
        return n
    if isinstance(column.type, Float):
        return 1_000_000.1 + n
    return f"{column.name} é {n}"[: getattr(column.type, "length", None)]


def fill(conn: Connection) -> None:
    """Two rows in every table; numbers that the database gives by itself are left to it."""
    for table in reflected(conn):
        key = list(table.primary_key.columns)
        given = key[0].name if len(key) == 1 and isinstance(key[0].type, Integer) else ""
        for n in (1, 2):
            row = {c.name: value(table, c, n) for c in table.columns if c.name != given}
            conn.execute(insert(table).values(row | ({"queue": "default", "gpus": 0} if table.name == "runs" else {})))


def content(conn: Connection) -> dict[str, list[dict[str, Any]]]:
    return {
        table.name: [dict(row._mapping) for row in conn.execute(select(table).order_by(*table.primary_key.columns))]
        for table in reflected(conn)
    }


def test_there_is_one_line_of_revisions_and_its_end_is_the_head():
    assert len(migrate._scripts().get_heads()) == 1
    assert REVISIONS[-1] == migrate.head() and sorted(REVISIONS) == REVISIONS


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_schema_with_rows_in_it_becomes_todays_and_every_value_is_still_there_and_read(blank, revision):
    assert migrate.upgrade(blank, revision) == ("", revision)
    db = Database(blank)
    with db.write() as conn:
        fill(conn)
        before = content(conn)
    assert all(len(rows) == 2 for rows in before.values()) and {"runs", "metrics", "events"} <= before.keys()
    if revision != migrate.head():
        with pytest.raises(EnvironmentProblem) as caught:
            migrate.check(blank)
        assert (caught.value.code, caught.value.hint) == ("old_schema", migrate.UPGRADE)
    assert migrate.upgrade(blank) == (revision, migrate.head())
    migrate.check(blank)
    with db.read() as conn:
        after = content(conn)
        same = MigrationContext.configure(conn, opts={"version_table": VERSION_TABLE, "compare_type": True})
        assert compare_metadata(same, metadata) == [] and migrate.lacking(blank) == []
    for name, rows in before.items():
        kept = [{column: row[column] for column in rows[0]} for row in after[name]]
        assert kept == rows, name
    _reads_all(db)
    _works_on(db)
    db.close()


def _reads_all(db: Database) -> None:
    """Every query finds the two rows of its table."""
    assert [run.id for run in queries.runs(db)] == [1, 2]
    first, second = queries.run(db, 1), queries.find_run(db, "name é 2")
    assert (first.spec, first.tags, second.parent_id) == (
        {"key": "é1", "deep": {"n": [1, None, 0.1 + 0.2]}},
        ("é", "1"),
        1,
    )
    assert first.spent_usd == pytest.approx((2**40 + 1) / 1e6) and first.created_at == 1_000_001.1
    assert [len(queries.attempts(db, i)) for i in (1, 2)] == [len(queries.checkpoints(db, i)) for i in (1, 2)] == [1, 1]
    assert len(queries.events(db)) == len(queries.workers(db)) == len(queries.sweeps(db)) == 2
    assert [len(queries.trials(db, i)) for i in (1, 2)] == [1, 1]
    assert [one.value for one in queries.series(db, [1], "key é 1")] == [[1_000_001.1]]
    assert queries.budget(db, "project é 1") == pytest.approx((2**40 + 1) / 1e6)
    assert queries.totals(db).n_queued == 2
    assert all(isinstance(queries.why_waiting(db, run), str) for run in queries.runs(db))


def _works_on(db: Database) -> None:
    """Actions and claims go on with such a database, and numbers go on where they were."""
    actions.set_priority(db, 2, 5)
    for project in ("project é 1", "project é 2"):
        actions.set_budget(db, project, 1e9)
    lease = runs.claim(db, "w", "n", room=runs.Room(gpu_memory_gb=1e9, memory_gb=1e9), now=2e6)
    runs.start(db, lease, 0, now=2e6)
    assert runs.finish(db, lease, Result(lease.token, "succeeded", "", "", 9), now=2e6) == "succeeded"
    assert max(event.id for event in queries.events(db)) > 2


def test_every_step_goes_down_and_up_again(blank):
    from alembic import command

    migrate.upgrade(blank)
    db = Database(blank, migrating=True)
    for revision in ("base", *REVISIONS):
        with db.write() as conn:
            config = migrate._config()
            config.attributes["connection"] = conn
            command.downgrade(config, "base")
            assert set(inspect(conn).get_table_names()) <= {VERSION_TABLE}
            if revision != "base":
                command.upgrade(config, revision)
    db.close()
    migrate.check(blank)


def test_upgrades_at_the_same_time_make_one_schema(blank):
    code = "import sys; from shoestring import migrate; print(*migrate.upgrade(sys.argv[1]))"
    command = [sys.executable, "-c", code, blank]
    several = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    said = sorted(process.communicate(timeout=240)[0].split() for process in several)
    assert [process.returncode for process in several] == [0] * 4
    assert said == [[migrate.head()], *[[migrate.head()] * 2] * 3]  # one made it, three found it
    migrate.check(blank)


@pytest.mark.parametrize("act", [migrate.check, migrate.upgrade])
def test_a_database_newer_than_the_program_is_refused_with_the_command_to_run_and_left_alone(db, act):
    with db.write() as conn:
        conn.exec_driver_sql(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
        conn.exec_driver_sql("ALTER TABLE runs ADD COLUMN telepathy INTEGER")
    with pytest.raises(EnvironmentProblem, match="'9999', which this program") as caught:
        act(address(db))
    assert (caught.value.code, caught.value.exit_code) == ("newer_schema", ENVIRONMENT)
    assert "pip install --upgrade shoestring" in caught.value.hint
    with db.read() as conn:
        assert "telepathy" in {column["name"] for column in inspect(conn).get_columns("runs")}


@pytest.mark.parametrize("act", [migrate.check, migrate.upgrade])
@pytest.mark.parametrize(
    ("disorder", "said"),
    [
        (f"DELETE FROM {VERSION_TABLE}", "revision is none"),
        (f"INSERT INTO {VERSION_TABLE} VALUES ('0001')", f"revision is 0001 and {migrate.head()}"),
    ],
)
def test_a_database_in_disorder_is_refused_and_left_alone(db, act, disorder, said):
    with db.write() as conn:
        conn.exec_driver_sql(disorder)
        before = sorted(inspect(conn).get_table_names())
    with pytest.raises(EnvironmentProblem, match=said) as caught:
        act(address(db))
    assert caught.value.code == "dirty_schema" and "SHOESTRING_DB" in caught.value.hint
    with db.read() as conn:
        assert sorted(inspect(conn).get_table_names()) == before


def test_an_empty_version_table_alone_is_an_empty_database(blank):
    db = Database(blank, migrating=True)
    with db.write() as conn:
        conn.exec_driver_sql(f"CREATE TABLE {VERSION_TABLE} (version_num VARCHAR(32) NOT NULL)")
    db.close()
    assert migrate.upgrade(blank) == ("", migrate.head())
