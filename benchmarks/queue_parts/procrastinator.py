"""A worker of procrastinate, beside `carrier.py`: jobs that do nothing, one at a time, until its queue is empty.

Run by `crowd.Crowd`: procrastinator.py ADDRESS MODE, where MODE is `fill N` (make the schema and N jobs), or `work`;
tells when its last job was at work (before it was marked as done: in its favour) and how many.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import procrastinate

app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=sys.argv[1]))
done: list[float] = []


@app.task(name="nothing")
async def nothing(number: int) -> None:
    done.append(time.monotonic())


async def main() -> None:
    async with app.open_async():
        if sys.argv[2] == "fill":
            await app.schema_manager.apply_schema_async()
            n = int(sys.argv[3])
            for first in range(0, n, 1000):
                await nothing.batch_defer_async(*({"number": i} for i in range(first, min(n, first + 1000))))
        print("ready", flush=True)
        sys.stdin.readline()
        began, cpu_began = time.monotonic(), time.process_time()
        if sys.argv[2] == "work":
            await app.run_worker_async(wait=False, concurrency=1, install_signal_handlers=False, listen_notify=False)
    cpu_s = time.process_time() - cpu_began
    print(json.dumps({"n": len(done), "began": began, "last": done[-1] if done else began, "cpu_s": cpu_s}))


asyncio.run(main())
