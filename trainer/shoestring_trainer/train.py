"""`python -m shoestring_trainer.train RUN_DIR`: train the run that its `config.json` describes, or go on with it.

A config of kind `drawing` is drawn instead of trained; everything around it is the same.

One process (or rank) is one attempt. However it ends, `result.json` says how; the exit code is advisory:
0 succeeded, 143 stopped on request after a checkpoint, 75 worth trying again, 1 failed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from shoestring_trainer.allocator import keep_memory
from shoestring_trainer.config import TrainConfig
from shoestring_trainer.drawing import DrawConfig, read_either
from shoestring_trainer.failures import BadConfig, classify, exit_code, is_no_space
from shoestring_trainer.run_dir import Result, RunDir
from shoestring_trainer.supervise import Stop, process_started_at

if TYPE_CHECKING:
    from shoestring_trainer.attempt import Attempt
    from shoestring_trainer.draw import Drawing


def train(root: Path, token: int = 0, stop: Stop | None = None, started_at: float | None = None) -> Result:
    """Train the run in folder `root` until its last step, a reason to stop, or a failure; never raises.

    `started_at` (unix seconds) is when the paid clock began; now, unless told.
    """
    run_dir, stop = RunDir(root), stop or Stop()
    started_at = time.time() if started_at is None else started_at
    attempt: Attempt | Drawing | None = None
    try:
        config = _read(run_dir)
        # torch: a bad config is told without it
        if isinstance(config, DrawConfig):
            from shoestring_trainer.draw import Drawing

            attempt = Drawing(run_dir, token, config, stop, started_at)
        else:
            from shoestring_trainer.attempt import Attempt

            attempt = Attempt(run_dir, token, config, stop, started_at)
        outcome, failure_class, detail = attempt.run()
    except Exception as error:
        outcome = "failed"
        failure_class, detail = classify(error)
        if failure_class == "error":
            with contextlib.suppress(OSError):  # a log on a full disk
                traceback.print_exc()
    result = Result(token, outcome, failure_class, detail, attempt.step if attempt else 0)
    if attempt is None or attempt.is_main:
        result = _write_result(run_dir, result)
    why = f": {result.failure_class}: {result.detail}" if result.failure_class else ""
    with contextlib.suppress(OSError):
        print(f"{result.outcome} at step {result.step}{why}", flush=True)
    return result


def _write_result(run_dir: RunDir, result: Result) -> Result:
    """Write how it ended; what has no room for even that has not succeeded, and the exit code alone says so."""
    try:
        run_dir.write_result(result)
    except OSError as error:
        if not is_no_space(error):
            raise
        said = " ".join((result.outcome, result.failure_class, result.detail)).strip()
        said = f"no room for result.json, which was to say: {said}"
        return replace(result, outcome="failed", failure_class="disk_full", detail=said)
    return result


def read_config(run_dir: RunDir) -> TrainConfig:
    """Read `config.json` of a run that trains. Raises BadConfig with every fault in it."""
    config = _read(run_dir)
    if isinstance(config, DrawConfig):
        raise BadConfig(f"{run_dir.root} holds a drawing; the run that it draws from is in {config.source.run_dir}")
    return config


def _read(run_dir: RunDir) -> TrainConfig | DrawConfig:
    try:
        return read_either(run_dir)
    except FileNotFoundError as error:
        raise BadConfig(f"{run_dir.config_path} does not exist; `shoestring submit` makes a run's folder") from error
    except ValidationError as error:
        faults = [f"{'.'.join(str(part) for part in e['loc']) or 'config'}: {e['msg']}" for e in error.errors()]
        raise BadConfig(f"{run_dir.config_path}: {'; '.join(faults)}") from error


def main(argv: list[str] | None = None) -> int:
    """Run one attempt; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m shoestring_trainer.train", description=__doc__.splitlines()[0])
    parser.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="folder with config.json")
    parser.add_argument("--token", type=int, default=0, help="the lease's fencing token; names the attempt")
    parser.add_argument("--supervised", action="store_true", help="stop when the parent on stdin falls silent")
    parser.add_argument("--lease-s", type=float, default=60.0, help="the longest silence, in seconds (default 60)")
    args = parser.parse_args(argv)
    keep_memory()
    stop = Stop()
    stop.on_signals()
    if args.supervised:
        stop.on_orphaned()
        if os.environ.get("LOCAL_RANK", "0") == "0":  # ranks share one stdin, and a pulse reaches one reader only
            stop.on_silence(sys.stdin.fileno(), args.lease_s)
    return exit_code(train(args.run_dir, args.token, stop, process_started_at()))


if __name__ == "__main__":
    code = main()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)  # all is on disk; taking torch apart in order takes up to a second, which would be paid for
