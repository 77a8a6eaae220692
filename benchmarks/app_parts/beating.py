"""The runs that train go on beating, as their workers do: what the app knows is out of date again and again."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from shoestring import queries, runs
from shoestring.db import Database
from shoestring.home import Home
from shoestring.job import BEATS_PER_LEASE
from shoestring.leases import LEASE_S, Lease


@contextmanager
def beating(home: Home) -> Iterator[None]:
    """Meanwhile every run that trains writes its beat as often as a worker does: a lease's sixth, ten seconds."""
    db, over = Database(home.db_url), threading.Event()
    leases = [Lease(run.id, run.lease_token, "", run.owner, LEASE_S, run) for run in queries.runs(db, state="running")]

    def beat() -> None:
        for lease in itertools.cycle(leases):
            if over.wait(LEASE_S / BEATS_PER_LEASE / len(leases)):
                return
            runs.beat(db, lease)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        db.close()
