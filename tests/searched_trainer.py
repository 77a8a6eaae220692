"""The storms' fast trainer, but its numbers depend on the learning rate too: so that trials of a sweep differ."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from chaos import fast_trainer
from shoestring_trainer.run_dir import RunDir


class Searched(fast_trainer.Chain):
    """A chain that begins at the seed and the first stage's learning rate."""

    def __init__(self, seed: int) -> None:
        lr = RunDir(Path(sys.argv[1])).read_config().stages[0].lr
        super().__init__(seed + round(lr * 1e12))


if __name__ == "__main__":
    fast_trainer.Chain = Searched  # type: ignore[misc]
    code = fast_trainer.main()
    sys.stdout.flush()
    os._exit(code)
