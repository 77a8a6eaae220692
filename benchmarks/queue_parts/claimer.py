"""A process of the claim race: claims until nothing is queued, tells (run, began, ended) of each claim.

Run by `crowd.Crowd`: claimer.py ADDRESS NAME
"""

from __future__ import annotations

import json
import sys
import time
import uuid

from shoestring import queries, runs
from shoestring.db import Database

db, name, claims = Database(sys.argv[1]), sys.argv[2], []
queries.budget(db, "")  # connect
print("ready", flush=True)
sys.stdin.readline()
while True:
    began = time.monotonic()
    lease = runs.claim(db, name, uuid.uuid4().hex)
    if lease is None:
        break
    claims.append((lease.run_id, began, time.monotonic()))
print(json.dumps(claims))
