"""A worker without a trainer: carries runs from the queue to their end, through every write a worker makes for a run.

Run by `crowd.Crowd`: carrier.py ADDRESS NAME; tells when its last run had ended (monotonic seconds) and how many.
"""

from __future__ import annotations

import json
import sys
import time
import uuid

from shoestring import queries, runs
from shoestring.db import Database
from shoestring_trainer.run_dir import Result

db, name, n, last = Database(sys.argv[1]), sys.argv[2], 0, 0.0
queries.budget(db, "")  # connect
print("ready", flush=True)
sys.stdin.readline()
began, cpu_began = time.monotonic(), time.process_time()
while lease := runs.claim(db, name, uuid.uuid4().hex):
    runs.start(db, lease, 0)
    runs.finish(db, lease, Result(lease.token, "succeeded", "", "", lease.run.n_steps))
    n, last = n + 1, time.monotonic()
print(json.dumps({"n": n, "began": began, "last": last, "cpu_s": time.process_time() - cpu_began}))
