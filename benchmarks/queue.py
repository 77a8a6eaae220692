"""What the queue can do, on SQLite and on PostgreSQL: races, a full queue, submitting, and procrastinate beside it.

    python benchmarks/queue.py                          # all parts, both databases: under 15 minutes
    python benchmarks/queue.py --quick                  # everything small, under a minute: only whether it works
    python benchmarks/queue.py race load --databases sqlite
    pip install --target FOLDER procrastinate 'psycopg[binary,pool]'     # never among the product's own packages
    python benchmarks/queue.py beside --procrastinate FOLDER

The PostgreSQL server is a package of the `dev` extra; both databases stand in a temporary folder (TMPDIR) and are as
durable as in use. Every part checks its claims: exit 1 when a run was taken twice or lost. Targets missed are printed,
no failure: a busy machine misses them. Parts take turns within a round, so a slow minute falls on all alike.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = str(Path(__file__).resolve().parent)
if __name__ != "__main__":  # a script beside this one asked for the standard library's `queue` and found this file
    from importlib import import_module

    sys.path, _path = [entry for entry in sys.path if str(Path(entry or ".").resolve()) != HERE], sys.path
    del sys.modules[__name__]
    sys.modules[__name__] = import_module(__name__)
    sys.path = _path
else:
    sys.path.remove(HERE)
    sys.path.append(HERE)  # last, for `queue_parts`: or this file would stand before that `queue`
    from queue_parts.main import main

    main(__doc__ or "")
