"""The database: transactions, the lock between processes, and addresses that are refused with a reason."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from shoestring.db import Database, refuse_network
from shoestring.errors import ENVIRONMENT, EnvironmentProblem
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

ADD_BUDGET = "INSERT INTO budgets (project, max_micro, updated_at) VALUES ('p', 1, 0)"


def budgets(db: Database) -> int:
    with db.read() as conn:
        return conn.scalar(text("SELECT count(*) FROM budgets"))


def test_a_write_is_there_for_the_next_reader_and_an_exception_leaves_nothing(db):
    with db.write() as conn:
        conn.execute(text(ADD_BUDGET))
    assert budgets(db) == 1
    with pytest.raises(RuntimeError), db.write() as conn:
        conn.execute(text("DELETE FROM budgets"))
        raise RuntimeError
    assert budgets(db) == 1


def test_readers_do_not_wait_for_a_writer_and_do_not_see_what_is_not_committed(db):
    with db.write() as conn:
        conn.execute(text(ADD_BUDGET))
        assert budgets(db) == 0
    assert budgets(db) == 1


def test_the_version_is_another_after_every_commit_and_the_same_until_then(db):
    other = Database(db.url.render_as_string(hide_password=False))
    first = db.version()
    assert budgets(db) == budgets(other) == 0 and db.version() == first
    for writer in (db, other):
        with writer.write() as conn:
            conn.execute(text("DELETE FROM budgets"))
            conn.execute(text(ADD_BUDGET))
            before = db.version()
        assert db.version() not in (first, before) and db.version() == db.version()
        first = db.version()
    other.close()


def test_what_is_no_database_has_no_version_and_says_so(tmp_path: Path):
    (tmp_path / "s.db").write_bytes(b"this is a letter, not a database" * 200)
    with pytest.raises(EnvironmentProblem) as raised:
        Database(f"sqlite:///{tmp_path / 's.db'}").version()
    assert raised.value.code == "not_a_database"


def test_a_database_that_breaks_while_it_is_watched_says_so(sqlite_db):
    sqlite_db.version()
    sqlite_db.path.write_bytes(b"this is a letter, not a database" * 200)
    for end in ("-wal", "-shm"):
        sqlite_db.path.with_name(sqlite_db.path.name + end).unlink(missing_ok=True)
    with pytest.raises(EnvironmentProblem), sqlite_db.read() as conn:
        conn.scalar(text("SELECT count(*) FROM runs"))
    with pytest.raises(EnvironmentProblem):
        sqlite_db.version()


def test_sqlite_is_durable_checks_references_and_logs_ahead(sqlite_db):
    with sqlite_db.read() as conn:
        pragmas = {
            name: conn.scalar(text(f"PRAGMA {name}")) for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    with pytest.raises(IntegrityError), sqlite_db.write() as conn:
        conn.execute(text("INSERT INTO dependencies (run_id, depends_on) VALUES (1, 2)"))


def test_a_write_inside_a_write_fails_instead_of_waiting_for_itself(db):
    with db.write(), pytest.raises(AssertionError, match="inside a write"), db.write():
        pass
    with db.write() as conn:  # and the next one works
        conn.execute(text(ADD_BUDGET))


def test_writers_of_other_processes_take_turns(sqlite_db):
    with sqlite_db.write() as conn:
        conn.execute(text("INSERT INTO budgets (project, max_micro, updated_at) VALUES ('counter', 0, 0)"))
    code = (
        "import sys; from shoestring.db import Database; from sqlalchemy import text\n"
        "db = Database(sys.argv[1])\n"
        "for _ in range(50):\n"
        "    with db.write() as conn:\n"
        "        n = conn.scalar(text('SELECT max_micro FROM budgets'))\n"
        "        conn.execute(text('UPDATE budgets SET max_micro = :n'), {'n': n + 1})\n"
    )
    url = f"sqlite:///{sqlite_db.path}"
    writers = [subprocess.Popen([sys.executable, "-c", code, url]) for _ in range(2)]
    assert [writer.wait(240) for writer in writers] == [0, 0]
    with sqlite_db.read() as conn:
        assert conn.scalar(text("SELECT max_micro FROM budgets")) == 100


def test_a_missing_database_is_not_made_by_looking(tmp_path: Path):
    path = tmp_path / "none.db"
    with (
        pytest.raises(EnvironmentProblem, match=r"no database .*none\.db") as caught,
        Database(f"sqlite:///{path}").read(),
    ):
        pass
    assert caught.value.hint == "shoestring db upgrade" and not path.exists()


def test_a_database_without_our_tables_says_what_to_run(tmp_path: Path):
    (tmp_path / "empty.db").touch()
    with pytest.raises(EnvironmentProblem, match="no such table") as caught:
        budgets(Database(f"sqlite:///{tmp_path / 'empty.db'}"))
    assert caught.value.hint == "shoestring db upgrade"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "not a database address"),
        ("no address", "not a database address"),
        ("oracle://x/y", "not supported"),
        ("sqlite://", "needs a file"),
        ("sqlite:///:memory:", "needs a file"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_with_an_example_of_one(url, why):
    with pytest.raises(EnvironmentProblem, match=why) as caught:
        Database(url)
    assert caught.value.exit_code == ENVIRONMENT and "postgresql://" in caught.value.hint


def test_a_password_never_stands_in_an_error():
    with pytest.raises(EnvironmentProblem) as caught, Database("postgresql://bob:s3cret@127.0.0.1:9/none").read():
        pass
    said = f"{caught.value.message} {caught.value.hint}"
    assert "s3cret" not in said and "***" in said


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs"])
def test_sqlite_on_a_network_file_system_is_refused_in_favour_of_postgresql(tmp_path: Path, kind):
    mounts = tmp_path / "mounts"
    mounts.write_text(
        f"/dev/sda1 / ext4 rw 0 0\nserver:/x /mnt/my\\040share {kind} rw 0 0\ntmpfs /mnt/my\\040share/l tmpfs rw 0 0\n"
    )
    with pytest.raises(EnvironmentProblem, match=kind) as caught:
        refuse_network(Path("/mnt/my share/project/shoestring.db"), mounts)
    assert "PostgreSQL" in caught.value.hint
    refuse_network(Path("/mnt/my share/l/shoestring.db"), mounts)
    refuse_network(Path("/srv/shoestring.db"), mounts)


HOLD = """
import os, signal, sys
from shoestring.file_lock import FileLock
from pathlib import Path
lock = FileLock(Path(sys.argv[1]))
lock.take(1)
print("held", flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
"""


def test_a_process_that_froze_while_it_held_the_lock_is_named_and_the_others_wait_no_longer(sqlite_db, monkeypatch):
    monkeypatch.setattr("shoestring.db.BUSY_S", 0.5)
    argv = [sys.executable, "-c", HOLD, f"{sqlite_db.path}.lock"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as frozen:
        try:
            assert frozen.stdout and frozen.stdout.readline() == "held\n"
            with pytest.raises(EnvironmentProblem) as caught, sqlite_db.write():
                raise AssertionError("two hold the lock")
            if sys.platform == "linux":
                assert f"process {frozen.pid}" in caught.value.message and "stopped" in caught.value.message
                assert f"kill -CONT {frozen.pid}" in caught.value.hint
            assert sqlite_db.path and sqlite_db.path.exists()
            frozen.send_signal(signal.SIGCONT)
            frozen.wait(10)
            with sqlite_db.write() as conn:  # whoever gave up took nothing with it
                conn.execute(text(ADD_BUDGET))
        finally:
            frozen.kill()
