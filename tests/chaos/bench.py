"""What a storm needs from the machine: fresh databases of either kind, and the data of the real trainer."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

from postgres import Postgres
from shoestring import migrate
from shoestring_trainer.manifest import read_manifest

from chaos.jobs import Outcome, Trainer


def sqlite_databases(folder: Path) -> Iterator[str]:
    """Addresses of new SQLite files with today's schema, each a copy of one that was migrated once."""
    folder.mkdir(parents=True, exist_ok=True)
    empty = folder / "empty.db"
    migrate.upgrade(f"sqlite:///{empty}")
    for number in itertools.count():
        yield f"sqlite:///{shutil.copy(empty, folder / f'{number:04d}.db')}"


def postgres_databases(server: Postgres) -> Iterator[str]:
    """Addresses of new databases of `server`."""
    while True:
        yield server.new()


def real_trainer(folder: Path, steps: int = 40) -> Trainer:
    """The real trainer, small, with a tiny set that is made in `folder`."""
    from shoestring_trainer.prepare.procedural import procedural_set

    data = folder / "procedural-16"
    procedural_set(copies=1).write(data)
    return Trainer("real", read_manifest(data), steps=steps, seeds=2)


def references(trainer: Trainer, folder: Path) -> dict[int, Outcome]:
    """What each seed's run comes to when nobody disturbs it."""
    return {seed: trainer.reference(folder, seed) for seed in range(trainer.seeds)}
