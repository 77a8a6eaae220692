"""Pull mode on Ray: four workers, each with a GPU of its own. Start it on the cluster:

    ray job submit --working-dir . -- python docs/examples/engines/workers_ray.py

The nodes must share the project's folder and `~/.config/shoestring/database` (one line, mode 0600). Ray's dashboard has
no authentication of its own: keep it on loopback or behind a token.
"""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import ray

WORKERS = 4


@ray.remote(num_gpus=1, num_cpus=8, max_retries=0)  # the queue hands a lost run to another worker
def work() -> int:
    """Train what the queue gives; end after 5 minutes without a run."""
    database = (Path.home() / ".config" / "shoestring" / "database").read_text().strip()
    env = {**os.environ, "SHOESTRING_DB": database}
    worker = subprocess.Popen(["shoestring", "work", "--idle-exit", "300"], env=env)
    try:
        return worker.wait()
    finally:
        worker.send_signal(signal.SIGTERM)  # cancelled: checkpoint and give the run back
        worker.wait()


if __name__ == "__main__":
    ray.init()
    codes = ray.get([work.remote() for _ in range(WORKERS)])
    raise SystemExit(max(codes))
