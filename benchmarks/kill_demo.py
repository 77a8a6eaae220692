"""Kill `./run demo --no-ui` at random moments and start it again: it must finish, repeat no finished run, and come to
the same losses as if nobody had killed it.

    python benchmarks/kill_demo.py --kills 4 --seed 1

Each kill is SIGKILL to the command and everything in its process group, after a random time (drawn from --between);
a trainer, which has a session of its own, is left to notice by itself. Exit 1 when a run that had succeeded was trained
again, when a run is there twice, or when the last call does not end with exit 0. Then the `--again` runs that were
interrupted most are trained once more, alone and undisturbed, from their own config: every `val/loss` must be equal to
the last bit. Use a clone without a `.shoestring`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
COMMAND = [str(ROOT / "run"), "demo", "--no-ui"]
LOG = ROOT / ".shoestring" / "kill-demo.log"


def main() -> None:
    """Kill, start again, compare, say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=4)
    parser.add_argument("--between", type=float, nargs=2, default=(30.0, 180.0), metavar="SECONDS")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--again", type=int, default=2, help="how many interrupted runs are trained again (default 2)")
    args = parser.parse_args()
    chance, finished, problems = random.Random(args.seed), dict[int, Any](), list[str]()
    LOG.parent.mkdir(exist_ok=True)
    for number in range(args.kills):
        after_s = chance.uniform(*args.between)
        killed = start_and_kill(after_s)
        now = succeeded()
        problems += changed(finished, now)
        finished |= now
        print(f"kill {number + 1}: after {after_s:.0f} s, {killed}; {len(finished)} runs finished so far", flush=True)
    began = time.monotonic()
    with open(LOG, "ab") as log:
        code = subprocess.run(COMMAND, cwd=ROOT, stdout=log, stderr=log).returncode
    problems += changed(finished, succeeded()) + twice()
    if code:
        problems.append(f"the last call ended with exit code {code}; see {LOG}")
    rows = runs("SELECT name, state, attempts FROM runs ORDER BY id")
    for name, state, attempts in rows:
        print(f"  {name:<28} {state}, {attempts} attempt{'s' if attempts != 1 else ''}")
    problems += differing(args.again)
    print(f"the last call took {time.monotonic() - began:.0f} s; {len(rows)} runs")
    for problem in problems:
        print(f"WRONG: {problem}")
    sys.exit(1 if problems else 0)


def differing(n: int) -> list[str]:
    """Train the `n` most interrupted runs again, undisturbed; name those that come to other losses."""
    most = "SELECT id, name, run_dir FROM runs WHERE attempts > 1 AND state = 'succeeded' ORDER BY attempts DESC LIMIT "
    problems, interrupted = list[str](), runs(f"{most}{int(n)}")
    if n and not interrupted:
        print("  no kill met a run, so none is compared: give it again with another --seed", flush=True)
    for run_id, name, run_dir in interrupted:
        folder = LOG.with_name(f"again-{run_id}")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        shutil.copy(Path(run_dir) / "config.json", folder)
        argv = [str(ROOT / ".venv" / "bin" / "python"), "-m", "shoestring_trainer.train", str(folder)]
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
        lines = map(json.loads, (folder / "attempts" / "t0000" / "metrics.jsonl").read_text().splitlines())
        alone = {line["step"]: line["metrics"]["val/loss"] for line in lines if "val/loss" in line.get("metrics", {})}
        killed = dict(runs(f"SELECT step, value FROM metrics WHERE key = 'val/loss' AND run_id = {int(run_id)}"))
        print(f"  {name}: {len(alone)} values of val/loss, {'equal' if alone == killed else 'DIFFERENT'}", flush=True)
        if alone != killed:
            problems.append(f"{name}: val/loss {killed} with kills, {alone} without")
    return problems


def start_and_kill(after_s: float) -> str:
    """Start the demo, kill its process group after so long; say what it was doing."""
    before = LOG.stat().st_size if LOG.exists() else 0
    with open(LOG, "ab") as log:
        process = subprocess.Popen(COMMAND, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)
        try:
            process.wait(after_s)
            return f"it had ended by itself with exit code {process.returncode}"
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    lines = LOG.read_bytes()[before:].decode(errors="replace").splitlines()
    stage = next((line for line in reversed(lines) if line.startswith("▸")), "before its first word")
    return f"during {stage.removeprefix('▸ ')!r}"


def runs(query: str) -> list[tuple[Any, ...]]:
    """Read the project's database; nothing where there is none yet."""
    path = ROOT / ".shoestring" / "shoestring.db"
    if not path.exists():
        return []
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return connection.execute(query).fetchall()
    except sqlite3.OperationalError:  # killed before its tables were there
        return []
    finally:
        connection.close()


def succeeded() -> dict[int, str]:
    """Finished runs: id → what must never change again."""
    rows = runs("SELECT id, name, attempts, ended_at FROM runs WHERE state = 'succeeded'")
    return {row[0]: json.dumps(row[1:]) for row in rows}


def changed(before: dict[int, str], now: dict[int, str]) -> list[str]:
    return [f"run {i} was {facts}, is {now.get(i)}" for i, facts in before.items() if now.get(i) != facts]


def twice() -> list[str]:
    rows = runs("SELECT spec_hash, COUNT(*) FROM runs GROUP BY spec_hash, kind HAVING COUNT(*) > 1")
    return [f"{count} runs of one request ({spec_hash[:12]})" for spec_hash, count in rows]


if __name__ == "__main__":
    main()
