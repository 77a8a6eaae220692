"""Damaging checkpoints: a file of them is changed, cut, emptied or deleted, and the run goes on."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from shoestring_trainer.run_dir import RunDir

from chaos.jobs import Outcome, Trainer, outcome

WAYS = ("flip", "truncate", "delete", "empty")


def damage(chance: random.Random, checkpoint: Path) -> str:
    """Spoil one file of a checkpoint; say how."""
    file = chance.choice(sorted(checkpoint.iterdir()))
    way, content = chance.choice(WAYS), bytearray(file.read_bytes())
    if way == "flip":
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        file.write_bytes(content)
    elif way == "truncate":
        file.write_bytes(content[: chance.randrange(len(content))])
    elif way == "delete":
        file.unlink()
    else:
        file.write_bytes(b"")
    return f"{way} {file.name}"


def corruptions(
    trainer: Trainer, folder: Path, seed: int, n: int, references: dict[int, Outcome]
) -> Iterator[tuple[str, str]]:
    """Spoil the newest checkpoint, or every one, `n` times; yield (what was done, "" or what went wrong).

    With a good one left the run must end as if undisturbed; with none it must fail as bad_checkpoint and say so.
    """
    chance = random.Random(seed)
    original = RunDir(folder / "original")  # killed, let us say, just after its last checkpoint
    original.write_config(trainer.config(0))
    subprocess.run(trainer.alone(original.root), check=True, stdout=subprocess.DEVNULL)
    original.result_path(0).unlink()
    for number in range(n):
        run_dir = RunDir(Path(shutil.copytree(original.root, folder / f"{number:03d}")))
        spoilt = run_dir.published()[: chance.choice((1, 1, 2))]
        everything = len(spoilt) == len(run_dir.published())
        said = ", ".join(damage(chance, checkpoint) for checkpoint in spoilt)
        command = [*trainer.alone(run_dir.root), "--token", "1"]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        result = run_dir.read_result(1)
        problem = ""
        if result is None:
            problem = f"it ended with code {done.returncode} and no result"
        elif result.outcome == "succeeded":
            if outcome(run_dir, 1) != references[0]:
                problem = "it ended otherwise than the undisturbed run"
        elif (result.failure_class, everything) != ("bad_checkpoint", True):
            problem = f"{result.failure_class}: {result.detail}"
        yield said, problem
        shutil.rmtree(run_dir.root)
