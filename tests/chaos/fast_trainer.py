"""A trainer without torch: the real journal, sealed checkpoints, pulse and result; a chain of hashes for weights.

Every number it writes is a function of the seed and of every step before, so a lost, doubled or misplaced step
anywhere shows in all that comes after it.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import time
from pathlib import Path

from shoestring_trainer.config import TrainConfig
from shoestring_trainer.failures import classify, exit_code
from shoestring_trainer.journal import Journal
from shoestring_trainer.run_dir import Result, RunDir
from shoestring_trainer.schedule import checkpoints_at, evaluates_at
from shoestring_trainer.sealed import STATE, Sealed, newest, seal, sweep_partials, unseal
from shoestring_trainer.supervise import Stop

WEIGHTS = "chain.bin"
FILES = (WEIGHTS, STATE)


class Chain:
    """The run so far: 32 bytes that depend on the seed and on every step."""

    def __init__(self, seed: int) -> None:
        self.value = hashlib.sha256(str(seed).encode()).digest()

    def update(self, step: int) -> None:
        self.value = hashlib.sha256(self.value + step.to_bytes(8, "little")).digest()

    @property
    def number(self) -> float:
        """0 to 1, exact in a float."""
        return int.from_bytes(self.value[:6], "little") / 2**48


def train(run_dir: RunDir, token: int, stop: Stop, pause_s: float) -> Result:
    """Train to the last step, or to a reason to stop."""
    config = run_dir.read_config()
    chain, path = Chain(config.seed), run_dir.journal(token)
    sweep_partials(run_dir, token)

    def opened(folder: Path) -> tuple[Sealed, Journal]:
        found = unseal(folder, FILES)
        offset = int(found.manifest["journal_offset"])
        return found, Journal.start_from(path, run_dir.journal(found.token), offset)

    before = newest(run_dir, opened)
    if before:
        found, journal = before
        step, chain.value = found.step, found.content[WEIGHTS]
        journal.event(step, "checkpoint", path=str(found.path.relative_to(run_dir.root)))
    else:
        step, journal = 0, Journal.start_from(path, path, 0)
    saved = step

    def save() -> None:
        journal.sync()
        state = {"journal_offset": journal.offset, "config_sha256": "fast", "step": step}
        folder = seal(run_dir, step, token, lambda f: _write(f, chain), state, config.checkpoints.keep_last)
        journal.event(step, "checkpoint", path=str(folder.relative_to(run_dir.root)))

    while step < config.n_steps:
        if stop.reason:
            if step > saved:
                save()
            return Result(token, "stopped", stop.reason, f"checkpoint at step {step}", step)
        time.sleep(pause_s)
        step += 1
        chain.update(step)
        journal.point(step, {"train/loss": chain.number, **_axes(config, step)})
        if evaluates_at(config, step):
            journal.point(step, {"val/loss": chain.number / 2, **_axes(config, step)})
        if checkpoints_at(config, step):
            save()
            saved = step
    journal.sync()
    return Result(token, "succeeded", "", "", step)


def _write(folder: Path, chain: Chain) -> None:
    (folder / WEIGHTS).write_bytes(chain.value)


def _axes(config: TrainConfig, step: int) -> dict[str, float]:
    return {"progress/images": float(step * config.batch_size), "progress/usd": config.planned_usd_at(step)}


def main() -> int:
    """The command line of the real trainer, and the pause of a step."""
    parser = argparse.ArgumentParser()
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--token", type=int, default=0)
    parser.add_argument("--supervised", action="store_true")
    parser.add_argument("--lease-s", type=float, default=60.0)
    parser.add_argument("--pause-s", type=float, default=0.0)
    args = parser.parse_args()
    stop = Stop()
    stop.on_signals()
    if args.supervised:
        stop.on_orphaned()
        stop.on_silence(sys.stdin.fileno(), args.lease_s)
    run_dir = RunDir(args.run_dir)
    try:
        result = train(run_dir, args.token, stop, args.pause_s)
    except Exception as error:
        result = Result(args.token, "failed", *classify(error), 0)
    run_dir.write_result(result)
    return exit_code(result)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)
