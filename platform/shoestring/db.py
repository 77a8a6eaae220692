"""One database: engine, transactions and the file lock. SQLite by default; PostgreSQL speaks the same Core statements.

SQLite writers queue on an `flock` beside the file: its own busy handler starves some of them for seconds, and a
checkpoint of the WAL must not race a writer. Inside the lock a write is `BEGIN IMMEDIATE`: never a read that turns
into a write.
"""

from __future__ import annotations

import contextlib
import functools
import math
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, Dialect, Engine, create_engine, event, func, select, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DisconnectionError,
    IntegrityError,
    InterfaceError,
    NoSuchModuleError,
)

from shoestring import stored
from shoestring.errors import EnvironmentProblem
from shoestring.file_lock import FileLock
from shoestring.json_text import STORED

NETWORK_FILE_SYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb2", "smb3", "smbfs", "afs", "ncpfs", "fuse.sshfs"})
MOUNTS = Path("/proc/mounts")
BUSY_S = 30.0
TRIES = 5
PING_AFTER_S = 1.0
JSON_COLUMNS: dict[str, Any] = {"json_serializer": STORED.text, "json_deserializer": stored.loads}
TAKEN_BACK = ("40P01", "40001")  # PostgreSQL: deadlock detected, could not serialize

P = ParamSpec("P")
T = TypeVar("T")


class Database:
    """Opens transactions: `with db.write() as conn` and `with db.read() as conn`. Nothing slow goes inside one.

    `clock` (unix seconds) is used where a caller gives no `now`. Raises EnvironmentProblem for an address that is
    none, and for an SQLite file on a network file system. Only `migrating` makes a missing file, and with foreign keys
    off, as moving a table's rows needs it.
    """

    def __init__(
        self, url: str, *, clock: Callable[[], float] = time.time, mounts: Path = MOUNTS, migrating: bool = False
    ) -> None:
        self.url = parse_url(url)
        self.clock = clock
        self.path = sqlite_path(self.url)
        self._migrating = migrating
        self._inside = threading.local()
        self._watching = threading.Lock()
        self._watcher: Connection | None = None  # is kept, see `version`
        if self.path is not None:
            refuse_network(self.path, mounts)
        self.engine = self._engine()

    @property
    def shown(self) -> str:
        """The address without its password."""
        return redacted(self.url.render_as_string(hide_password=True))

    def now(self, given: float | None = None) -> float:
        """`given`, or the clock."""
        return self.clock() if given is None else given

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """One write transaction: committed at the end, rolled back by any exception. Not to be nested."""
        assert not getattr(self._inside, "writing", False), "a write inside a write waits for itself for ever"
        self._inside.writing = True
        try:
            with self._translated(), self.engine.connect() as conn, self._lock():  # connect first: it may lock too
                conn.execution_options(shoestring_begin="BEGIN IMMEDIATE")
                with conn.begin():
                    yield conn
        finally:
            self._inside.writing = False

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """One read transaction: every statement sees the same state."""
        with self._translated(), self.engine.connect() as conn:
            conn = conn.execution_options(shoestring_begin="BEGIN")
            if self.path is None:
                conn = conn.execution_options(isolation_level="REPEATABLE READ")
            with conn.begin():
                yield conn

    def version(self) -> str:
        """Where the data stands: as long as nobody commits anything it is the same, and so is every answer.

        SQLite counts what others committed for a connection that lasts; PostgreSQL says which transactions are seen.
        """
        with self._translated():
            if self.path is None:
                with self.engine.connect() as conn:
                    return str(conn.scalar(text("SELECT pg_current_snapshot()")))
            with self._watching:
                if self._watcher is None:
                    self._watcher = self.engine.connect()
                with self._watcher.begin():
                    return str(self._watcher.scalar(text("PRAGMA data_version")))

    def close(self) -> None:
        """Close idle connections; the last one to close an SQLite file checkpoints it, so under the lock."""
        with self._lock():
            if self._watcher is not None:
                self._watcher.close()
                self._watcher = None
            self.engine.dispose()

    def _engine(self) -> Engine:
        if self.path is None:
            try:
                engine = create_engine(self.url, **JSON_COLUMNS)
            except ModuleNotFoundError as error:
                problem = f"the database {self.shown} needs the package {error.name}"
                raise EnvironmentProblem(problem, "pip install 'psycopg[binary]'", code="no_driver") from error
            event.listen(engine, "checkin", _on_checkin)
            event.listen(engine, "checkout", functools.partial(_on_checkout, engine.dialect))
            return engine
        options = {"timeout": BUSY_S, "check_same_thread": False}
        engine = create_engine(self.url, connect_args=options, **JSON_COLUMNS)
        event.listen(engine, "do_connect", self._on_open)
        event.listen(engine, "connect", self._on_connect)
        event.listen(engine, "begin", _on_begin)
        return engine

    def _on_open(self, *_: Any) -> None:
        if not self._migrating and self.path is not None and not self.path.exists():
            raise EnvironmentProblem(f"there is no database {self.path}", "shoestring db upgrade", code="no_database")

    def _on_connect(self, connection: Any, _record: Any) -> None:
        connection.text_factory = _text  # or one row with a bad byte in it would stop every read
        connection.isolation_level = None  # the driver begins nothing by itself; `_on_begin` does
        cursor = connection.cursor()
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute(f"PRAGMA foreign_keys={'OFF' if self._migrating else 'ON'}")
        if cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            with self._lock():
                cursor.execute("PRAGMA journal_mode=WAL")
        cursor.close()

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        if self.path is None:
            yield
            return
        lock = FileLock(Path(f"{self.path}.lock"))
        lock.take(BUSY_S)
        try:
            yield
        finally:
            lock.close()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (IntegrityError, EnvironmentProblem):
            raise
        except (DatabaseError, InterfaceError) as error:
            raise self._problem(error) from error
        except OSError as error:
            raise EnvironmentProblem(
                f"the database {self.shown} cannot be opened: {error.strerror or error}",
                "shoestring doctor says what is wrong; shoestring db upgrade makes a new database",
                code="database",
            ) from error

    def _problem(self, error: DatabaseError | InterfaceError) -> EnvironmentProblem:
        cause = str(error.orig).strip().splitlines()[0]
        name = getattr(error.orig, "sqlite_errorname", "")  # finer than the message: SQLITE_IOERR_SHMOPEN
        cause += f" ({name})" if name.startswith("SQLITE_IOERR") else ""
        if self.url.password:
            cause = cause.replace(str(self.url.password), "***")
        if getattr(error.orig, "sqlstate", "") in TAKEN_BACK:
            hint = "nothing was changed: give the same command again"
            return EnvironmentProblem(f"the database {self.shown}: {cause}", hint, code="deadlock")
        if "file is not a database" in cause:
            return EnvironmentProblem(
                f"{self.path} is not an SQLite database",
                "move it away, then run: shoestring db upgrade",
                code="not_a_database",
            )
        if "disk is full" in cause or "No space left" in cause:
            where = f"the disk of {self.path}" if self.path else "the database server's disk"
            hint = f"make room on {where}; nothing was changed, and what waits for it goes on by itself"
            return EnvironmentProblem(f"the database {self.shown}: {cause}", hint, code="database")
        missing = "no such table" in cause or "does not exist" in cause or "unable to open" in cause
        hint = "shoestring db upgrade" if missing or "no such column" in cause else "shoestring doctor"
        return EnvironmentProblem(f"the database {self.shown}: {cause}", hint, code="database")


