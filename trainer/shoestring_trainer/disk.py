"""Room on the disk: asked for before a checkpoint is written, and what happens when there is none. No torch.

A full disk is often full for a while only (another run's checkpoint, a download), and a checkpoint that was not written
costs nothing but steps done again. So one is skipped, with an event; the second in a row ends the attempt, because from
then on money is spent on steps that nothing keeps. The last checkpoint of a run is never skipped.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from shoestring_trainer.failures import DiskFull, classify
from shoestring_trainer.journal import Journal

SPARE_BYTES = 8 << 20  # left free for journals, logs, results and the database


def require_room(folder: Path, n_bytes: int) -> None:
    """Raise DiskFull unless the disk of `folder` has room for `n_bytes` and some to spare."""
    disk = shutil.disk_usage(folder)
    if disk.total and disk.free < n_bytes + SPARE_BYTES:  # a total of 0: the file system does not say
        raise DiskFull(
            f"{folder} has {disk.free / 1e6:.1f} MB free; a checkpoint needs {n_bytes / 1e6:.1f} MB "
            f"and {SPARE_BYTES / 1e6:.1f} MB beside it"
        )


class Saves:
    """The checkpoints of one attempt, of which one in a row may be skipped."""

    def __init__(self, journal: Journal, folder: Path) -> None:
        self.journal, self.folder = journal, folder
        self._skipped = 0

    def save(self, step: int, publish: Callable[[], Path], *, last: bool = False) -> bool:
        """Publish the checkpoint of `step` and journal it; False when it was skipped for want of room.

        Raises DiskFull the second time in a row, and for the `last` one of a run.
        """
        try:
            path = publish()
        except Exception as error:
            failure_class, why = classify(error)
            if failure_class != "disk_full":
                raise
            self._skipped += 1
            if last or self._skipped > 1:
                which = f"the last one, of step {step}," if last else f"two in a row, the later of step {step},"
                raise DiskFull(f"no room for a checkpoint ({which} could not be written): {why}") from error
            self.journal.event(step, "checkpoint_skipped", detail=why)
            return False
        self._skipped = 0
        self.journal.event(step, "checkpoint", path=str(path.relative_to(self.folder)))
        return True