def _on_checkin(_connection: Any, record: Any) -> None:
    record.info["idle_since"] = time.monotonic()


def _on_checkout(dialect: Dialect, connection: Any, record: Any, _proxy: Any) -> None:
    """Ask a connection that idled whether its server is still there; if not, the pool makes a new one. SQLAlchemy's own
    pre-ping asks every time, and that is a quarter of what a short transaction costs."""
    if time.monotonic() - record.info.get("idle_since", math.inf) < PING_AFTER_S:  # a new one has not idled
        return
    try:
        dialect.do_ping(connection)
    except dialect.loaded_dbapi.Error as error:
        raise DisconnectionError from error


def _text(raw: bytes) -> str:
    return raw.decode(errors="replace")


def retried(act: Callable[Concatenate[Database, P], T]) -> Callable[Concatenate[Database, P], T]:
    """Call `act` again, TRIES times in all, when its one transaction lost a deadlock: nothing of it was kept."""

    @functools.wraps(act)
    def again(db: Database, *args: P.args, **kwargs: P.kwargs) -> T:
        for tried in range(1, TRIES):
            try:
                return act(db, *args, **kwargs)
            except EnvironmentProblem as error:
                if error.code != "deadlock":
                    raise
                time.sleep(random.random() * 0.1 * 2**tried)
        return act(db, *args, **kwargs)

    return again


def take_turns(conn: Connection, what: str) -> None:
    """Wait until no other transaction that named the same `what` is open: look, then insert. SQLite's wait anyway."""
    if conn.dialect.name == "postgresql":
        conn.execute(select(func.pg_advisory_xact_lock(func.hashtext(what))))


def _on_begin(conn: Connection) -> None:
    conn.exec_driver_sql(conn.get_execution_options().get("shoestring_begin", "BEGIN"))


def parse_url(url: str) -> URL:
    """An SQLAlchemy address of an SQLite file or a PostgreSQL server. Raises EnvironmentProblem."""
    hint = "SHOESTRING_DB=sqlite:////path/to/shoestring.db or postgresql://user:password@host/name"
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise EnvironmentProblem("SHOESTRING_DB is not a database address", hint, code="database") from error
    if backend not in ("sqlite", "postgresql"):
        raise EnvironmentProblem(f"database {backend!r} is not supported: sqlite or postgresql", hint, code="database")
    if backend == "sqlite" and (not parsed.database or parsed.database == ":memory:"):
        raise EnvironmentProblem("an SQLite database needs a file: several processes share it", hint, code="database")
    return parsed


def redacted(address: str) -> str:
    """An address without the passwords in it: of the user, or among the options behind the `?`."""
    address = re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", address)
    return re.sub(r"(?i)([?&]\w*password=)[^&]*", r"\1***", address)


def sqlite_path(url: URL) -> Path | None:
    """The file of an SQLite address; None for PostgreSQL."""
    return Path(url.database).resolve() if url.get_backend_name() == "sqlite" and url.database else None


def refuse_network(path: Path, mounts: Path = MOUNTS) -> None:
    """Refuse an SQLite file on NFS, SMB and the like, whose locks cannot be trusted. Raises EnvironmentProblem.

    Knows what `mounts` (Linux's /proc/mounts) lists; says nothing where there is no such file.
    """
    try:
        rows = [line.split() for line in mounts.read_text().splitlines()]
    except OSError:
        return
    points = {Path(row[1].replace("\\040", " ")): row[2] for row in rows if len(row) >= 3}
    kind = next((points[folder] for folder in path.parents if folder in points), "")
    if kind in NETWORK_FILE_SYSTEMS:
        raise EnvironmentProblem(
            f"{path} is on a network file system ({kind}), where SQLite loses data",
            "use PostgreSQL (SHOESTRING_DB=postgresql://…), or a local disk (SHOESTRING_HOME=…)",
            code="network_file_system",
        )
